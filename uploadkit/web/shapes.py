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


def _links(parameters: dict[str, str], *operations: str, body: bool = False) -> dict[str, Any]:
    """Say in the document which operations go on from an answer, and which of its fields they take."""
    taken = {"requestBody" if body else "parameters": {name: f"$response.body#/{field}" for name, field in parameters.items()}}
    return {"links": {operation: {"operationId": operation, **taken} for operation in operations}}


ClientMetadata = Annotated[
    dict[str, Any], Field(description="what a browser without an API key said; nobody vouches for it", examples=[{}])
]


class FileObject(Shape):
    """One file."""

    model_config = ConfigDict(openapi_extra=_links({"key": "key"}, "getFile", "updateFile", "deleteFile"))  # type: ignore[typeddict-unknown-key]

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

    model_config = ConfigDict(openapi_extra=_links({"fileId": "fileId"}, "completeUpload", body=True))  # type: ignore[typeddict-unknown-key]

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
        openapi_extra=_links(  # type: ignore[typeddict-unknown-key]
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


ProjectId = Annotated[str, Field(examples=["01a1fc45-c5dd-745a-8b86-f90652c4d68e"])]


class ProjectObject(Shape):
    """One project. `limits` is what applies now: those of its tier, with its own laid over them."""

    id: ProjectId
    name: Annotated[str, Field(examples=["Holiday photos"])]
    slug: Annotated[str, Field(examples=["holiday-photos"])]
    tier: Annotated[str, Field(examples=["pro"])]
    limits: LimitsObject
    limit_overrides: Annotated[
        dict[str, int | Literal["unlimited"]], Field(description="the project's own limits", examples=[{"maxStorage": 1099511627776}])
    ]
    retention_days: Annotated[int | None, Field(description="null: files are kept until somebody deletes them")]
    created_at: Timestamp
    updated_at: Timestamp


class ProjectPage(Shape):
    """Some projects, newest first, and the cursor of the next page."""

    items: list[ProjectObject]
    next_cursor: str | None
    has_more: bool


class KeyObject(Shape):
    """One API key, masked. `access`: `project` is for its own project only, `account` may also administer all projects."""

    id: Annotated[str, Field(examples=["01a1fc45-c5df-7a02-9f0c-3d2a1b5e7c11"])]
    project_id: ProjectId
    name: Annotated[str, Field(examples=["Production server"])]
    masked_key: Annotated[str, Field(examples=["uk_live_a1B...x9Y8z7"])]
    environment: Environment
    access: Literal["project", "account"]
    created_at: Timestamp
    last_used_at: Annotated[Timestamp | None, Field(description="to the minute")]
    revoked_at: Timestamp | None


class NewKeyObject(KeyObject):
    """A new API key, with the only sight of `key` there will ever be."""

    key: Annotated[str, Field(pattern=r"^uk_(live|test)_[A-Za-z0-9_-]{32}$")]


class KeyPage(Shape):
    """Some API keys, newest first, and the cursor of the next page."""

    items: list[KeyObject]
    next_cursor: str | None
    has_more: bool


class Revoked(Shape):
    """The API key is refused from now on."""

    revoked: Literal[True]


class FileRouteObject(Shape):
    """The rules for uploads of one kind."""

    id: Annotated[str, Field(examples=["01a1fc45-c5e0-7c1d-8a4e-6b0f2d9c3e55"])]
    project_id: ProjectId
    slug: Annotated[str, Field(examples=["avatars"])]
    max_file_size: Annotated[int | None, Field(description="bytes; null: as large as the tier allows", examples=[4194304])]
    max_file_count: Annotated[int, Field(description="files that a browser may select at once", examples=[1])]
    allowed_types: Annotated[list[str], Field(examples=[["image/*"]])]
    visibility: Literal["public", "private"]
    webhook_url: str | None
    webhook_events: Annotated[list[str], Field(examples=[["onUploadComplete"]])]
    verify_content: bool
    anonymous_uploads: bool
    allowed_origins: Annotated[list[str], Field(examples=[["https://app.example.com"]])]
    created_at: Timestamp
    updated_at: Timestamp


class FileRoutePage(Shape):
    """Some file routes, newest first, and the cursor of the next page."""

    items: list[FileRouteObject]
    next_cursor: str | None
    has_more: bool


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
        openapi_extra=_links({"deliveryId": "id"}, "getDelivery", "redeliver", "deleteDelivery")  # type: ignore[typeddict-unknown-key]
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

    model_config = ConfigDict(openapi_extra=_links({"destinationId": "id"}, "resumeDestination"))  # type: ignore[typeddict-unknown-key]

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


class UploadTokenObject(Shape):
    """A new upload token, with the only sight of `token` there will ever be. A page uploads to `endpoint`."""

    id: Annotated[str, Field(examples=["01a1fc45-c5e2-7d3f-9b6a-8f2e4c1d0a77"])]
    token: Annotated[str, Field(pattern=r"^ukt_[A-Za-z0-9_-]{32}$")]
    endpoint: Annotated[str, Field(examples=["https://uploads.example.com/api/uploadkit/t/ukt_..."])]
    route_slug: Annotated[str, Field(examples=["default"])]
    environment: Environment
    max_files: Annotated[int, Field(examples=[1])]
    max_bytes: Annotated[int | None, Field(description="of all files together; null: any number", examples=[4194304])]
    expires_at: Annotated[Timestamp, Field(description="no upload can be begun after that; one that was begun can be finished")]
