"""What a receiver gets, and what `/events` shows: one body for readers of the cloud's documentation and of ours. Pure.

A wire format of its own, beside those in `schemas/`: it is kept with the delivery, and sent again as it was.
The file is as the event left it, and stays so, whatever happens to it later.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

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


@dataclass(frozen=True)
class News:
    """What there is to tell: `event` in the receivers' words, when it was (`at`, milliseconds), and the file as it left it."""

    id: str
    event: str
    at: int
    project_id: str
    environment: str
    file_id: str
    key: str
    file_name: str
    size_bytes: int
    content_type: str
    visibility: str
    status: str
    metadata: Mapping[str, Any]
    client_metadata: Mapping[str, Any]
    file_created_at: int


def news_of(row: Event) -> News:
    """Return what there is to tell of a row of the event log."""
    return News(
        id=row.id,
        event=PUBLIC_EVENTS[row.status],
        at=row.at,
        project_id=row.project_id,
        environment=row.environment,
        file_id=row.file_id,
        key=row.key,
        file_name=row.file_name,
        size_bytes=row.size_bytes,
        content_type=row.content_type,
        visibility=row.visibility,
        status=row.status,
        metadata=row.metadata,
        client_metadata=row.client_metadata,
        file_created_at=row.file_created_at,
    )


class _EventFile(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel, serialize_by_alias=True, populate_by_name=True, extra="forbid", hide_input_in_errors=True
    )


class EventFile(_EventFile):
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
    def of(cls, news: News, url: str) -> Self:
        """Return the file that there is news of; `url` is its lasting one."""
        content_type = strict(news.content_type)
        return cls(
            id=news.file_id,
            key=news.key,
            url=url,
            file_name=news.file_name,
            file_size=news.size_bytes,
            content_type=content_type,
            name=news.file_name,
            size=news.size_bytes,
            type=content_type,
            status=news.status,
            metadata=news.metadata,
            client_metadata=news.client_metadata,
            created_at=news.file_created_at,
        )


class WebhookPayload(_EventFile):
    """The body that receivers get."""

    id: EventId
    event: FeedEvent | Literal["webhook.test"]
    created_at: Timestamp
    project_id: ProjectId
    environment: Environment
    file: EventFile
    metadata: KeptMetadata

    @classmethod
    def of(cls, news: News, url: str) -> Self:
        """Return the body that tells `news`; `url` is the lasting URL of its file."""
        return cls(
            id=news.id,
            event=news.event,
            created_at=news.at,
            project_id=news.project_id,
            environment=news.environment,
            file=EventFile.of(news, url),
            metadata=news.metadata,
        )
