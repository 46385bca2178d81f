"""The shapes of answers, for the OpenAPI document. `documented.py` renders; a test holds what it renders against these."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

Timestamp = Annotated[
    str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$", description="UTC", examples=["2026-04-08T12:00:00.000Z"])
]
FileId = Annotated[str, Field(examples=["01a1fc46-1966-760a-8f86-722fcc992bb4"])]
FileKey = Annotated[str, Field(examples=["01a1fc45-c5dd-745a-8b86-f90652c4d68e/default/01a1fc46-1966-760a-8f86-722fcc992bb4/photo.jpg"])]
Environment = Literal["live", "test"]
Metadata = Annotated[dict[str, Any], Field(description="what the client attached; at most 8 KiB as JSON", examples=[{"album": "summer"}])]


class Shape(BaseModel):
    """What all answers have in common: camelCase, every field there."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid")


class ErrorBody(Shape):
    """What went wrong, and what to do about it."""

    code: Annotated[str, Field(description="stable, for programs", examples=["FILE_TOO_LARGE"])]
    message: Annotated[str, Field(examples=["File size 6291456 bytes exceeds the 4194304 byte limit"])]
    suggestion: Annotated[str, Field(description="what a developer can do on this appliance")] = ""
    details: Annotated[dict[str, list[str]], Field(description="VALIDATION_ERROR: messages by field")] = {}


class ErrorAnswer(Shape):
    """The shape of every failure."""

    error: ErrorBody


class FileObject(Shape):
    """One file."""

    id: FileId
    key: FileKey
    url: Annotated[str, Field(description="where the file can be read once it is UPLOADED")]
    file_name: Annotated[str, Field(examples=["photo.jpg"])]
    file_size: Annotated[int, Field(description="bytes", examples=[1048576])]
    content_type: Annotated[str, Field(examples=["image/jpeg"])]
    status: Literal["UPLOADING", "UPLOADED", "FAILED", "DELETED"]
    environment: Environment
    route_slug: Annotated[str, Field(examples=["default"])]
    etag: str | None
    metadata: Metadata
    created_at: Timestamp
    updated_at: Timestamp
    uploaded_at: Timestamp | None


class FilePage(Shape):
    """Some files, newest first, and the cursor of the next page."""

    items: list[FileObject]
    next_cursor: str | None
    has_more: bool


class Deleted(Shape):
    """It is gone."""

    deleted: Literal[True]


class UploadSlotObject(Shape):
    """Permission for one PUT of exactly the declared size and type."""

    file_id: FileId
    upload_url: Annotated[str, Field(description="PUT the bytes here, with `headers`, before `expiresAt`")]
    key: FileKey
    cdn_url: Annotated[str, Field(description="the file's `url` once it is complete")]
    expires_at: Timestamp
    headers: Annotated[dict[str, str], Field(examples=[{"Content-Type": "image/jpeg", "Content-Length": "1048576"}])]


class PartUrlObject(Shape):
    """Permission for the PUT of one part."""

    part_number: int
    upload_url: str


class MultipartObject(Shape):
    """A multipart upload that has begun: PUT each part to its URL, all `partSize` bytes but the last."""

    file_id: FileId
    upload_id: str
    key: FileKey
    part_size: Annotated[int, Field(description="bytes", examples=[5242880])]
    parts: list[PartUrlObject]
    expires_at: Timestamp


class StoredPartObject(Shape):
    """A part that has arrived."""

    part_number: int
    size: Annotated[int, Field(description="bytes")]
    etag: str


class MultipartStateObject(Shape):
    """What has arrived of a multipart upload, and fresh URLs for the rest (or for the parts asked for)."""

    upload_id: str
    part_size: Annotated[int, Field(description="bytes", examples=[5242880])]
    uploaded: list[StoredPartObject]
    parts: list[PartUrlObject]
    expires_at: Timestamp


class Aborted(Shape):
    """The upload has ended; its parts are gone and its quota is free."""

    aborted: Literal[True]
