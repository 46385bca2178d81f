"""`/webhooks…` and `/events`: what receivers are told, and what became of it. What they get is in `webhooks/payload.py`."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny, SkipValidation

from uploadkit.core.values import Environment, Timestamp
from uploadkit.db.models import Event, WebhookAttempt, WebhookDelivery
from uploadkit.schemas.base import Answer, Input, Json, Page, PageQuery, in_this_order, links
from uploadkit.webhooks.event_log import Feed
from uploadkit.webhooks.payload import EventId, FeedEvent, WebhookPayload, news_of

DeliveryId = Annotated[str, Field(examples=["01a1fc46-2b7f-7d1e-9c35-4f1a6b0c8d22"])]
DeliveryStatus = Literal["pending", "delivering", "delivered", "dead"]
ReceiverUrl = Annotated[str, Field(examples=["https://example.com/hooks/upload"])]


class EventFeedQuery(BaseModel):
    """Query of `GET /events`."""

    after: Annotated[int, Field(ge=0, le=2**53 - 1, description="nextAfter of the call before; without it, from the oldest on")] = 0
    limit: Annotated[int, Field(ge=1, le=100)] = 20


class DeliveryListQuery(PageQuery):
    """Query of `GET /webhooks/deliveries`."""

    status: DeliveryStatus | None = None


class DeliveryPath(Input):
    """A webhook delivery's id in a path."""

    delivery_id: str


class DestinationPath(Input):
    """A webhook destination's id in a path."""

    destination_id: str


class WebhookTestBody(Input):
    """Body of `POST /webhooks/test`."""

    route_slug: Annotated[str, Field(min_length=1, max_length=100, description="the file route whose webhookUrl gets it")] = "default"


class _Place(Answer):
    sequence: Annotated[int, Field(examples=[42])]


class EventObject(WebhookPayload, _Place):
    """One event, and its place in the order of all."""

    model_config = in_this_order("id", "event", "createdAt", "projectId", "environment", "file", "metadata", "sequence")

    event: FeedEvent

    @classmethod
    def at_its_place(cls, event: Event, url: str) -> Self:
        """Return an event as receivers are told of it, and its place."""
        return cls(**dict(WebhookPayload.of(news_of(event), url)), sequence=event.sequence)


class EventFeed(Answer):
    """Some events, oldest first. Pass `nextAfter` as `after` to go on, at once if there is more, else later."""

    items: list[EventObject]
    next_after: Annotated[int, Field(examples=[42])]
    has_more: bool
    gap: Annotated[bool, Field(description="events between `after` and these are no longer kept: list the files instead", examples=[False])]

    @classmethod
    def of(cls, feed: Feed, url_of: Callable[[Event], str]) -> Self:
        """Return some events; `url_of` knows the lasting URL of the file of each."""
        items = [EventObject.at_its_place(event, url_of(event)) for event in feed.items]
        return cls(items=items, next_after=feed.next_after, has_more=feed.has_more, gap=feed.gap)


class DeliveryObject(Answer):
    """One event on its way to one URL."""

    model_config = links({"deliveryId": "id"}, "getDelivery", "redeliver", "deleteDelivery")

    id: DeliveryId
    event_id: EventId
    event: FeedEvent | Literal["webhook.test"]
    environment: Environment
    file_id: Annotated[str | None, Field(description="null: a test event")]
    url: ReceiverUrl
    status: Annotated[DeliveryStatus, Field(description="dead: given up until somebody redelivers it")]
    paused: Annotated[bool, Field(description="it waits because its destination is paused", examples=[False])]
    attempts: Annotated[int, Field(examples=[1])]
    next_attempt_at: Timestamp | None
    last_status_code: Annotated[int | None, Field(description="null: no answer", examples=[200])]
    last_error: str | None
    created_at: Timestamp
    delivered_at: Timestamp | None

    @classmethod
    def of(cls, row: WebhookDelivery) -> Self:
        """Return a delivery, with its destination beside it."""
        return cls(
            id=row.id,
            event_id=row.event_id,
            event=row.event,
            environment=row.environment,
            file_id=row.file_id,
            url=row.destination.url,
            status=row.status,
            paused=row.status == "pending" and row.destination.paused_at is not None and not row.by_hand,
            attempts=row.attempts,
            next_attempt_at=row.next_attempt_at,
            last_status_code=row.last_status_code,
            last_error=row.last_error,
            created_at=row.created_at,
            delivered_at=row.ended_at if row.status == "delivered" and row.ended_at else None,
        )


class DeliveryPage(Page[DeliveryObject]):
    """Some deliveries, newest first, and the cursor of the next page."""


class AttemptObject(Answer):
    """One attempt: what was sent beside the payload, and what came back."""

    started_at: Timestamp
    duration_ms: Annotated[int, Field(examples=[38])]
    request_headers: Annotated[dict[str, str], Field(examples=[{"webhook-id": "01a1fc46-2b7e-7a90-8f11-5e0d4c3b2a19"}])]
    status_code: Annotated[int | None, Field(examples=[200])]
    response_excerpt: Annotated[str | None, Field(description="at most 1,000 characters", examples=["ok"])]
    error: Annotated[str | None, Field(description="why there was no answer, or none that counts")]


def _without_title(schema: Json) -> None:
    del schema["properties"]["payload"]["title"]


class DeliveryInFull(DeliveryObject):
    """A delivery with its payload and every attempt, oldest first."""

    model_config = ConfigDict(json_schema_extra=_without_title)

    # As it was sent, also by an earlier version: nobody looks at it here.
    payload: Annotated[SerializeAsAny[WebhookPayload], SkipValidation]
    history: list[AttemptObject]

    @classmethod
    def in_full(cls, row: WebhookDelivery, attempts: Sequence[WebhookAttempt]) -> Self:
        """Return a delivery with what was sent and every attempt at it."""
        history = [AttemptObject.model_validate(attempt) for attempt in attempts]
        return cls(**dict(DeliveryObject.of(row)), payload=json.loads(row.payload), history=history)


class DestinationObject(Answer):
    """A URL that events go to. After too many dead deliveries in a row it is paused: later ones wait."""

    model_config = links({"destinationId": "id"}, "resumeDestination")

    id: Annotated[str, Field(examples=["01a1fc46-2b7f-7d1e-9c35-4f1a6b0c8d33"])]
    url: ReceiverUrl
    environment: Environment
    dead_in_a_row: Annotated[int, Field(examples=[0])]
    paused_at: Annotated[Timestamp | None, Field(description="null: not paused")]
    created_at: Timestamp


class DestinationPage(Page[DestinationObject]):
    """Some destinations, newest first, and the cursor of the next page."""
