"""Rows of `webhook_destination`: one URL as one project uses it in one environment."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

from peewee import ModelSelect

from uploadkit.core.ids import new_id
from uploadkit.db import paging, statements
from uploadkit.db.connection import execute
from uploadkit.db.models import WebhookDestination
from uploadkit.db.paging import Page

_HOOK = "SELECT webhook_url, webhook_events FROM file_route WHERE project_id = ? AND slug = ? AND webhook_url IS NOT NULL"
_MANY = "SELECT 1 FROM webhook_destination WHERE project_id = ? AND environment = ? LIMIT 1 OFFSET ?"
_BEING_CALLED = """
SELECT t.id, t.origin, t.arrived, t.paused_at, t.project_id FROM webhook_delivery d JOIN webhook_destination t ON t.id = d.destination_id
 WHERE d.status = 'delivering'
"""
# Destinations with something due, the one that was called longest ago first; paused ones have only what people asked for.
_WITH_SOMETHING_DUE = """
SELECT {columns} FROM webhook_destination t
 WHERE EXISTS (SELECT 1 FROM webhook_delivery d WHERE d.destination_id = t.id AND d.status = 'pending' AND d.next_attempt_at <= :now
                AND t.paused_at IS NULL)
    OR EXISTS (SELECT 1 FROM webhook_delivery d WHERE d.destination_id = t.id AND d.status = 'pending' AND d.next_attempt_at <= :now
                AND d.by_hand = 1)
 {rest}
"""
_SOME_DUE = _WITH_SOMETHING_DUE.format(columns="1", rest="LIMIT 1")
_DUE = _WITH_SOMETHING_DUE.format(columns="t.id, t.origin, t.arrived, t.paused_at, t.project_id", rest="ORDER BY t.called_at, t.id")
_CALLED = "UPDATE webhook_destination SET called_at = ? WHERE id = ?"
_ARRIVED = "UPDATE webhook_destination SET arrived = 1, dead_in_a_row = 0, counted_from = ?, paused_at = NULL WHERE id = ?"


class Destination(NamedTuple):
    """Where a delivery goes. `arrived` says whether the last attempt there did; None: there was none."""

    id: str
    origin: str
    arrived: bool | None
    paused_at: int | None
    project_id: str


def hook_of(project_id: str, route_slug: str) -> tuple[str, Sequence[str]] | None:
    """Return the webhookUrl of a file route and the events it is for; None when it has none."""
    row = execute(_HOOK, (project_id, route_slug)).fetchone()
    return None if row is None else (row[0], json.loads(row[1]))


def find_id(project_id: str, environment: str, url: str) -> str | None:
    """Return the id of the destination of a URL."""
    known = statements.find(WebhookDestination, "project_id = ? AND environment = ? AND url = ?", project_id, environment, url)
    return None if known is None else str(known.id)


def insert(project_id: str, environment: str, url: str, origin: str, at_ms: int) -> str:
    """Insert a destination; return its id."""
    made = WebhookDestination.create(id=new_id(), project=project_id, environment=environment, url=url, origin=origin, created_at=at_ms)
    return str(made.id)


def are_so_many(project_id: str, environment: str, count: int) -> bool:
    """Say whether there are `count` destinations or more in a project's environment."""
    return execute(_MANY, (project_id, environment, count - 1)).fetchone() is not None


def page(project_id: str, environment: str, limit: int, cursor: str | None) -> Page[WebhookDestination]:
    """Return up to `limit` destinations, newest first. Raises ValidationFailed (cursor)."""
    query = _in_scope(project_id, environment)
    return paging.newest_first(query, WebhookDestination.created_at, WebhookDestination.id, limit, cursor)


def find(project_id: str, environment: str, destination_id: str) -> WebhookDestination | None:
    """Return a destination of a project's environment."""
    found: WebhookDestination | None = _in_scope(project_id, environment).where(WebhookDestination.id == destination_id).first()
    return found


def _in_scope(project_id: str, environment: str) -> ModelSelect[WebhookDestination]:
    return WebhookDestination.select().where(WebhookDestination.project == project_id, WebhookDestination.environment == environment)


def resume(destination_id: str, at_ms: int) -> None:
    """End the pause of a destination, and count dead deliveries from nought, from `at_ms` on."""
    WebhookDestination.update(paused_at=None, dead_in_a_row=0, counted_from=at_ms).where(WebhookDestination.id == destination_id).execute()


# Whose turn it is


def being_called() -> list[Destination]:
    """Return the destination of each delivery that is being sent: one to which two are sent comes twice."""
    return [_read(row) for row in execute(_BEING_CALLED).fetchall()]


def with_something_due(now: int) -> list[Destination]:
    """Return the destinations for which something is due, the one that was called longest ago first.

    Of paused ones those for which people asked for something.
    """
    return [_read(row) for row in execute(_DUE, {"now": now}).fetchall()]


def has_any_something_due(now: int) -> bool:
    """Say whether `with_something_due` would return any."""
    return execute(_SOME_DUE, {"now": now}).fetchone() is not None


def _read(row: tuple[str, str, int | None, int | None, str]) -> Destination:
    identity, origin, arrived, paused_at, project_id = row
    return Destination(identity, origin, None if arrived is None else bool(arrived), paused_at, project_id)


def set_called(destination_id: str, at_ms: int) -> None:
    """Note when a destination was called last."""
    execute(_CALLED, (at_ms, destination_id))


# What came of it


def set_arrived(destination_id: str, at_ms: int) -> None:
    """Note that a delivery arrived, which ends a pause; dead deliveries are counted from nought, from `at_ms` on."""
    execute(_ARRIVED, (at_ms, destination_id))


def set_failed(destination_id: str) -> None:
    """Note that the last attempt did not arrive."""
    WebhookDestination.update(arrived=False).where(WebhookDestination.id == destination_id).execute()


def count_dead(destination_id: str, ended_at: int | None) -> None:
    """Count a delivery that died, unless it had died before, at `ended_at`, since dead ones are counted."""
    not_yet = [] if ended_at is None else [WebhookDestination.counted_from >= ended_at]
    counted = WebhookDestination.update(dead_in_a_row=WebhookDestination.dead_in_a_row + 1)
    counted.where(WebhookDestination.id == destination_id, *not_yet).execute()


def pause_after_dead(destination_id: str, most: int, at_ms: int) -> bool:
    """Pause a destination to which `most` deliveries died in a row, unless it is paused; say whether it was paused now."""
    paused = WebhookDestination.update(paused_at=at_ms).where(
        WebhookDestination.id == destination_id, WebhookDestination.paused_at.is_null(), WebhookDestination.dead_in_a_row >= most
    )
    return bool(paused.execute())
