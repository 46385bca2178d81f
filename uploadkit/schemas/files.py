"""`/files…`: files, their metadata, links to them, and deleting many."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from uploadkit.core import media_types
from uploadkit.core.errors import NotFound
from uploadkit.core.values import WHOLE, ClientMetadata, Environment, FileId, FileKey, KeptMetadata, Metadata, Moment, Timestamp
from uploadkit.db.models import File
from uploadkit.files.links import LONGEST_LINK_SECONDS
from uploadkit.files.service import Deletion, FileFilter
from uploadkit.schemas.base import Answer, Input, Page, PageQuery, links
from uploadkit.schemas.errors import ErrorBody

FileStatus = Literal["UPLOADING", "UPLOADED", "FAILED", "DELETED"]


class FilePath(BaseModel):
    """A file's key in a path; slashes may be plain or `%2F`."""

    key: str


class FileIdPath(Input):
    """A file's id in a path."""

    file_id: str


class FileListQuery(PageQuery):
    """Query of `GET /files`."""

    model_config = ConfigDict(alias_generator=to_camel)

    status: Annotated[FileStatus | None, Field(description="without it: all but DELETED")] = None
    route_slug: Annotated[str, Field(max_length=100)] | None = None
    content_type: Annotated[str, Field(max_length=255, pattern=f"^({media_types.RANGE.pattern})$", examples=["image/*"])] | None = None
    search: Annotated[str, Field(max_length=255, description="a part of the file name, in any case of letters")] | None = None
    since: Annotated[Moment | None, Field(description="created then or later")] = None
    until: Annotated[Moment | None, Field(description="created before then")] = None

    def to_filter(self) -> FileFilter:
        """Return it in the core's words."""
        return FileFilter(self.status, self.route_slug, self.content_type, self.search, self.since, self.until)


class MetadataBody(Input):
    """Body of `PATCH /files/{key}`."""

    metadata: Metadata


class DeleteFilesBody(Input):
    """Body of `DELETE /files`."""

    keys: Annotated[list[Annotated[str, Field(min_length=1, max_length=1024)]], Field(min_length=1, max_length=100)]


class LinkBody(Input):
    """Body of `POST /files/{key}/link`."""

    expires_in: Annotated[int, Field(ge=1, le=LONGEST_LINK_SECONDS, description="seconds"), WHOLE] = 3600
    download: Annotated[bool, Field(description="have browsers save the file rather than show it")] = False


class FileObject(Answer):
    """One file."""

    model_config = links({"key": "key"}, "getFile", "updateFile", "deleteFile")

    id: FileId
    key: FileKey
    url: Annotated[str, Field(description="where the file can be read once it is UPLOADED")]
    file_name: Annotated[str, Field(examples=["photo.jpg"])]
    file_size: Annotated[int, Field(description="bytes", examples=[1048576])]
    content_type: Annotated[str, Field(examples=["image/jpeg"])]
    status: FileStatus
    environment: Environment
    route_slug: Annotated[str, Field(examples=["default"])]
    etag: str | None
    metadata: KeptMetadata
    client_metadata: ClientMetadata
    created_at: Timestamp
    updated_at: Timestamp
    uploaded_at: Timestamp | None

    @classmethod
    def of(cls, row: File, url: str) -> Self:
        """Return a file, readable at `url`."""
        return cls(
            id=row.id,
            key=row.key,
            url=url,
            file_name=row.file_name,
            file_size=row.size_bytes,
            content_type=media_types.strict(row.content_type),
            status=row.status,
            environment=row.environment,
            route_slug=row.route_slug,
            etag=row.etag,
            metadata=row.metadata,
            client_metadata=row.client_metadata,
            created_at=row.created_at,
            updated_at=row.updated_at,
            uploaded_at=row.uploaded_at,
        )


class FilePage(Page[FileObject]):
    """Some files, newest first, and the cursor of the next page."""


class DeletionFailure(Answer):
    """A file that could not be deleted, and why."""

    key: FileKey
    code: Annotated[str, Field(examples=["NOT_FOUND"])]
    message: str


class DeletionObject(Answer):
    """What came of deleting several files."""

    model_config = ConfigDict(title="Deletion")

    deleted: Annotated[int, Field(description="number of files", examples=[3])]
    failed: Annotated[int, Field(description="number of files", examples=[0])]
    failures: Annotated[list[DeletionFailure], Field(examples=[[]])]
    reclaimed_bytes: Annotated[int, Field(description="storage that is free again", examples=[3145728])]

    @classmethod
    def of(cls, done: Deletion) -> Self:
        """Return what came of it; `NothingDeleted` has more to say where nothing did."""
        failures = [DeletionFailure(key=key, code=failure.code, message=failure.message) for key, failure in done.failures.items()]
        return cls(deleted=done.deleted, failed=len(failures), failures=failures, reclaimed_bytes=done.reclaimed_bytes)


NOTHING_DELETED = NotFound("None of these files could be deleted", "failures says why, key by key")


class NothingDeleted(DeletionObject):
    """None of the files could be deleted."""

    model_config = ConfigDict(title="NothingDeleted")

    error: ErrorBody


def deletion(done: Deletion) -> tuple[DeletionObject, int]:
    """Return the answer of `DELETE /files` and its HTTP status: all, some or none were deleted."""
    answer = DeletionObject.of(done)
    if not done.deleted:
        answer = NothingDeleted(**dict(answer), error=ErrorBody.of(NOTHING_DELETED))
    return answer, deletion_status(done)


def deletion_status(done: Deletion) -> int:
    """Return the HTTP status of a deletion: all, some or none were deleted."""
    if not done.failures:
        return 200
    return 207 if done.deleted else 404


class LinkObject(Answer):
    """A link that reads one file, for whoever has it, until it expires or the file is deleted."""

    url: Annotated[str, Field(examples=["https://uploads.example.com/f/default/photo.jpg?expires=1775653200&signature=5d41402a"])]
    expires_at: Timestamp
