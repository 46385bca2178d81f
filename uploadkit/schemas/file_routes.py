"""JSON → projects, API keys and file routes. The words of `schemas.py` hold here, too."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, PlainValidator, WithJsonSchema

from uploadkit.auth.callers import Access, Environment
from uploadkit.config import parse_size
from uploadkit.core import media_types, origins
from uploadkit.net import url_policy
from uploadkit.projects.service import UNLIMITED
from uploadkit.schemas.base import PageQuery, Schema, whole

MOST = 2**53 - 1  # what every JSON reader can hold exactly
_SIZE_TEXT = re.compile(r"[1-9][0-9]{0,5} ?[KMGkmg]?[Bb]|[1-9][0-9]{0,3} ?[Tt][Bb]")
_NAME = r"^[^\S\u0000-\u001f\u007f-\u009f]*[^\s\u0000-\u001f\u007f-\u009f][^\u0000-\u001f\u007f-\u009f]*$"
_SLUG = re.compile(r"[a-zA-Z][a-zA-Z0-9_-]{0,99}")
_SIZE_SCHEMA: list[dict[str, Any]] = [
    {"type": "integer", "minimum": 1, "maximum": MOST},
    {"type": "string", "pattern": f"^({_SIZE_TEXT.pattern})$", "description": "KB, MB, GB and TB are powers of 1024"},
]
_COUNT_SCHEMA: list[dict[str, Any]] = [{"type": "integer", "minimum": 1, "maximum": MOST}]
_OVERRIDE_SCHEMA: list[dict[str, Any]] = [{"const": UNLIMITED}, {"type": "null", "description": "the tier's own limit again"}]


def _name(value: str) -> str:
    if not re.fullmatch(_NAME, value):
        raise ValueError("must have a visible character, and no control characters")
    return value


def _slug(value: str) -> str:
    if not _SLUG.fullmatch(value):
        raise ValueError("must begin with a letter and have up to 100 letters, digits, _ and -")
    return value


def _count(value: Any) -> int:
    number = whole(value)
    if type(number) is not int or not 1 <= number <= MOST:
        raise ValueError(f"must be an integer from 1 to {MOST}")
    return number


def _size(value: Any) -> int:
    if isinstance(value, str) and _SIZE_TEXT.fullmatch(value):
        return int(parse_size(value))
    number = whole(value)
    if type(number) is not int or not 1 <= number <= MOST:
        raise ValueError('must be a number of bytes, or text such as "4MB" (KB, MB, GB and TB are powers of 1024)')
    return number


def _override(parse: Callable[[Any], int]) -> Callable[[Any], int | str | None]:
    def parsed(value: Any) -> int | str | None:
        if value is None or value == UNLIMITED:
            return UNLIMITED if value else None
        try:
            return parse(value)
        except ValueError as error:
            raise ValueError(f'{error}; "{UNLIMITED}", or null for the tier\'s own') from None

    return parsed


def _allowed_type(value: str) -> str:
    if not media_types.RANGE.fullmatch(value):
        raise ValueError('must be a type such as "image/png", "image/*" or "*/*", without parameters')
    return value.lower()


def _webhook_url(value: str) -> str:
    # Which addresses may be called, the configuration says: the service asks it.
    try:
        url_policy.parse(value)
    except url_policy.Refused as refusal:
        raise ValueError(str(refusal)) from None
    return value


def _origin(value: str) -> str:
    try:
        return origins.as_sent(value)
    except ValueError:
        raise ValueError(
            'must be an origin such as "https://app.example.com" or "capacitor://localhost", without a path or a slash at the end'
        ) from None


def _without_defaults(schema: dict[str, Any]) -> None:
    """In a PATCH, what is left out stays as it is: the document must not name a default for it."""
    for field in schema["properties"].values():
        field.pop("default", None)


def _absent(kind: type) -> Any:
    """The default of a field that may be left out but not be null; what it is set to is never looked at."""
    return Field(default_factory=kind)


# Without IPv6, which no pattern tells from what only looks like it.
_ORIGIN_PATTERN = rf"^{origins.SCHEME}://{origins.HOST}{origins.PORT}$"
_WEBHOOK_PATTERN = rf"^https?://{origins.HOST}{origins.PORT}([/?][!-\x22$-~]*)?$"
Name = Annotated[str, Field(min_length=1, max_length=100, json_schema_extra={"pattern": _NAME}), AfterValidator(_name)]
Tier = Annotated[str, Field(min_length=1, max_length=100, description="free, pro, team, enterprise, or one of your own", examples=["pro"])]
Slug = Annotated[str, Field(json_schema_extra={"pattern": f"^{_SLUG.pattern}$"}, examples=["avatars"]), AfterValidator(_slug)]
Size = Annotated[int, PlainValidator(_size), WithJsonSchema({"anyOf": _SIZE_SCHEMA, "examples": ["4MB"]})]
CountOverride = Annotated[
    int | str | None, PlainValidator(_override(_count)), WithJsonSchema({"anyOf": _COUNT_SCHEMA + _OVERRIDE_SCHEMA, "examples": [600]})
]
SizeOverride = Annotated[
    int | str | None, PlainValidator(_override(_size)), WithJsonSchema({"anyOf": _SIZE_SCHEMA + _OVERRIDE_SCHEMA, "examples": ["1TB"]})
]
AllowedType = Annotated[
    str,
    Field(max_length=255, json_schema_extra={"pattern": f"^({media_types.RANGE.pattern})$"}, examples=["image/*"]),
    AfterValidator(_allowed_type),
]
WebhookUrl = Annotated[
    str,
    Field(max_length=2000, json_schema_extra={"pattern": _WEBHOOK_PATTERN}),
    Field(examples=["https://example.com/hooks/upload"], description="where events go"),
    AfterValidator(_webhook_url),
]
Origin = Annotated[
    str,
    Field(max_length=300, json_schema_extra={"pattern": _ORIGIN_PATTERN}, examples=["https://app.example.com"]),
    AfterValidator(_origin),
]
Days = Annotated[int, Field(ge=1, le=36_500), BeforeValidator(whole)]
WebhookEvent = Literal["onUploadComplete", "file.deleted", "file.failed"]


class ProjectPath(Schema):
    """A project's id in a path."""

    project_id: str


class KeyPath(Schema):
    """An API key's id in a path."""

    key_id: str


class FileRoutePath(Schema):
    """A file route's id in a path."""

    file_route_id: str


class ProjectBody(Schema):
    """Body of `POST /projects`."""

    name: Annotated[Name, Field(examples=["Holiday photos"])]
    tier: Annotated[Tier | None, Field(description="the appliance's default tier when left out")] = None


class LimitOverrides(Schema):
    """A project's own limits. A limit that is left out stays as it is; null: the tier's own again; "unlimited": none."""

    model_config = ConfigDict(extra="forbid", json_schema_extra=_without_defaults)

    requests_per_minute: CountOverride = None
    max_keys: CountOverride = None
    max_file_size: SizeOverride = None
    max_storage: SizeOverride = None
    max_uploads_per_month: CountOverride = None


class ProjectChangesBody(Schema):
    """Body of `PATCH /projects/{projectId}`: what is left out stays as it is."""

    model_config = ConfigDict(json_schema_extra=_without_defaults)

    name: Annotated[Name, Field(examples=["Holiday photos"])] = _absent(str)
    tier: Tier = _absent(str)
    limits: Annotated[LimitOverrides, Field(examples=[{"maxStorage": "1TB", "maxKeys": None}])] = _absent(LimitOverrides)
    retention_days: Annotated[Days | None, Field(description="live files are deleted when they are this old; null: never")] = None

    def to_columns(self) -> dict[str, Any]:
        """Return the columns to change."""
        changes = {name: getattr(self, name) for name in self.model_fields_set - {"limits"}}
        if "limits" in self.model_fields_set:
            changes["limit_overrides"] = {name: getattr(self.limits, name) for name in self.limits.model_fields_set}
        return changes


class KeyBody(Schema):
    """Body of `POST /projects/{projectId}/keys`."""

    name: Annotated[Name, Field(examples=["Production server"])]
    environment: Environment = "live"
    access: Access = "project"


class KeyListQuery(PageQuery):
    """Query of `GET /projects/{projectId}/keys`."""

    revoked: Annotated[bool, Field(description="the revoked keys instead of the active ones")] = False


class FileRouteBody(Schema):
    """Body of `POST /projects/{projectId}/file-routes`."""

    slug: Slug
    max_file_size: Annotated[Size | None, Field(description="of one file; null: as large as the tier allows")] = None
    max_file_count: Annotated[int, Field(ge=1, le=1000, description="files that a browser may select at once"), BeforeValidator(whole)] = 1
    allowed_types: Annotated[list[AllowedType], Field(min_length=1, max_length=100)] = Field(["*/*"])
    visibility: Literal["public", "private"] = "public"
    webhook_url: WebhookUrl | None = None
    webhook_events: Annotated[list[WebhookEvent], Field(max_length=3)] = Field(["onUploadComplete"])
    verify_content: Annotated[
        bool, Field(description="refuse a file whose first bytes are plainly of another type than the declared one")
    ] = True
    anonymous_uploads: Annotated[bool, Field(description="let pages of allowedOrigins upload without key and token")] = False
    allowed_origins: Annotated[list[Origin], Field(max_length=100)] = Field([])

    def to_columns(self) -> dict[str, Any]:
        """Return the columns that are given."""
        columns = {name: getattr(self, name) for name in self.model_fields_set}
        if "max_file_size" in columns:
            columns["max_file_size_bytes"] = columns.pop("max_file_size")
        return columns


class FileRouteChangesBody(FileRouteBody):
    """Body of `PATCH /file-routes/{fileRouteId}`: what is left out stays as it is."""

    model_config = ConfigDict(json_schema_extra=_without_defaults)

    slug: Slug = _absent(str)
