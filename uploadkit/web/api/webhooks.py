"""`/webhooks…` and `/events`: what receivers are told, and what became of it."""

from __future__ import annotations

from flask import Response, g

from uploadkit.core.errors import Conflict, NotFound
from uploadkit.objectstore import urls
from uploadkit.schemas.base import DELETED, Deleted, PageQuery
from uploadkit.schemas.webhooks import (
    DeliveryInFull,
    DeliveryListQuery,
    DeliveryObject,
    DeliveryPage,
    DeliveryPath,
    DestinationObject,
    DestinationPage,
    DestinationPath,
    EventFeed,
    EventFeedQuery,
    WebhookTestBody,
)
from uploadkit.web.api.blueprint import api
from uploadkit.web.openapi import answers
from uploadkit.web.requests import context, json_answer
from uploadkit.webhooks import event_log, outbox


@api.get("/events", **answers(EventFeed))
def list_events(query: EventFeedQuery) -> Response:
    """List events after a place in their order, oldest first: a way to catch up without webhooks."""
    feed = event_log.feed(g.caller, query.after, query.limit)
    return json_answer(EventFeed.of(feed, lambda event: urls.public_url(context().config, event)))


@api.get("/webhooks/deliveries", **answers(DeliveryPage))
def list_deliveries(query: DeliveryListQuery) -> Response:
    """List webhook deliveries, newest first; `status=dead` is the dead letter queue."""
    page = outbox.list_deliveries(g.caller, query.status, query.limit, query.cursor)
    return json_answer(DeliveryPage.of(page, DeliveryObject.of))


@api.get("/webhooks/deliveries/<deliveryId>", **answers(DeliveryInFull, NotFound))
def get_delivery(path: DeliveryPath) -> Response:
    """Get one delivery with its payload and every attempt."""
    delivery = outbox.find_delivery(g.caller, path.delivery_id)
    return json_answer(DeliveryInFull.in_full(delivery, outbox.attempts_of(delivery)))


@api.post("/webhooks/deliveries/<deliveryId>/redeliver", **answers(DeliveryObject, NotFound, Conflict, status=202))
def redeliver(path: DeliveryPath) -> Response:
    """Have a delivery tried again now, whatever became of it."""
    delivery = outbox.redeliver(g.caller, path.delivery_id)
    context().signals.wake_webhooks()
    return json_answer(DeliveryObject.of(delivery), 202)


@api.delete("/webhooks/deliveries/<deliveryId>", **answers(Deleted, NotFound, Conflict))
def delete_delivery(path: DeliveryPath) -> Response:
    """Delete a delivery; one that waits is never sent."""
    outbox.delete_delivery(g.caller, path.delivery_id)
    return json_answer(DELETED)


@api.post("/webhooks/test", **answers(DeliveryObject, NotFound, Conflict, status=202, body=True))
def send_test_event(body: WebhookTestBody) -> Response:
    """Send a test event to a file route's webhookUrl, once; if it arrives, a paused destination goes on."""
    delivery = outbox.send_test(context().config, g.caller, body.route_slug)
    context().signals.wake_webhooks()
    return json_answer(DeliveryObject.of(delivery), 202)


@api.get("/webhooks/destinations", **answers(DestinationPage))
def list_destinations(query: PageQuery) -> Response:
    """List the URLs that events went to, newest first, and which of them are paused."""
    page = outbox.list_destinations(g.caller, query.limit, query.cursor)
    return json_answer(DestinationPage.of(page, DestinationObject.model_validate))


@api.post("/webhooks/destinations/<destinationId>/resume", **answers(DestinationObject, NotFound))
def resume_destination(path: DestinationPath) -> Response:
    """End the pause of a destination: what waits is sent."""
    destination = outbox.resume(g.caller, path.destination_id)
    context().signals.wake_webhooks()
    return json_answer(DestinationObject.model_validate(destination))
