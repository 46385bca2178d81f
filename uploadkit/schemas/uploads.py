"""`/upload/…`: the upload life cycle, in one PUT or in parts."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field

from uploadkit.core.values import WHOLE, AnyMediaType, FileId, FileKey, FileName, MediaType, Metadata, ShortText, Timestamp
from uploadkit.files.admission import UploadRequest
from uploadkit.files.multipart_upload import MultipartSlot
from uploadkit.files.single_upload import UploadSlot
from uploadkit.schemas.base import Answer, Input, links

# Clients in JavaScript write null where they have none.
MetadataOrNone = Annotated[Metadata | None, Field(description="null: none")]


class UploadRequestBody(Input):
    """Body of `POST /upload/request` and `POST /upload/multipart/init`."""

    file_name: FileName
    file_size: Annotated[int, Field(ge=1, description="bytes", examples=[1048576]), WHOLE]
    content_type: MediaType
    route_slug: Annotated[str, Field(min_length=1, max_length=100)]
    metadata: MetadataOrNone = Field({})

    def to_request(self) -> UploadRequest:
        """Return it in the core's words."""
        return UploadRequest(self.file_name, self.file_size, self.content_type, self.route_slug, self.metadata or {})


class AnyTypeUploadRequestBody(UploadRequestBody):
    """The same at the cloud-SDK API, where the packages send "" for a type that the browser does not know."""

    content_type: AnyMediaType


class UploadCompleteBody(Input):
    """Body of `POST /upload/complete`."""

    file_id: ShortText
    metadata: MetadataOrNone = Field({})


class MultipartBody(Input):
    """Body of `POST /upload/multipart/abort`."""

    file_id: ShortText
    upload_id: Annotated[str, Field(min_length=1, max_length=2048)]


class MultipartPartsBody(MultipartBody):
    """Body of `POST /upload/multipart/parts`."""

    part_numbers: Annotated[list[Annotated[int, Field(ge=1, le=10_000), WHOLE]], Field(max_length=10_000)] | None = None


class PartBody(Input):
    """One part in the body of `POST /upload/multipart/complete`."""

    part_number: Annotated[int, Field(ge=1, le=10_000), WHOLE]
    etag: Annotated[str, Field(min_length=1, max_length=255)]


class MultipartCompleteBody(MultipartBody):
    """Body of `POST /upload/multipart/complete`."""

    parts: Annotated[list[PartBody], Field(min_length=1, max_length=10_000)] | None = None
    metadata: MetadataOrNone = Field({})

    def to_parts(self) -> list[tuple[int, str]] | None:
        """Return number and ETag, as it was given, of each part, or None."""
        return None if self.parts is None else [(part.part_number, part.etag) for part in self.parts]


class UploadSlotObject(Answer):
    """Permission for one PUT of exactly the declared size and type."""

    model_config = links({"fileId": "fileId"}, "completeUpload", body=True)

    file_id: FileId
    upload_url: Annotated[str, Field(description="PUT the bytes here, with `headers`, before `expiresAt`")]
    key: FileKey
    cdn_url: Annotated[str, Field(description="the file's `url` once it is complete")]
    expires_at: Timestamp
    headers: Annotated[dict[str, str], Field(examples=[{"Content-Type": "image/jpeg", "Content-Length": "1048576"}])]

    @classmethod
    def of(cls, slot: UploadSlot, url: str) -> Self:
        """Return permission for a file that will be readable at `url`."""
        return cls(
            file_id=slot.file.id,
            upload_url=slot.upload_url,
            key=slot.file.key,
            cdn_url=url,
            expires_at=slot.file.expires_at,
            headers=dict(slot.headers),
        )


class PartUrlObject(Answer):
    """Permission for the PUT of one part."""

    part_number: int
    upload_url: str


def part_urls(slot: MultipartSlot) -> list[PartUrlObject]:
    """Return permission for each part that was asked for."""
    return [PartUrlObject(part_number=part.number, upload_url=part.upload_url) for part in slot.part_urls]


class MultipartObject(Answer):
    """A multipart upload that has begun: PUT each part to its URL, all `partSize` bytes but the last."""

    model_config = links({"fileId": "fileId", "uploadId": "uploadId"}, "resumeMultipart", "completeMultipart", "abortMultipart", body=True)

    file_id: FileId
    upload_id: str
    key: FileKey
    part_size: Annotated[int, Field(description="bytes", examples=[5242880])]
    parts: list[PartUrlObject]
    expires_at: Timestamp

    @classmethod
    def of(cls, slot: MultipartSlot) -> Self:
        """Return a multipart upload with all its parts to send."""
        file = slot.file
        return cls(
            file_id=file.id,
            upload_id=file.upload_id,
            key=file.key,
            part_size=file.part_size_bytes,
            parts=part_urls(slot),
            expires_at=file.expires_at,
        )


class StoredPartObject(Answer):
    """A part that has arrived."""

    part_number: int
    size: Annotated[int, Field(description="bytes")]
    etag: str


class MultipartStateObject(Answer):
    """What has arrived of a multipart upload, and fresh URLs for the rest (or for the parts asked for)."""

    upload_id: str
    part_size: Annotated[int, Field(description="bytes", examples=[5242880])]
    uploaded: list[StoredPartObject]
    parts: list[PartUrlObject]
    expires_at: Timestamp

    @classmethod
    def of(cls, slot: MultipartSlot) -> Self:
        """Return how far a multipart upload has come."""
        return cls(
            upload_id=slot.file.upload_id,
            part_size=slot.file.part_size_bytes,
            uploaded=[StoredPartObject(part_number=part.number, size=part.size_bytes, etag=part.etag) for part in slot.arrived],
            parts=part_urls(slot),
            expires_at=slot.file.expires_at,
        )


class Aborted(Answer):
    """The upload has ended; its parts are gone and its quota is free."""

    aborted: Literal[True]


ABORTED = Aborted(aborted=True)
