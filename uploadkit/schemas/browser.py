"""JSON → what browsers send to `/api/uploadkit`, and upload tokens. The words of `schemas.py` hold here, too."""

from __future__ import annotations

from typing import Annotated

from pydantic import AliasChoices, ConfigDict, Field, JsonValue

from uploadkit.core.errors import ValidationFailed
from uploadkit.files.admission import UploadRequest
from uploadkit.files.upload_tokens import DEFAULT_SECONDS, LONGEST_SECONDS, MOST_ROUTES
from uploadkit.schemas.base import WHOLE, AnyMediaType, FileName, Metadata, MetadataOrNone, Schema, ShortText
from uploadkit.schemas.file_routes import Size

# The one or the other, never both.
_ONE_OF_TWO: list[JsonValue] = [
    {"required": [said], "properties": {said: {"not": {"type": "null"}}, other: {"type": "null"}}}
    for said, other in (("routeSlug", "routeSlugs"), ("routeSlugs", "routeSlug"))
]


class UploadTokenBody(Schema):
    """Body of `POST /upload-tokens`."""

    model_config = ConfigDict(json_schema_extra={"oneOf": _ONE_OF_TWO})

    route_slug: Annotated[
        Annotated[str, Field(min_length=1, max_length=100, examples=["default"])] | None, Field(description="this, or routeSlugs")
    ] = None
    route_slugs: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=100)]] | None,
        Field(min_length=1, max_length=MOST_ROUTES, description="several file routes; maxFiles and maxBytes count them together"),
    ] = None
    metadata: Annotated[Metadata, Field(description="what you vouch for: nothing that the browser says can change it")] = Field(
        default_factory=dict
    )
    max_files: Annotated[int | None, Field(ge=1, le=10_000, description="null: the file routes' maxFileCount, added up"), WHOLE] = None
    max_bytes: Annotated[Size | None, Field(description="of all files together; null: any number")] = None
    expires_in: Annotated[int, Field(ge=1, le=LONGEST_SECONDS, description="seconds"), WHOLE] = DEFAULT_SECONDS

    def to_slugs(self) -> list[str]:
        """Return the slugs of the file routes that are asked for. Raises ValidationFailed where that is said twice, or not at all."""
        if (self.route_slug is None) == (self.route_slugs is None):
            words = "is required, or routeSlugs" if self.route_slug is None else "and routeSlugs say the same thing: send one of them"
            raise ValidationFailed(f"routeSlug {words}", details={"routeSlug": [words]})
        return self.route_slugs or [str(self.route_slug)]


class UploadTokenPath(Schema):
    """An upload token's id in a path."""

    upload_token_id: str


class BeginBody(Schema):
    """Body of the actions `request-upload` and `multipart-init`."""

    file_name: FileName
    content_type: AnyMediaType
    content_length: Annotated[int, Field(ge=1, validation_alias=AliasChoices("contentLength", "fileSize")), WHOLE]
    metadata: MetadataOrNone = Field(default_factory=dict)
    idempotency_key: Annotated[str | None, Field(pattern=r"^[\x20-\x7e]{1,255}$")] = None

    def to_request(self, route_slug: str, vouched: Metadata) -> UploadRequest:
        """Return it in the core's words; `vouched` is the metadata of the upload token."""
        return UploadRequest(self.file_name, self.content_length, self.content_type, route_slug, vouched, self.metadata or {})


class SingleUploadBody(Schema):
    """Body of the actions `upload-complete` and `upload-abort`: both ids, as whoever began the upload got them."""

    file_id: ShortText
    key: Annotated[str, Field(min_length=1, max_length=1024)]
