"""Rows of `webhook_delivery` and `webhook_attempt`: what is on its way, and each try at it.

A delivery is pending, and due at `next_attempt_at`; delivering, and leased until `leased_until`; then delivered, dead or pending again.
"""

from __future__ import annotations

from typing import NamedTuple

from peewee import ModelSelect

from uploadkit.core.ids import new_id
from uploadkit.db import paging, statements
from uploadkit.db.connection import execute
from uploadkit.db.models import WebhookAttempt, WebhookDelivery, WebhookDestination
from uploadkit.db.paging import Page

# Left to itself, SQLite takes indexes of all deliveries that are kept, for 90 days perhaps, while everybody else waits to write.
_WAIT_AT = """
SELECT 1 FROM webhook_delivery INDEXED BY webhook_delivery_due WHERE destination_id = ? AND status = 'pending' LIMIT 1 OFFSET ?
"""
_WAIT_IN_PROJECT = """
SELECT 1 FROM webhook_delivery INDEXED BY webhook_delivery_waiting WHERE project_id = ? AND status = 'pending' LIMIT 1 OFFSET ?
"""
_TESTS_WAIT = """
SELECT 1 FROM webhook_delivery INDEXED BY webhook_delivery_tests_of
 WHERE project_id = ? AND environment = ? AND file_id IS NULL AND status = 'pending' AND by_hand = 1 LIMIT 1 OFFSET ?
"""
_FORGET_TESTS = """
DELETE FROM webhook_delivery WHERE id IN (
  SELECT id FROM webhook_delivery INDEXED BY webhook_delivery_tests_of WHERE project_id = ? AND environment = ? AND file_id IS NULL
   ORDER BY created_at DESC LIMIT 10 OFFSET ?) AND status IN ('delivered', 'dead')
"""
_EXPIRED = "SELECT 1 FROM webhook_delivery WHERE status = 'delivering' AND leased_until <= ? LIMIT 1"
_RELEASE = "UPDATE webhook_delivery SET status = 'pending', next_attempt_at = ?, leased_until = NULL WHERE status = 'delivering'"
_RELEASE_EXPIRED = f"{_RELEASE} AND leased_until <= ?"
_DUE = """
SELECT id FROM webhook_delivery
 WHERE destination_id = :destination AND status = 'pending' AND by_hand = {by_hand} AND next_attempt_at <= :now
 ORDER BY next_attempt_at LIMIT :most
"""
_DUE_MANUAL, _DUE_BY_ITSELF = _DUE.format(by_hand=1), _DUE.format(by_hand=0)
_LEASE = """
UPDATE webhook_delivery SET status = 'delivering', next_attempt_at = NULL, leased_until = ?
 WHERE id = ? AND status = 'pending'
"""
_NEXT_DUE = """
SELECT min(due) FROM (
  SELECT (SELECT min(d.next_attempt_at) FROM webhook_delivery d
           WHERE d.destination_id = t.id AND d.status = 'pending' AND d.next_attempt_at > :now) AS due
    FROM webhook_destination t WHERE t.paused_at IS NULL)
"""
# By hand, because each delivery needs them: putting the same SQL together anew was half of what one cost.
_TO_SEND = """
SELECT d.id, d.project_id, d.event_id, d.file_id, d.payload, d.attempts_in_round, d.ended_at, t.id, t.url, t.origin
  FROM webhook_delivery d JOIN webhook_destination t ON t.id = d.destination_id WHERE d.id = ?
"""
_NOTE = """
INSERT INTO webhook_attempt (id, delivery_id, started_at, duration_ms, request_headers, status_code, response_excerpt, error)
SELECT ?, id, ?, ?, ?, ?, ?, ? FROM webhook_delivery WHERE id = ?
"""
_FORGET_OLDEST = """
DELETE FROM webhook_attempt WHERE id IN
  (SELECT id FROM webhook_attempt WHERE delivery_id = ? ORDER BY started_at DESC LIMIT 100 OFFSET ?)
"""
_MOVE_ON = """
UPDATE webhook_delivery
   SET status = :status, attempts = attempts + 1, attempts_in_round = attempts_in_round + 1, next_attempt_at = :again_at,
       leased_until = NULL, last_status_code = :status_code, last_error = :error, by_hand = 0,
       ended_at = CASE :status WHEN 'pending' THEN ended_at ELSE :now END
 WHERE id = :id AND status = 'delivering' AND leased_until = :leased_until
"""


class ToSend(NamedTuple):
    """What is to be sent, where to, and how it has gone so far."""

    id: str
    project_id: str
    event_id: str
    file_id: str | None
    payload: str
    attempts_in_round: int
    ended_at: int | None
    destination_id: str
    url: str
    origin: str


def insert(
    destination_id: str,
    project_id: str,
    environment: str,
    *,
    event_id: str,
    event: str,
    file_id: str | None,
    by_hand: bool,
    payload: str,
    at_ms: int,
) -> str:
    """Insert a delivery made at `at_ms` and due at once; return its id. `file_id` None: a test."""
    delivery = statements.new(
        WebhookDelivery,
        id=new_id(),
        destination=destination_id,
        project=project_id,
        environment=environment,
        event_id=event_id,
        event=event,
        file_id=file_id,
        by_hand=by_hand,
        payload=payload,
        next_attempt_at=at_ms,
        created_at=at_ms,
    )
    statements.insert(delivery)
    return str(delivery.id)


def so_many_wait_at(destination_id: str, count: int) -> bool:
    """Say whether `count` deliveries or more are pending at a destination."""
    return execute(_WAIT_AT, (destination_id, count - 1)).fetchone() is not None


def so_many_wait_in(project_id: str, count: int) -> bool:
    """Say whether `count` deliveries or more are pending in a project."""
    return execute(_WAIT_IN_PROJECT, (project_id, count - 1)).fetchone() is not None


def so_many_tests_wait(project_id: str, environment: str, count: int) -> bool:
    """Say whether `count` tests or more are pending in a project's environment."""
    return execute(_TESTS_WAIT, (project_id, environment, count - 1)).fetchone() is not None


def forget_old_tests(project_id: str, environment: str, kept: int) -> None:
    """Delete up to ten tests of a project's environment that have ended and are older than the newest `kept`."""
    execute(_FORGET_TESTS, (project_id, environment, kept))


def page(project_id: str, environment: str, status: str | None, limit: int, cursor: str | None) -> Page[WebhookDelivery]:
    """Return up to `limit` deliveries with their destinations, newest first; `status` None: any. Raises ValidationFailed (cursor)."""
    query = _in_scope(project_id, environment)
    if status is not None:
        query = query.where(WebhookDelivery.status == status)
    return paging.newest_first(query, WebhookDelivery.created_at, WebhookDelivery.id, limit, cursor)


def find(project_id: str, environment: str, delivery_id: str) -> WebhookDelivery | None:
    """Return a delivery of a project's environment with its destination."""
    found: WebhookDelivery | None = _in_scope(project_id, environment).where(WebhookDelivery.id == delivery_id).first()
    return found


def of_file(project_id: str, environment: str, file_id: str) -> list[WebhookDelivery]:
    """Return the deliveries that tell of a file with their destinations, oldest first."""
    # By the file alone: SQLite would take the index by project and environment, and read all of the project's deliveries.
    found = _with_destinations().where(WebhookDelivery.file_id == file_id).order_by(WebhookDelivery.created_at, WebhookDelivery.id)
    return [one for one in found if (one.project_id, one.environment) == (project_id, environment)]


def _in_scope(project_id: str, environment: str) -> ModelSelect[WebhookDelivery]:
    return _with_destinations().where(WebhookDelivery.project == project_id, WebhookDelivery.environment == environment)


def _with_destinations() -> ModelSelect[WebhookDelivery]:
    return WebhookDelivery.select(WebhookDelivery, WebhookDestination).join(WebhookDestination)


def queue_again(delivery_id: str, at_ms: int) -> bool:
    """Make a delivery pending by hand, due at `at_ms`, with the whole schedule before it, unless it is being sent.

    Say whether it was made so.
    """
    queued = WebhookDelivery.update(status="pending", by_hand=True, next_attempt_at=at_ms, attempts_in_round=0, leased_until=None)
    return bool(queued.where(WebhookDelivery.id == delivery_id, WebhookDelivery.status != "delivering").execute())


def delete(delivery_id: str) -> bool:
    """Delete a delivery with its attempts, unless it is being sent; say whether it was deleted."""
    return bool(WebhookDelivery.delete().where(WebhookDelivery.id == delivery_id, WebhookDelivery.status != "delivering").execute())


# Whose turn it is


def due(destination_id: str, now: int, most: int, *, by_hand: bool) -> list[str]:
    """Return the ids of up to `most` pending deliveries to a destination that are due, the one due longest first.

    Either what people asked for (`by_hand`) or what comes by itself.
    """
    sql = _DUE_MANUAL if by_hand else _DUE_BY_ITSELF
    return [delivery_id for (delivery_id,) in execute(sql, {"destination": destination_id, "now": now, "most": most}).fetchall()]


def next_due(now: int) -> int | None:
    """Return when the next pending delivery to a destination that is not paused will be due, in milliseconds; None: there is none."""
    due_at: int | None = execute(_NEXT_DUE, {"now": now}).fetchone()[0]
    return due_at


def lease(delivery_id: str, until_ms: int) -> bool:
    """Make a pending delivery one that is being sent, until `until_ms`; say whether it was pending."""
    return bool(execute(_LEASE, (until_ms, delivery_id)).rowcount)


def some_leases_expired(now: int) -> bool:
    """Say whether any lease has run out."""
    return execute(_EXPIRED, (now,)).fetchone() is not None


def release_expired(now: int, due_at: int) -> None:
    """Make deliveries whose leases have run out pending, and due at `due_at`."""
    execute(_RELEASE_EXPIRED, (due_at, now))


def release_all(due_at: int) -> int:
    """Make all deliveries that are being sent pending, and due at `due_at`; return how many there were."""
    return int(execute(_RELEASE, (due_at,)).rowcount)


# Attempts


def find_to_send(delivery_id: str) -> ToSend | None:
    """Return what sending a delivery needs; None when it is not there any more."""
    row = execute(_TO_SEND, (delivery_id,)).fetchone()
    return None if row is None else ToSend(*row)


def insert_attempt(
    delivery_id: str,
    attempt_id: str,
    *,
    started_at: int,
    duration_ms: int,
    request_headers: str,
    status_code: int | None,
    response_excerpt: str | None,
    error: str | None,
) -> bool:
    """Insert an attempt at a delivery, if that is still there; say whether it was. `request_headers` is JSON."""
    values = (attempt_id, started_at, duration_ms, request_headers, status_code, response_excerpt, error, delivery_id)
    return bool(execute(_NOTE, values).rowcount)


def forget_oldest_attempts(delivery_id: str, kept: int) -> None:
    """Delete up to a hundred attempts at a delivery that are older than the newest `kept`."""
    execute(_FORGET_OLDEST, (delivery_id, kept))


def move_on(
    delivery_id: str, leased_until: int, *, status: str, again_at: int | None, status_code: int | None, error: str | None, now: int
) -> bool:
    """Count an attempt at a delivery and give it its next `status`, if it still is leased until `leased_until`; say whether it was."""
    moved = {
        "status": status,
        "again_at": again_at,
        "status_code": status_code,
        "error": error,
        "now": now,
        "id": delivery_id,
        "leased_until": leased_until,
    }
    return bool(execute(_MOVE_ON, moved).rowcount)


def newest_attempts(delivery_id: str, most: int) -> list[WebhookAttempt]:
    """Return up to `most` attempts at a delivery, newest first."""
    query = WebhookAttempt.select().where(WebhookAttempt.delivery == delivery_id)
    return list(query.order_by(WebhookAttempt.started_at.desc(), WebhookAttempt.id.desc()).limit(most))
