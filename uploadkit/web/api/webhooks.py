"""`/webhooks…` and `/events`: what receivers are told, and what became of it."""

from __future__ import annotations

from flask import Response, g

from uploadkit.core.errors import Conflict, NotFound
from uploadkit.objectstore import urls
from uploadkit.schemas import base as schemas
from uploadkit.schemas import documented_webhooks
from uploadkit.schemas import files as shapes
from uploadkit.schemas import uploads as documented
from uploadkit.schemas import webhooks as shapes_webhooks
from uploadkit.web.api.blueprint import api
from uploadkit.web.openapi import answers
from uploadkit.web.requests import context, json_answer
from uploadkit.webhooks import event_log, outbox


@api.get("/events", **answers(shapes_webhooks.EventFeed))
def list_events(query: schemas.EventFeedQuery) -> Response:
    """List events after a place in their order, oldest first: a way to catch up without webhooks."""
    feed = event_log.feed(g.caller, query.after, query.limit)
    return json_answer(documented_webhooks.event_feed(feed, lambda event: urls.public_url(context().config, event)))


@api.get("/webhooks/deliveries", **answers(shapes_webhooks.DeliveryPage))
def list_deliveries(query: schemas.DeliveryListQuery) -> Response:
    """List webhook deliveries, newest first; `status=dead` is the dead letter queue."""
    page = outbox.list_deliveries(g.caller, query.status, query.limit, query.cursor)
    return json_answer(documented.page_of(page, documented_webhooks.delivery))


@api.get("/webhooks/deliveries/<deliveryId>", **answers(shapes_webhooks.DeliveryInFull, NotFound))
def get_delivery(path: schemas.DeliveryPath) -> Response:
    """Get one delivery with its payload and every attempt."""
    delivery = outbox.find_delivery(g.caller, path.delivery_id)
    return json_answer(documented_webhooks.delivery_in_full(delivery, outbox.attempts_of(delivery)))


@api.post("/webhooks/deliveries/<deliveryId>/redeliver", **answers(shapes_webhooks.DeliveryObject, NotFound, Conflict, status=202))
def redeliver(path: schemas.DeliveryPath) -> Response:
    """Have a delivery tried again now, whatever became of it."""
    delivery = outbox.redeliver(g.caller, path.delivery_id)
    context().signals.wake_webhooks()
    return json_answer(documented_webhooks.delivery(delivery), 202)


@api.delete("/webhooks/deliveries/<deliveryId>", **answers(shapes.Deleted, NotFound, Conflict))
def delete_delivery(path: schemas.DeliveryPath) -> Response:
    """Delete a delivery; one that waits is never sent."""
    outbox.delete_delivery(g.caller, path.delivery_id)
    return json_answer({"deleted": True})


@api.post("/webhooks/test", **answers(shapes_webhooks.DeliveryObject, NotFound, Conflict, status=202, body=True))
def send_test_event(body: schemas.WebhookTestBody) -> Response:
    """Send a test event to a file route's webhookUrl, once; if it arrives, a paused destination goes on."""
    delivery = outbox.send_test(context().config, g.caller, body.route_slug)
    context().signals.wake_webhooks()
    return json_answer(documented_webhooks.delivery(delivery), 202)


@api.get("/webhooks/destinations", **answers(shapes_webhooks.DestinationPage))
def list_destinations(query: schemas.PageQuery) -> Response:
    """List the URLs that events went to, newest first, and which of them are paused."""
    page = outbox.list_destinations(g.caller, query.limit, query.cursor)
    return json_answer(documented.page_of(page, documented_webhooks.destination))


@api.post("/webhooks/destinations/<destinationId>/resume", **answers(shapes_webhooks.DestinationObject, NotFound))
def resume_destination(path: schemas.DestinationPath) -> Response:
    """End the pause of a destination: what waits is sent."""
    destination = outbox.resume(g.caller, path.destination_id)
    context().signals.wake_webhooks()
    return json_answer(documented_webhooks.destination(destination))
