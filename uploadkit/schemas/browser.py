"""`/api/uploadkit`: what pages send without an API key, and what they are answered. Not in the OpenAPI document."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Literal, Self

from pydantic import AliasChoices, Field

from uploadkit.config import TierConfig
from uploadkit.core.values import WHOLE, AnyMediaType, FileName, Metadata, ShortText
from uploadkit.db.models import File, FileRoute
from uploadkit.files.admission import UploadRequest
from uploadkit.files.single_upload import UploadSlot
from uploadkit.schemas.base import Answer, Input
from uploadkit.schemas.files import FileObject
from uploadkit.schemas.sdk import SdkFile
from uploadkit.schemas.uploads import MetadataOrNone, UploadSlotObject


class BeginBody(Input):
    """Body of the actions `request-upload` and `multipart-init`."""

    file_name: FileName
    content_type: AnyMediaType
    content_length: Annotated[int, Field(ge=1, validation_alias=AliasChoices("contentLength", "fileSize")), WHOLE]
    metadata: MetadataOrNone = Field(default_factory=dict)
    idempotency_key: Annotated[str | None, Field(pattern=r"^[\x20-\x7e]{1,255}$")] = None

    def to_request(self, route_slug: str, vouched: Metadata) -> UploadRequest:
        """Return it in the core's words; `vouched` is the metadata of the upload token."""
        return UploadRequest(self.file_name, self.content_length, self.content_type, route_slug, vouched, self.metadata or {})


class SingleUploadBody(Input):
    """Body of the actions `upload-complete` and `upload-abort`: both ids, as whoever began the upload got them."""

    file_id: ShortText
    key: Annotated[str, Field(min_length=1, max_length=1024)]


class UploadRules(Answer):
    """What a browser may upload: the file route's rules, within the tier's and those of its upload token. A size of null is any."""

    max_file_size: int | None
    max_file_count: int
    allowed_types: list[str]
    verify_content: bool

    @classmethod
    def of(cls, route: FileRoute, of_tier: TierConfig, max_files: int | None) -> Self:
        """Return the rules of a file route; `max_files` are those of the upload token."""
        sizes = [size for size in (route.max_file_size_bytes, of_tier.max_file_size) if size is not None]
        return cls(
            max_file_size=min(sizes, default=None),
            max_file_count=min(route.max_file_count, max_files or route.max_file_count),
            allowed_types=route.allowed_types,
            verify_content=route.verify_content,
        )


def requested(slot: UploadSlot, url: str, without: Collection[str]) -> UploadSlotObject:
    """Return the answer of `request-upload`: permission for one PUT, `without` the headers that no page may set."""
    answer = UploadSlotObject.of(slot, url)
    answer.headers = {name: value for name, value in answer.headers.items() if name not in without}
    return answer


class Completed(Answer):
    """Answer of `upload-complete`."""

    ok: Literal[True]
    file: SdkFile
    url: str

    @classmethod
    def of(cls, row: File, url: str) -> Self:
        """Return a file that is complete, readable at `url`."""
        return cls(ok=True, file=SdkFile.of(row, url), url=url)


class MultipartCompleted(FileObject):
    """Answer of `multipart-complete`."""

    ok: Literal[True]
    file: SdkFile

    @classmethod
    def of(cls, row: File, url: str) -> Self:
        """Return a file that is complete, readable at `url`."""
        return cls(**dict(FileObject.of(row, url)), ok=True, file=SdkFile.of(row, url))
