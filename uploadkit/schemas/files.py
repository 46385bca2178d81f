"""The shapes of answers, for the OpenAPI document. `documented*.py` renders; a test holds what it renders against these."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

Timestamp = Annotated[
    str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$", description="UTC", examples=["2026-04-08T12:00:00.000Z"])
]
FileId = Annotated[str, Field(examples=["01a1fc46-1966-760a-8f86-722fcc992bb4"])]
FileKey = Annotated[str, Field(examples=["01a1fc45-c5dd-745a-8b86-f90652c4d68e/default/01a1fc46-1966-760a-8f86-722fcc992bb4/photo.jpg"])]
ProjectId = Annotated[str, Field(examples=["01a1fc45-c5dd-745a-8b86-f90652c4d68e"])]
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


def links(parameters: dict[str, str], *operations: str, body: bool = False) -> dict[str, Any]:
    """Say in the document which operations go on from an answer, and which of its fields they take."""
    taken = {"requestBody" if body else "parameters": {name: f"$response.body#/{field}" for name, field in parameters.items()}}
    return {"links": {operation: {"operationId": operation, **taken} for operation in operations}}


ClientMetadata = Annotated[
    dict[str, Any], Field(description="what a browser without an API key said; nobody vouches for it", examples=[{}])
]


class FileObject(Shape):
    """One file."""

    model_config = ConfigDict(openapi_extra=links({"key": "key"}, "getFile", "updateFile", "deleteFile"))  # type: ignore[typeddict-unknown-key]

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
    client_metadata: ClientMetadata
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


class DeletionFailure(Shape):
    """A file that could not be deleted, and why."""

    key: FileKey
    code: Annotated[str, Field(examples=["NOT_FOUND"])]
    message: str


class Deletion(Shape):
    """What came of deleting several files."""

    deleted: Annotated[int, Field(description="number of files", examples=[3])]
    failed: Annotated[int, Field(description="number of files", examples=[0])]
    failures: Annotated[list[DeletionFailure], Field(examples=[[]])]
    reclaimed_bytes: Annotated[int, Field(description="storage that is free again", examples=[3145728])]


class NothingDeleted(Deletion):
    """None of the files could be deleted."""

    error: ErrorBody


class LinkObject(Shape):
    """A link that reads one file, for whoever has it, until it expires or the file is deleted."""

    url: Annotated[str, Field(examples=["https://uploads.example.com/f/default/photo.jpg?expires=1775653200&signature=5d41402a"])]
    expires_at: Timestamp


class LimitsObject(Shape):
    """The limits of a project; null is unlimited."""

    requests_per_minute: Annotated[int | None, Field(description="per API key", examples=[300])]
    max_keys: Annotated[int | None, Field(description="active API keys", examples=[10])]
    max_file_size: Annotated[int | None, Field(description="bytes", examples=[536870912])]
    max_storage: Annotated[int | None, Field(description="bytes", examples=[107374182400])]
    max_uploads_per_month: Annotated[int | None, Field(examples=[50000])]


Period = Annotated[str, Field(pattern=r"^\d{4}-\d\d$", description="a month, UTC", examples=["2026-04"])]


class UsageObject(Shape):
    """What the project uses now; for a test key, what its sandbox holds, which has no quota."""

    period: Period
    storage_used: Annotated[int, Field(description="bytes; does not reset with the month", examples=[1048576])]
    storage_reserved: Annotated[int, Field(description="bytes set aside for uploads under way", examples=[0])]
    uploads: Annotated[int, Field(description="completed in this month", examples=[1])]
    limits: LimitsObject


class UsageMonth(Shape):
    """What happened in one month."""

    period: Period
    uploads: Annotated[int, Field(description="completed", examples=[1])]
    bytes_uploaded: Annotated[int, Field(examples=[1048576])]
    bytes_deleted: Annotated[int, Field(examples=[0])]


class UsageHistory(Shape):
    """The last twelve months, this one first."""

    items: list[UsageMonth]
    next_cursor: None
    has_more: Literal[False]


class LogEntry(Shape):
    """One change of state of a file."""

    id: str
    at: Timestamp
    event: Annotated[
        Literal["upload.requested", "upload.completed", "upload.failed", "upload.expired", "upload.aborted", "file.deleted"],
        Field(examples=["upload.completed"]),
    ]
    file_id: FileId
    key: FileKey
    file_name: Annotated[str, Field(examples=["photo.jpg"])]
    route_slug: Annotated[str, Field(examples=["default"])]
    environment: Environment
    status: Annotated[Literal["UPLOADING", "UPLOADED", "FAILED", "DELETED"], Field(description="the file's status after it")]
    detail: Annotated[str | None, Field(description="why, where that is not plain")]
    metadata: Metadata


class LogPage(Shape):
    """Some of the upload event log, newest first, and the cursor of the next page."""

    items: list[LogEntry]
    next_cursor: str | None
    has_more: bool


class UploadSlotObject(Shape):
    """Permission for one PUT of exactly the declared size and type."""

    model_config = ConfigDict(openapi_extra=links({"fileId": "fileId"}, "completeUpload", body=True))  # type: ignore[typeddict-unknown-key]

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

    model_config = ConfigDict(
        openapi_extra=links(  # type: ignore[typeddict-unknown-key]
            {"fileId": "fileId", "uploadId": "uploadId"}, "resumeMultipart", "completeMultipart", "abortMultipart", body=True
        )
    )

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
