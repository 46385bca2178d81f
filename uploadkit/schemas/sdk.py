"""The shapes of answers of the cloud-SDK door, for its OpenAPI document. `sdk.py` renders."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from uploadkit.schemas.files import DeletionFailure, FileId, FileKey, FileObject, Metadata, PartUrlObject, Shape, Timestamp


class SdkErrorBody(Shape):
    """What went wrong, and what to do about it."""

    code: Annotated[str, Field(description="stable, for programs", examples=["INVALID_FILE_TYPE"])]
    type: Literal["authentication_error", "rate_limit_error", "invalid_request", "api_error"]
    message: str
    suggestion: Annotated[str, Field(description="what a developer can do on this appliance")] = ""
    details: Annotated[dict[str, list[str]], Field(description="VALIDATION_ERROR: messages by field")] = Field(default_factory=dict)


class SdkErrorAnswer(Shape):
    """The shape of every failure."""

    error: SdkErrorBody


class SdkFile(Shape):
    """One file."""

    id: FileId
    mongo_id: Annotated[str, Field(alias="_id", description="the same as `id`")]
    key: FileKey
    name: Annotated[str, Field(examples=["photo.jpg"])]
    size: Annotated[int, Field(description="bytes", examples=[1048576])]
    type: Annotated[str, Field(examples=["image/jpeg"])]
    url: Annotated[str, Field(description="where the file can be read once it is UPLOADED")]
    status: Literal["UPLOADING", "UPLOADED", "FAILED", "DELETED"]
    metadata: Metadata
    created_at: Timestamp
    updated_at: Timestamp


class FileInBothNames(FileObject):
    """One file of the documented API, and once more as the official packages read it."""

    file: Annotated[SdkFile | None, Field(description="only where the key came as `Authorization: Bearer`: packages without /sdk")] = None


class SdkFileAnswer(Shape):
    """One file in its envelope."""

    file: SdkFile


class SdkFilePage(Shape):
    """Some files, newest first, and the cursor of the next page."""

    files: list[SdkFile]
    next_cursor: str | None
    has_more: bool


class SdkUploadSlot(Shape):
    """Permission for one PUT."""

    file_id: FileId
    upload_url: Annotated[str, Field(description="PUT the bytes here; the header Content-Type is the declared `contentType`")]
    key: FileKey
    cdn_url: Annotated[str, Field(description="the file's `url` once it is complete")]


class SdkMultipart(Shape):
    """A multipart upload that has begun: parts of 5 MiB, the last one of what is left."""

    file_id: FileId
    upload_id: str
    key: FileKey
    parts: list[PartUrlObject]


class Done(Shape):
    """It is done."""

    ok: Literal[True]


class SdkNothingDeleted(Shape):
    """None of the files could be deleted."""

    deleted: Literal[0]
    failed: int
    failures: list[DeletionFailure]
    reclaimed_bytes: Literal[0]
    error: SdkErrorBody


class SdkProject(Shape):
    """A project."""

    mongo_id: Annotated[str, Field(alias="_id", description="the same as `id`")]
    id: Annotated[str, Field(examples=["01a1fc45-c5dd-745a-8b86-f90652c4d68e"])]
    name: Annotated[str, Field(examples=["Holiday photos"])]
    slug: Annotated[str, Field(examples=["holiday-photos"])]
    tier: Annotated[str, Field(examples=["pro"])]


class SdkProjectAnswer(Shape):
    """The project that the API key belongs to."""

    project: SdkProject
    tier: Annotated[str, Field(examples=["pro"])]
