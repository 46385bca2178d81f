"""`/sdk/api/v1`: what the official JavaScript packages send and read.

The same things as in the documented API, under other names: files enveloped, errors with a `type`, some codes the cloud's own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal, Self

from pydantic import Field

from uploadkit.core.errors import UploadKitError
from uploadkit.core.media_types import strict
from uploadkit.core.values import FileId, FileKey, KeptMetadata, Timestamp
from uploadkit.db.models import File, Project
from uploadkit.db.paging import Page
from uploadkit.files.multipart_upload import MultipartSlot
from uploadkit.files.service import Deletion
from uploadkit.files.single_upload import UploadSlot
from uploadkit.schemas.base import Answer, PageQuery, in_this_order
from uploadkit.schemas.errors import advice
from uploadkit.schemas.files import NOTHING_DELETED, DeletionFailure, DeletionObject, FileObject, FileStatus, deletion_status
from uploadkit.schemas.uploads import PartUrlObject, part_urls

ErrorType = Literal["authentication_error", "rate_limit_error", "invalid_request", "api_error"]
_RENAMED: dict[str, tuple[str, int]] = {
    "FILE_TYPE_NOT_ALLOWED": ("INVALID_FILE_TYPE", 400),
    "FILE_TOO_LARGE": ("TIER_LIMIT_EXCEEDED", 403),
    "UPLOAD_NOT_VERIFIED": ("FILE_NOT_IN_STORAGE", 422),
    "UPLOAD_NOT_FOUND": ("NOT_FOUND", 404),
    "INTERNAL_SERVER_ERROR": ("INTERNAL_ERROR", 500),
}
_TYPES: dict[int, ErrorType] = {401: "authentication_error", 429: "rate_limit_error"}


def code_and_status(failure: UploadKitError) -> tuple[str, int]:
    """Return the cloud's own code for a failure, and its HTTP status there."""
    return _RENAMED.get(failure.code, (failure.code, failure.status))


class SdkListQuery(PageQuery):
    """Query of `GET /files`."""

    limit: Annotated[int, Field(ge=1, le=100)] = 50


class SdkErrorBody(Answer):
    """What went wrong, and what to do about it."""

    model_config = in_this_order("code", "type", "message", "suggestion", "details")

    code: Annotated[str, Field(description="stable, for programs", examples=["INVALID_FILE_TYPE"])]
    message: str
    suggestion: Annotated[str, Field(description="what a developer can do on this appliance")] = ""
    details: Annotated[dict[str, list[str]], Field(description="VALIDATION_ERROR: messages by field")] = Field(default_factory=dict)
    type: ErrorType

    @classmethod
    def of(cls, failure: UploadKitError) -> Self:
        """Return what a failure says of itself, in the cloud's words."""
        code, status = code_and_status(failure)
        kind = _TYPES.get(status, "invalid_request" if status < 500 else "api_error")
        return cls(code=code, message=failure.message, type=kind, **advice(failure))


class SdkErrorAnswer(Answer):
    """The shape of every failure."""

    error: SdkErrorBody

    @classmethod
    def of(cls, failure: UploadKitError) -> Self:
        """Return the answer that tells of a failure."""
        return cls(error=SdkErrorBody.of(failure))


def error(failure: UploadKitError) -> tuple[SdkErrorAnswer, int]:
    """Return the answer that tells of a failure, and its HTTP status there."""
    return SdkErrorAnswer.of(failure), code_and_status(failure)[1]


class SdkFile(Answer):
    """One file."""

    id: FileId
    mongo_id: Annotated[str, Field(alias="_id", description="the same as `id`")]
    key: FileKey
    name: Annotated[str, Field(examples=["photo.jpg"])]
    size: Annotated[int, Field(description="bytes", examples=[1048576])]
    type: Annotated[str, Field(examples=["image/jpeg"])]
    url: Annotated[str, Field(description="where the file can be read once it is UPLOADED")]
    status: FileStatus
    metadata: KeptMetadata
    created_at: Timestamp
    updated_at: Timestamp

    @classmethod
    def of(cls, row: File, url: str) -> Self:
        """Return a file, readable at `url`."""
        return cls(
            id=row.id,
            mongo_id=row.id,
            key=row.key,
            name=row.file_name,
            size=row.size_bytes,
            type=strict(row.content_type),
            url=url,
            status=row.status,
            metadata=row.metadata,
            created_at=row.created_at,
            updated_at=row.updated_at,
        )


class FileInBothNames(FileObject):
    """One file of the documented API, and once more as the official packages read it."""

    file: Annotated[SdkFile | None, Field(description="only where the key came as `Authorization: Bearer`: packages without /sdk")] = None

    @classmethod
    def both(cls, row: File, url: str) -> Self:
        """Return a file, readable at `url`, twice."""
        return cls(**dict(FileObject.of(row, url)), file=SdkFile.of(row, url))


class SdkFileAnswer(Answer):
    """One file in its envelope."""

    file: SdkFile

    @classmethod
    def of(cls, row: File, url: str) -> Self:
        """Return a file, readable at `url`."""
        return cls(file=SdkFile.of(row, url))


class SdkFilePage(Answer):
    """Some files, newest first, and the cursor of the next page."""

    files: list[SdkFile]
    next_cursor: str | None
    has_more: bool

    @classmethod
    def of(cls, page: Page[File], url_of: Callable[[File], str]) -> Self:
        """Return a page of files; `url_of` knows where each can be read."""
        files = [SdkFile.of(row, url_of(row)) for row in page.items]
        return cls(files=files, next_cursor=page.next_cursor, has_more=page.next_cursor is not None)


class SdkUploadSlot(Answer):
    """Permission for one PUT."""

    file_id: FileId
    upload_url: Annotated[str, Field(description="PUT the bytes here; the header Content-Type is the declared `contentType`")]
    key: FileKey
    cdn_url: Annotated[str, Field(description="the file's `url` once it is complete")]

    @classmethod
    def of(cls, slot: UploadSlot, url: str) -> Self:
        """Return permission for a file that will be readable at `url`."""
        return cls(file_id=slot.file.id, upload_url=slot.upload_url, key=slot.file.key, cdn_url=url)


class SdkMultipart(Answer):
    """A multipart upload that has begun: parts of 5 MiB, the last one of what is left."""

    file_id: FileId
    upload_id: str
    key: FileKey
    parts: list[PartUrlObject]

    @classmethod
    def of(cls, slot: MultipartSlot) -> Self:
        """Return a multipart upload with all its parts to send."""
        return cls(file_id=slot.file.id, upload_id=slot.file.upload_id, key=slot.file.key, parts=part_urls(slot))


class Done(Answer):
    """It is done."""

    ok: Literal[True]


DONE = Done(ok=True)


class SdkNothingDeleted(Answer):
    """None of the files could be deleted."""

    deleted: Literal[0]
    failed: int
    failures: list[DeletionFailure]
    reclaimed_bytes: Literal[0]
    error: SdkErrorBody


def deletion(done: Deletion) -> tuple[DeletionObject | SdkNothingDeleted, int]:
    """Return the answer of `DELETE /files`, its codes the cloud's, and its HTTP status."""
    answer = DeletionObject.of(done)
    for failure, of_file in zip(done.failures.values(), answer.failures, strict=True):
        of_file.code, _ = code_and_status(failure)
    if done.deleted:
        return answer, deletion_status(done)
    return SdkNothingDeleted(**dict(answer), error=SdkErrorBody.of(NOTHING_DELETED)), deletion_status(done)


class SdkProject(Answer):
    """A project."""

    mongo_id: Annotated[str, Field(alias="_id", description="the same as `id`")]
    id: Annotated[str, Field(examples=["01a1fc45-c5dd-745a-8b86-f90652c4d68e"])]
    name: Annotated[str, Field(examples=["Holiday photos"])]
    slug: Annotated[str, Field(examples=["holiday-photos"])]
    tier: Annotated[str, Field(examples=["pro"])]


class SdkProjectAnswer(Answer):
    """The project that the API key belongs to."""

    project: SdkProject
    tier: Annotated[str, Field(examples=["pro"])]

    @classmethod
    def of(cls, row: Project) -> Self:
        """Return a project."""
        return cls(project=SdkProject(mongo_id=row.id, id=row.id, name=row.name, slug=row.slug, tier=row.tier), tier=row.tier)
