"""`/upload-tokens`: permissions for browsers."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import ConfigDict, Field, JsonValue

from uploadkit.core.errors import ValidationFailed
from uploadkit.core.values import WHOLE, ByteCount, Environment, Metadata, Timestamp
from uploadkit.files.upload_tokens import DEFAULT_SECONDS, LONGEST_SECONDS, MOST_ROUTES, IssuedToken
from uploadkit.schemas.base import Answer, Input

# The one or the other, never both.
_ONE_OF_TWO: list[JsonValue] = [
    {"required": [given], "properties": {given: {"not": {"type": "null"}}, other: {"type": "null"}}}
    for given, other in (("routeSlug", "routeSlugs"), ("routeSlugs", "routeSlug"))
]


class UploadTokenPath(Input):
    """An upload token's id in a path."""

    upload_token_id: str


class UploadTokenBody(Input):
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
    max_bytes: Annotated[ByteCount | None, Field(description="of all files together; null: any number")] = None
    expires_in: Annotated[int, Field(ge=1, le=LONGEST_SECONDS, description="seconds"), WHOLE] = DEFAULT_SECONDS

    def to_slugs(self) -> list[str]:
        """Return the slugs of the file routes that are asked for. Raises ValidationFailed where that is given twice, or not at all."""
        if (self.route_slug is None) == (self.route_slugs is None):
            words = "is required, or routeSlugs" if self.route_slug is None else "and routeSlugs say the same thing: send one of them"
            raise ValidationFailed(f"routeSlug {words}", details={"routeSlug": [words]})
        return self.route_slugs or [str(self.route_slug)]


class UploadTokenObject(Answer):
    """A new upload token, with the only sight of `token` there will ever be. A page uploads to `endpoint`."""

    id: Annotated[str, Field(examples=["01a1fc45-c5e2-7d3f-9b6a-8f2e4c1d0a77"])]
    token: Annotated[str, Field(pattern=r"^ukt_[A-Za-z0-9_-]{32}$")]
    endpoint: Annotated[str, Field(examples=["https://uploads.example.com/api/uploadkit/t/ukt_..."])]
    route_slug: Annotated[str, Field(description="the first of routeSlugs", examples=["default"])]
    route_slugs: Annotated[list[str], Field(description="the file routes that it is for", examples=[["default"]])]
    environment: Environment
    max_files: Annotated[int, Field(examples=[1])]
    max_bytes: Annotated[int | None, Field(description="of all files together; null: any number", examples=[4194304])]
    expires_at: Annotated[Timestamp, Field(description="no upload can be begun after that; one that was begun can be finished")]

    @classmethod
    def of(cls, issued: IssuedToken, base_url: str) -> Self:
        """Return a new upload token of the appliance at `base_url`: the only answer that holds its plaintext."""
        slugs = [route.slug for route in issued.routes]
        return cls(
            id=issued.token.id,
            token=issued.plaintext,
            endpoint=f"{base_url}/api/uploadkit/t/{issued.plaintext}",
            route_slug=slugs[0],
            route_slugs=slugs,
            environment=issued.token.environment,
            max_files=issued.token.max_files,
            max_bytes=issued.token.max_bytes,
            expires_at=issued.token.expires_at,
        )
