"""The shapes of events and of webhook deliveries, and of the payload that receivers get."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from uploadkit.schemas.files import ClientMetadata, Environment, FileId, FileKey, Metadata, ProjectId, Shape, Timestamp, links

DeliveryId = Annotated[str, Field(examples=["01a1fc46-2b7f-7d1e-9c35-4f1a6b0c8d22"])]
EventId = Annotated[
    str, Field(description="the same in every attempt: know repeated ones by it", examples=["01a1fc46-2b7e-7a90-8f11-5e0d4c3b2a19"])
]
FeedEvent = Literal["onUploadComplete", "file.deleted", "file.failed"]
ReceiverUrl = Annotated[str, Field(examples=["https://example.com/hooks/upload"])]


class EventFile(Shape):
    """The file as the event left it. `name`, `size` and `type` say the same as `fileName`, `fileSize` and `contentType`."""

    id: FileId
    key: FileKey
    url: str
    file_name: Annotated[str, Field(examples=["photo.jpg"])]
    file_size: Annotated[int, Field(description="bytes", examples=[1048576])]
    content_type: Annotated[str, Field(examples=["image/jpeg"])]
    name: Annotated[str, Field(examples=["photo.jpg"])]
    size: Annotated[int, Field(description="bytes", examples=[1048576])]
    type: Annotated[str, Field(examples=["image/jpeg"])]
    status: Literal["UPLOADED", "FAILED", "DELETED"]
    metadata: Metadata
    client_metadata: ClientMetadata
    created_at: Timestamp


class WebhookPayload(Shape):
    """The body that receivers get."""

    id: EventId
    event: FeedEvent | Literal["webhook.test"]
    created_at: Timestamp
    project_id: ProjectId
    environment: Environment
    file: EventFile
    metadata: Metadata


class EventObject(WebhookPayload):
    """One event, and its place in the order of all."""

    sequence: Annotated[int, Field(examples=[42])]
    event: FeedEvent


class EventFeed(Shape):
    """Some events, oldest first. Pass `nextAfter` as `after` to go on, at once if there is more, else later."""

    items: list[EventObject]
    next_after: Annotated[int, Field(examples=[42])]
    has_more: bool
    gap: Annotated[bool, Field(description="events between `after` and these are no longer kept: list the files instead", examples=[False])]


class DeliveryObject(Shape):
    """One event on its way to one URL."""

    model_config = ConfigDict(
        openapi_extra=links({"deliveryId": "id"}, "getDelivery", "redeliver", "deleteDelivery")  # type: ignore[typeddict-unknown-key]
    )

    id: DeliveryId
    event_id: EventId
    event: FeedEvent | Literal["webhook.test"]
    environment: Environment
    file_id: Annotated[str | None, Field(description="null: a test event")]
    url: ReceiverUrl
    status: Annotated[
        Literal["pending", "delivering", "delivered", "dead"], Field(description="dead: given up until somebody redelivers it")
    ]
    paused: Annotated[bool, Field(description="it waits because its destination is paused", examples=[False])]
    attempts: Annotated[int, Field(examples=[1])]
    next_attempt_at: Timestamp | None
    last_status_code: Annotated[int | None, Field(description="null: no answer", examples=[200])]
    last_error: str | None
    created_at: Timestamp
    delivered_at: Timestamp | None


class DeliveryPage(Shape):
    """Some deliveries, newest first, and the cursor of the next page."""

    items: list[DeliveryObject]
    next_cursor: str | None
    has_more: bool


class AttemptObject(Shape):
    """One attempt: what was sent beside the payload, and what came back."""

    started_at: Timestamp
    duration_ms: Annotated[int, Field(examples=[38])]
    request_headers: Annotated[dict[str, str], Field(examples=[{"webhook-id": "01a1fc46-2b7e-7a90-8f11-5e0d4c3b2a19"}])]
    status_code: Annotated[int | None, Field(examples=[200])]
    response_excerpt: Annotated[str | None, Field(description="at most 1,000 characters", examples=["ok"])]
    error: Annotated[str | None, Field(description="why there was no answer, or none that counts")]


class DeliveryInFull(DeliveryObject):
    """A delivery with its payload and every attempt, oldest first."""

    payload: WebhookPayload
    history: list[AttemptObject]


class DestinationObject(Shape):
    """A URL that events go to. After too many dead deliveries in a row it is paused: later ones wait."""

    model_config = ConfigDict(openapi_extra=links({"destinationId": "id"}, "resumeDestination"))  # type: ignore[typeddict-unknown-key]

    id: Annotated[str, Field(examples=["01a1fc46-2b7f-7d1e-9c35-4f1a6b0c8d33"])]
    url: ReceiverUrl
    environment: Environment
    dead_in_a_row: Annotated[int, Field(examples=[0])]
    paused_at: Annotated[Timestamp | None, Field(description="null: not paused")]
    created_at: Timestamp


class DestinationPage(Shape):
    """Some destinations, newest first, and the cursor of the next page."""

    items: list[DestinationObject]
    next_cursor: str | None
    has_more: bool
