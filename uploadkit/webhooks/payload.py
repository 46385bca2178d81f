"""What a receiver gets, and what `/events` shows: one body for readers of the cloud's documentation and of ours. Pure.

A wire format of its own, beside those in `schemas/`: it is kept with the delivery, and sent again as it was.
The file is told as the event left it, from the event's own row: it stays the same whatever becomes of the file.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from uploadkit.core.media_types import strict
from uploadkit.core.values import ClientMetadata, Environment, FileId, FileKey, KeptMetadata, ProjectId, Timestamp
from uploadkit.db.models import Event

FeedEvent = Literal["onUploadComplete", "file.deleted", "file.failed"]
EventId = Annotated[
    str, Field(description="the same in every attempt: know repeated ones by it", examples=["01a1fc46-2b7e-7a90-8f11-5e0d4c3b2a19"])
]
TEST_EVENT: Literal["webhook.test"] = "webhook.test"
"""The event of a delivery that somebody asked for to see whether it arrives."""

PUBLIC_EVENTS: dict[str, FeedEvent] = {"UPLOADED": "onUploadComplete", "FAILED": "file.failed", "DELETED": "file.deleted"}
"""The event that receivers are told, by the status that the file came to."""


class _Told(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, serialize_by_alias=True, populate_by_name=True, extra="forbid")


class EventFile(_Told):
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
    metadata: KeptMetadata
    client_metadata: ClientMetadata
    created_at: Timestamp

    @classmethod
    def of(cls, event: Event, url: str) -> Self:
        """Return the file of an event; `url` is its lasting one."""
        content_type = strict(event.content_type)
        return cls(
            id=event.file_id,
            key=event.key,
            url=url,
            file_name=event.file_name,
            file_size=event.size_bytes,
            content_type=content_type,
            name=event.file_name,
            size=event.size_bytes,
            type=content_type,
            status=event.status,
            metadata=event.metadata,
            client_metadata=event.client_metadata,
            created_at=event.file_created_at,
        )


class WebhookPayload(_Told):
    """The body that receivers get."""

    id: EventId
    event: FeedEvent | Literal["webhook.test"]
    created_at: Timestamp
    project_id: ProjectId
    environment: Environment
    file: EventFile
    metadata: KeptMetadata

    @classmethod
    def of(cls, event: Event, url: str, name: Literal["webhook.test"] | None = None) -> Self:
        """Return the body that tells of `event`, as `name` where it is none that a file came to; `url` is the lasting URL of its file."""
        return cls(
            id=event.id,
            event=name or PUBLIC_EVENTS[event.status],
            created_at=event.at,
            project_id=event.project_id,
            environment=event.environment,
            file=EventFile.of(event, url),
            metadata=event.metadata,
        )
