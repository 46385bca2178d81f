"""The outbox of webhooks: which event goes where, and what people do with deliveries: list, look, redeliver, delete, test, resume.

A delivery is written in the transaction of the event it tells of; delivery.py sends it. Whoever has one sent by hand wakes it
afterwards. A destination is one URL as one project uses it in one environment: dead deliveries are counted by it, and it is what gets
paused.
"""

from __future__ import annotations

import json
import logging
from typing import TypeVar

from peewee import ModelSelect

from uploadkit.auth import audit
from uploadkit.auth.callers import Caller
from uploadkit.config import Config
from uploadkit.context import Context
from uploadkit.core import clock
from uploadkit.core.errors import Conflict, NotFound, RateLimited
from uploadkit.core.ids import new_id
from uploadkit.db import paging, statements
from uploadkit.db.connection import execute, on_commit, write
from uploadkit.db.models import Event, WebhookAttempt, WebhookDelivery, WebhookDestination
from uploadkit.db.paging import Page
from uploadkit.net import url_policy
from uploadkit.objectstore.urls import public_url
from uploadkit.projects import file_routes
from uploadkit.webhooks.payload import PUBLIC_EVENTS, TEST_EVENT, WebhookPayload

log = logging.getLogger(__name__)

MOST_ATTEMPTS = 100
MOST_TESTS_WAITING = 20
MOST_TESTS_KEPT = 1_000
# All of them are looked at whenever something is due. A file route that changes its webhookUrl leaves the one of before.
MOST_DESTINATIONS = 1_000
Row = TypeVar("Row", WebhookDelivery, WebhookDestination)
# Left to itself, SQLite takes indexes of all deliveries that are kept, for 90 days perhaps, while everybody else waits to write.
_WAITS = """
SELECT 1 FROM webhook_delivery INDEXED BY webhook_delivery_due WHERE destination_id = ? AND status = 'pending' LIMIT 1 OFFSET ?
"""
_TESTS_WAIT = """
SELECT 1 FROM webhook_delivery INDEXED BY webhook_delivery_tests_of
 WHERE project_id = ? AND environment = ? AND file_id IS NULL AND status = 'pending' AND by_hand = 1 LIMIT 1 OFFSET ?
"""
_WAIT_IN_PROJECT = """
SELECT 1 FROM webhook_delivery INDEXED BY webhook_delivery_waiting WHERE project_id = ? AND status = 'pending' LIMIT 1 OFFSET ?
"""
_MANY_DESTINATIONS = "SELECT 1 FROM webhook_destination WHERE project_id = ? AND environment = ? LIMIT 1 OFFSET ?"
_FORGET_TESTS = """
DELETE FROM webhook_delivery WHERE id IN (
  SELECT id FROM webhook_delivery INDEXED BY webhook_delivery_tests_of WHERE project_id = ? AND environment = ? AND file_id IS NULL
   ORDER BY created_at DESC LIMIT 10 OFFSET ?) AND status IN ('delivered', 'dead')
"""
_ROUTE = "SELECT webhook_url, webhook_events FROM file_route WHERE project_id = ? AND slug = ? AND webhook_url IS NOT NULL"


def wanted_at(project_id: str, route_slug: str, status: str) -> str | None:
    """Return the URL that a file route wants told of files that come to `status`, as it is set now; None: nowhere."""
    row = execute(_ROUTE, (project_id, route_slug)).fetchone()
    return row[0] if row is not None and PUBLIC_EVENTS[status] in json.loads(row[1]) else None


def enqueue(ctx: Context, event: Event, url: str) -> None:
    """Put the delivery of `event` to `url` into the outbox, in the caller's write transaction; it is due at once.

    Where `webhooks.max_waiting` deliveries wait there already, or twice as many in the project, it is left out: the feed of events still
    tells of it.
    """
    most = ctx.config.webhooks.max_waiting
    try:
        destination_id = _destination_id(event.project_id, event.environment, url)
    except Conflict as failure:
        log.warning("%s: event %s is told by GET /events only", failure.message, event.id)
        return
    if (
        execute(_WAITS, (destination_id, most - 1)).fetchone() is not None
        or execute(_WAIT_IN_PROJECT, (event.project_id, 2 * most - 1)).fetchone() is not None
    ):
        log.warning(
            "%s deliveries wait for one webhook destination, or twice as many in its project: event %s is told by GET /events only",
            most,
            event.id,
        )
        return
    _insert(event, url, WebhookPayload.of(event, public_url(ctx.config, event)), file_id=event.file_id)
    on_commit(ctx.signals.wake_webhooks)


def send_test(config: Config, caller: Caller, route_slug: str) -> WebhookDelivery:
    """Put a test event for a file route's webhookUrl into the outbox: tried once, also while the destination is paused.

    Of a project the newest `MOST_TESTS_KEPT` are kept. Raises NotFound (file route), Conflict when it has no webhookUrl, or the project
    very many of them, RateLimited while `MOST_TESTS_WAITING` of them wait.
    """
    route = file_routes.find_file_route(caller.project_id, route_slug)
    if route.webhook_url is None:
        raise Conflict(
            f"File route {route_slug!r} has no webhookUrl",
            f"'routes update {route_slug} --webhook-url URL' sets one, and so does PATCH /api/v1/file-routes/{{id}}",
        )
    now, event_id = clock.now_ms(), new_id()
    event = Event(
        id=event_id,
        at=now,
        project=caller.project_id,
        environment=caller.environment,
        file_id=event_id,
        key=f"{caller.project_id}/{route_slug}/{event_id}/test.txt",
        file_name="test.txt",
        status="UPLOADED",
        metadata={},
        client_metadata={},
        size_bytes=4,
        content_type="text/plain",
        visibility=route.visibility,
        file_created_at=now,
    )
    with write():
        if execute(_TESTS_WAIT, (caller.project_id, caller.environment, MOST_TESTS_WAITING - 1)).fetchone() is not None:
            raise RateLimited(
                f"{MOST_TESTS_WAITING} test events wait to be sent already",
                "Look at GET /api/v1/webhooks/deliveries what became of them; a receiver that hangs is called once in a while only",
                retry_after_seconds=config.webhooks.timeout_seconds,
            )
        body = WebhookPayload.of(event, public_url(config, event), TEST_EVENT)
        delivery = _insert(event, route.webhook_url, body, file_id=None)
        execute(_FORGET_TESTS, (caller.project_id, caller.environment, MOST_TESTS_KEPT))
    return find_delivery(caller, delivery.id)


def _insert(event: Event, url: str, body: WebhookPayload, file_id: str | None) -> WebhookDelivery:
    delivery = statements.new(
        WebhookDelivery,
        id=new_id(),
        destination=_destination_id(event.project_id, event.environment, url),
        project=event.project_id,
        environment=event.environment,
        event_id=event.id,
        event=body.event,
        file_id=file_id,
        by_hand=file_id is None,
        payload=json.dumps(body.model_dump(), separators=(",", ":")),
        next_attempt_at=event.at,
        created_at=event.at,
    )
    statements.insert(delivery)
    return delivery


def _destination_id(project_id: str, environment: str, url: str) -> str:
    known = statements.find(WebhookDestination, "project_id = ? AND environment = ? AND url = ?", project_id, environment, url)
    if known is None:
        _require_few_destinations(project_id, environment)
        known = WebhookDestination.create(
            id=new_id(),
            project=project_id,
            environment=environment,
            url=url,
            origin=_origin(url),
            created_at=clock.now_ms(),
        )
    return str(known.id)


def _require_few_destinations(project_id: str, environment: str) -> None:
    if execute(_MANY_DESTINATIONS, (project_id, environment, MOST_DESTINATIONS - 1)).fetchone() is not None:
        raise Conflict(
            f"This project has sent webhooks to {MOST_DESTINATIONS} URLs, whose deliveries are still kept",
            "Use one of them. Those that no file route has, and no delivery is kept for, are forgotten within an hour",
        )


def _origin(url: str) -> str:
    try:
        return url_policy.parse(url).origin
    except url_policy.Refused:  # set by an earlier version; the delivery will tell why it is not called
        return url


def list_deliveries(caller: Caller, status: str | None, limit: int, cursor: str | None) -> Page[WebhookDelivery]:
    """Return up to `limit` deliveries of the caller's project and environment, newest first. Raises ValidationFailed (cursor)."""
    query = _seen_by(caller, _deliveries(), WebhookDelivery)
    if status is not None:
        query = query.where(WebhookDelivery.status == status)
    return paging.newest_first(query, WebhookDelivery.created_at, WebhookDelivery.id, limit, cursor)


def find_delivery(caller: Caller, delivery_id: str) -> WebhookDelivery:
    """Return the delivery with this id, as far as the caller may know of it. Raises NotFound."""
    found: WebhookDelivery | None = _seen_by(caller, _deliveries(), WebhookDelivery).where(WebhookDelivery.id == delivery_id).first()
    if found is None:
        raise NotFound(f"There is no webhook delivery {delivery_id!r}", "GET /api/v1/webhooks/deliveries lists those that are kept")
    return found


def deliveries_of_file(caller: Caller, file_id: str) -> list[WebhookDelivery]:
    """Return the deliveries that tell of a file, oldest first."""
    # By the file alone: SQLite would take the index by project and environment, and read all of the project's deliveries.
    found = _deliveries().where(WebhookDelivery.file_id == file_id).order_by(WebhookDelivery.created_at, WebhookDelivery.id)
    return [one for one in found if (one.project_id, one.environment) == (caller.project_id, caller.environment)]


def attempts_of(delivery: WebhookDelivery) -> list[WebhookAttempt]:
    """Return the attempts at a delivery, oldest first; of one that was redelivered over and over, the last `MOST_ATTEMPTS`."""
    query = WebhookAttempt.select().where(WebhookAttempt.delivery == delivery.id)
    newest = query.order_by(WebhookAttempt.started_at.desc(), WebhookAttempt.id.desc()).limit(MOST_ATTEMPTS)
    return list(newest)[::-1]


def redeliver(caller: Caller, delivery_id: str) -> WebhookDelivery:
    """Have a delivery tried again now, also while its destination is paused, and with the whole schedule before it. Its event id stays.

    Raises NotFound, and Conflict while it is being tried.
    """
    with write():
        find_delivery(caller, delivery_id)
        queued = WebhookDelivery.update(
            status="pending", by_hand=True, next_attempt_at=clock.now_ms(), attempts_in_round=0, leased_until=None
        ).where(WebhookDelivery.id == delivery_id, WebhookDelivery.status != "delivering")
        if not queued.execute():
            raise _being_tried()
    return find_delivery(caller, delivery_id)


def delete_delivery(caller: Caller, delivery_id: str) -> None:
    """Delete a delivery with its attempts; one that waits is never sent. Raises NotFound, and Conflict while it is being tried."""
    with write():
        delivery = find_delivery(caller, delivery_id)
        if not WebhookDelivery.delete().where(WebhookDelivery.id == delivery_id, WebhookDelivery.status != "delivering").execute():
            raise _being_tried()
        details = {"event": delivery.event, "eventId": delivery.event_id, "status": delivery.status}
        audit.record(caller.actor, "deleted", "webhook_delivery", delivery_id, delivery.project_id, details)


def _being_tried() -> Conflict:
    return Conflict("This delivery is being tried at this moment", "Ask again in a few seconds")


def list_destinations(caller: Caller, limit: int, cursor: str | None) -> Page[WebhookDestination]:
    """Return up to `limit` destinations of the caller's project and environment, newest first. Raises ValidationFailed (cursor)."""
    query = _seen_by(caller, WebhookDestination.select(), WebhookDestination)
    return paging.newest_first(query, WebhookDestination.created_at, WebhookDestination.id, limit, cursor)


def resume(caller: Caller, destination_id: str) -> WebhookDestination:
    """End the pause of a destination: what waits is sent, and dead deliveries are counted from nought. Raises NotFound."""
    with write():
        mine = _seen_by(caller, WebhookDestination.select(), WebhookDestination)
        destination: WebhookDestination | None = mine.where(WebhookDestination.id == destination_id).first()
        if destination is None:
            raise NotFound(f"There is no webhook destination {destination_id!r}", "GET /api/v1/webhooks/destinations lists them")
        if destination.paused_at is not None:
            audit.record(caller.actor, "resumed", "webhook_destination", destination_id, destination.project_id)
        destination.paused_at, destination.dead_in_a_row = None, 0
        WebhookDestination.update(paused_at=None, dead_in_a_row=0, counted_from=clock.now_ms()).where(
            WebhookDestination.id == destination_id
        ).execute()
    return destination


def _deliveries() -> ModelSelect[WebhookDelivery]:
    return WebhookDelivery.select(WebhookDelivery, WebhookDestination).join(WebhookDestination)


def _seen_by(caller: Caller, query: ModelSelect[Row], table: type[Row]) -> ModelSelect[Row]:
    return query.where(table.project == caller.project_id, table.environment == caller.environment)
