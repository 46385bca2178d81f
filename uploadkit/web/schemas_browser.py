"""JSON → what browsers send to `/api/uploadkit`, and upload tokens (api.md section 10). The words of `schemas.py` hold here, too."""

from __future__ import annotations

from typing import Annotated

from pydantic import AliasChoices, Field

from uploadkit.upload_states import UploadRequest
from uploadkit.upload_tokens import DEFAULT_SECONDS, LONGEST_SECONDS
from uploadkit.web.schemas import WHOLE, AnyMediaType, FileName, Metadata, Schema, ShortText
from uploadkit.web.schemas_admin import Size


class UploadTokenBody(Schema):
    """Body of `POST /upload-tokens`."""

    route_slug: Annotated[str, Field(min_length=1, max_length=100)]
    metadata: Annotated[Metadata, Field(description="what you vouch for: nothing that the browser says can change it")] = Field(
        default_factory=dict
    )
    max_files: Annotated[int | None, Field(ge=1, le=10_000, description="null: the file route's maxFileCount"), WHOLE] = None
    max_bytes: Annotated[Size | None, Field(description="of all files together; null: any number")] = None
    expires_in: Annotated[int, Field(ge=1, le=LONGEST_SECONDS, description="seconds"), WHOLE] = DEFAULT_SECONDS


class UploadTokenPath(Schema):
    """An upload token's id in a path."""

    upload_token_id: str


class BeginBody(Schema):
    """Body of the actions `request-upload` and `multipart-init`."""

    file_name: FileName
    content_type: AnyMediaType
    content_length: Annotated[int, Field(ge=1, validation_alias=AliasChoices("contentLength", "fileSize")), WHOLE]
    metadata: Metadata = Field(default_factory=dict)
    idempotency_key: Annotated[str | None, Field(pattern=r"^[\x20-\x7e]{1,255}$")] = None

    def to_request(self, route_slug: str, vouched: Metadata) -> UploadRequest:
        """Return it in the core's words; `vouched` is the metadata of the upload token."""
        return UploadRequest(self.file_name, self.content_length, self.content_type, route_slug, vouched, self.metadata)


class UploadCompleteBody(Schema):
    """Body of the action `upload-complete`."""

    file_id: ShortText
    key: Annotated[str, Field(min_length=1, max_length=1024)]
