"""The outbox of webhooks: which event goes where, and what people do with deliveries: list, look, redeliver, delete, test, resume.

A delivery is written in the transaction of the event it tells of; delivery.py sends it. Whoever has one sent by hand wakes it
afterwards. A destination is one URL as one project uses it in one environment: dead deliveries are counted by it, and it is what gets
paused.
"""

from __future__ import annotations

import json
import logging

from uploadkit.auth import audit
from uploadkit.auth.callers import Caller
from uploadkit.config import Config
from uploadkit.context import Context
from uploadkit.core import clock
from uploadkit.core.errors import Conflict, NotFound, RateLimited
from uploadkit.core.ids import new_id
from uploadkit.db.connection import on_commit, write
from uploadkit.db.models import WebhookAttempt, WebhookDelivery, WebhookDestination
from uploadkit.db.paging import Page
from uploadkit.net import url_policy
from uploadkit.objectstore.urls import public_url
from uploadkit.projects import file_routes
from uploadkit.webhooks.payload import PUBLIC_EVENTS, TEST_EVENT, News, WebhookPayload
from uploadkit.webhooks.queries import deliveries, destinations

log = logging.getLogger(__name__)

MOST_ATTEMPTS = 100
MOST_TESTS_WAITING = 20
MOST_TESTS_KEPT = 1_000
# All of them are looked at whenever something is due. A file route that changes its webhookUrl leaves the one of before.
MOST_DESTINATIONS = 1_000


def wanted_at(project_id: str, route_slug: str, status: str) -> str | None:
    """Return the URL that a file route wants told of files that come to `status`, as it is set now; None: nowhere."""
    hook = destinations.hook_of(project_id, route_slug)
    if hook is None:
        return None
    url, events = hook
    return url if PUBLIC_EVENTS[status] in events else None


def enqueue(ctx: Context, news: News, url: str) -> None:
    """Put the delivery of `news` to `url` into the outbox, in the caller's write transaction; it is due at once.

    Where `webhooks.max_waiting` deliveries wait there already, or twice as many in the project, it is left out: the feed of events still
    tells of it.
    """
    most = ctx.config.webhooks.max_waiting
    try:
        destination_id = _destination_id(news.project_id, news.environment, url)
    except Conflict as failure:
        log.warning("%s: event %s is in GET /events only", failure.message, news.id)
        return
    if deliveries.so_many_wait_at(destination_id, most) or deliveries.so_many_wait_in(news.project_id, 2 * most):
        log.warning(
            "%s deliveries wait for one webhook destination, or twice as many in its project: event %s is in GET /events only",
            most,
            news.id,
        )
        return
    _insert(ctx.config, destination_id, news, file_id=news.file_id)
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
    news = News(
        id=event_id,
        event=TEST_EVENT,
        at=now,
        project_id=caller.project_id,
        environment=caller.environment,
        file_id=event_id,
        key=f"{caller.project_id}/{route_slug}/{event_id}/test.txt",
        file_name="test.txt",
        size_bytes=4,
        content_type="text/plain",
        visibility=route.visibility,
        status="UPLOADED",
        metadata={},
        client_metadata={},
        file_created_at=now,
    )
    with write():
        if deliveries.so_many_tests_wait(caller.project_id, caller.environment, MOST_TESTS_WAITING):
            raise RateLimited(
                f"{MOST_TESTS_WAITING} test events wait to be sent already",
                "Look at GET /api/v1/webhooks/deliveries what became of them; a receiver that hangs is called once in a while only",
                retry_after_seconds=config.webhooks.timeout_seconds,
            )
        destination_id = _destination_id(caller.project_id, caller.environment, route.webhook_url)
        delivery_id = _insert(config, destination_id, news, file_id=None)
        deliveries.forget_old_tests(caller.project_id, caller.environment, MOST_TESTS_KEPT)
    return find_delivery(caller, delivery_id)


def _insert(config: Config, destination_id: str, news: News, *, file_id: str | None) -> str:
    """Put the delivery of `news` into the outbox; return its id. `file_id` None: it is a test, which somebody asked for."""
    return deliveries.insert(
        destination_id,
        news.project_id,
        news.environment,
        event_id=news.id,
        event=news.event,
        file_id=file_id,
        by_hand=file_id is None,
        payload=json.dumps(WebhookPayload.of(news, public_url(config, news)).model_dump(), separators=(",", ":")),
        at_ms=news.at,
    )


def _destination_id(project_id: str, environment: str, url: str) -> str:
    """Return the id of the destination of a URL, which is made at the first delivery. Raises Conflict (too many)."""
    known = destinations.find_id(project_id, environment, url)
    if known is not None:
        return known
    _require_few_destinations(project_id, environment)
    return destinations.insert(project_id, environment, url, _origin(url), clock.now_ms())


def _require_few_destinations(project_id: str, environment: str) -> None:
    if destinations.are_so_many(project_id, environment, MOST_DESTINATIONS):
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
    return deliveries.page(caller.project_id, caller.environment, status, limit, cursor)


def find_delivery(caller: Caller, delivery_id: str) -> WebhookDelivery:
    """Return the delivery with this id, as far as the caller may know of it. Raises NotFound."""
    found = deliveries.find(caller.project_id, caller.environment, delivery_id)
    if found is None:
        raise NotFound(f"There is no webhook delivery {delivery_id!r}", "GET /api/v1/webhooks/deliveries lists those that are kept")
    return found


def deliveries_of_file(caller: Caller, file_id: str) -> list[WebhookDelivery]:
    """Return the deliveries that tell of a file, oldest first."""
    return deliveries.of_file(caller.project_id, caller.environment, file_id)


def attempts_of(delivery: WebhookDelivery) -> list[WebhookAttempt]:
    """Return the attempts at a delivery, oldest first; of one that was redelivered over and over, the last `MOST_ATTEMPTS`."""
    return deliveries.newest_attempts(delivery.id, MOST_ATTEMPTS)[::-1]


def redeliver(caller: Caller, delivery_id: str) -> WebhookDelivery:
    """Have a delivery tried again now, also while its destination is paused, and with the whole schedule before it. Its event id stays.

    Raises NotFound, and Conflict while it is being tried.
    """
    with write():
        find_delivery(caller, delivery_id)
        if not deliveries.queue_again(delivery_id, clock.now_ms()):
            raise _being_tried()
    return find_delivery(caller, delivery_id)


def delete_delivery(caller: Caller, delivery_id: str) -> None:
    """Delete a delivery with its attempts; one that waits is never sent. Raises NotFound, and Conflict while it is being tried."""
    with write():
        delivery = find_delivery(caller, delivery_id)
        if not deliveries.delete(delivery_id):
            raise _being_tried()
        details = {"event": delivery.event, "event_id": delivery.event_id, "status": delivery.status}
        audit.record(caller.actor, "deleted", "webhook_delivery", delivery_id, delivery.project_id, details)


def _being_tried() -> Conflict:
    return Conflict("This delivery is being tried at this moment", "Ask again in a few seconds")


def list_destinations(caller: Caller, limit: int, cursor: str | None) -> Page[WebhookDestination]:
    """Return up to `limit` destinations of the caller's project and environment, newest first. Raises ValidationFailed (cursor)."""
    return destinations.page(caller.project_id, caller.environment, limit, cursor)


def resume(caller: Caller, destination_id: str) -> WebhookDestination:
    """End the pause of a destination: what waits is sent, and dead deliveries are counted from nought. Raises NotFound."""
    with write():
        destination = destinations.find(caller.project_id, caller.environment, destination_id)
        if destination is None:
            raise NotFound(f"There is no webhook destination {destination_id!r}", "GET /api/v1/webhooks/destinations lists them")
        if destination.paused_at is not None:
            audit.record(caller.actor, "resumed", "webhook_destination", destination_id, destination.project_id)
        destination.paused_at, destination.dead_in_a_row = None, 0
        destinations.resume(destination_id, clock.now_ms())
    return destination
