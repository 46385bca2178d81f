"""JSON → request objects: the only place where camelCase comes in. What is refused here names the field."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema
from pydantic.alias_generators import to_camel

from uploadkit.core import media_types
from uploadkit.core.errors import ValidationFailed
from uploadkit.files.links import LONGEST_LINK_SECONDS
from uploadkit.files.naming import nested_at_most
from uploadkit.files.service import FileFilter
from uploadkit.files.single_upload import UploadRequest

MAX_METADATA_DEPTH = 5
_MOST_TOLD = 10


def _file_name(value: str) -> str:
    if any(unicodedata.category(character) == "Cc" for character in value):
        raise ValueError("must not contain control characters")
    return value


def _media_type(value: str) -> str:
    if not media_types.DECLARED.fullmatch(value):
        raise ValueError('must be one media type such as "image/jpeg"; "application/octet-stream" where you do not know it')
    return value.strip(" ")


def _any_media_type(value: str) -> str:
    return _media_type(value) if value else ""


def _shallow(value: dict[str, Any]) -> dict[str, Any]:
    if nested_at_most(value, MAX_METADATA_DEPTH):
        return value
    raise ValueError(f"must not be nested deeper than {MAX_METADATA_DEPTH} levels")


def whole(value: Any) -> Any:
    """JSON knows no integers: 5.0 is the same number as 5."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _moment(value: Any) -> Any:
    """A point in time as text → milliseconds since the epoch; without an offset it is UTC."""
    try:
        moment = datetime.fromisoformat(value.upper())
    except ValueError:
        raise ValueError('must be a time such as "2026-04-08T12:00:00Z" (ISO 8601); write + as %2B') from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


WHOLE = BeforeValidator(whole)
Moment = Annotated[int, BeforeValidator(_moment), WithJsonSchema({"type": "string", "format": "date-time"})]
FileStatus = Literal["UPLOADING", "UPLOADED", "FAILED", "DELETED"]
Metadata = Annotated[dict[str, Any], AfterValidator(_shallow)]
# Clients in JavaScript write null where they have none.
MetadataOrNone = Annotated[Metadata | None, Field(description="null: none")]
ShortText = Annotated[str, Field(min_length=1, max_length=255)]


FileName = Annotated[
    str,
    Field(min_length=1, max_length=255, examples=["photo.jpg"], json_schema_extra={"pattern": r"^[^\u0000-\u001f\u007f-\u009f]*$"}),
    AfterValidator(_file_name),
]
MediaType = Annotated[
    str,
    Field(min_length=1, max_length=255, examples=["image/jpeg"], json_schema_extra={"pattern": f"^{media_types.DECLARED.pattern}$"}),
    AfterValidator(_media_type),
]
AnyMediaType = Annotated[
    str,
    Field(max_length=255, examples=["image/jpeg"], json_schema_extra={"pattern": f"^({media_types.DECLARED.pattern})?$"}),
    Field(description='"" where the browser does not know'),
    AfterValidator(_any_media_type),
]


class Schema(BaseModel):
    """What all request bodies have in common: camelCase outside, no coercion between JSON types."""

    model_config = ConfigDict(alias_generator=to_camel, strict=True, hide_input_in_errors=True)


class UploadRequestBody(Schema):
    """Body of `POST /upload/request` and `POST /upload/multipart/init`."""

    file_name: FileName
    file_size: Annotated[int, Field(ge=1, description="bytes", examples=[1048576]), WHOLE]
    content_type: MediaType
    route_slug: Annotated[str, Field(min_length=1, max_length=100)]
    metadata: MetadataOrNone = {}

    def to_request(self) -> UploadRequest:
        """Return it in the core's words."""
        return UploadRequest(self.file_name, self.file_size, self.content_type, self.route_slug, self.metadata or {})


class AnyTypeUploadRequestBody(UploadRequestBody):
    """The same at the cloud-SDK door, where the packages send "" for a type that the browser does not know."""

    content_type: AnyMediaType


class UploadCompleteBody(Schema):
    """Body of `POST /upload/complete`."""

    file_id: ShortText
    metadata: MetadataOrNone = {}


class MultipartBody(Schema):
    """Body of `POST /upload/multipart/abort`."""

    file_id: ShortText
    upload_id: Annotated[str, Field(min_length=1, max_length=2048)]


class MultipartPartsBody(MultipartBody):
    """Body of `POST /upload/multipart/parts`."""

    part_numbers: Annotated[list[Annotated[int, Field(ge=1, le=10_000), WHOLE]], Field(max_length=10_000)] | None = None


class PartBody(Schema):
    """One part in the body of `POST /upload/multipart/complete`."""

    part_number: Annotated[int, Field(ge=1, le=10_000), WHOLE]
    etag: Annotated[str, Field(min_length=1, max_length=255)]


class MultipartCompleteBody(MultipartBody):
    """Body of `POST /upload/multipart/complete`."""

    parts: Annotated[list[PartBody], Field(min_length=1, max_length=10_000)] | None = None
    metadata: MetadataOrNone = {}

    def to_parts(self) -> list[tuple[int, str]] | None:
        """Return number and ETag, as it was given, of each part, or None."""
        return None if self.parts is None else [(part.part_number, part.etag) for part in self.parts]


class MetadataBody(Schema):
    """Body of `PATCH /files/{key}`."""

    metadata: Metadata


class FilePath(BaseModel):
    """A file's key in a path; slashes may be plain or `%2F`."""

    key: str


class FileIdPath(Schema):
    """A file's id in a path."""

    file_id: str


class PageQuery(BaseModel):
    """How lists are paged."""

    limit: Annotated[int, Field(ge=1, le=100)] = 20
    cursor: Annotated[str, Field(max_length=1000)] | None = None


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


class DeleteFilesBody(Schema):
    """Body of `DELETE /files`."""

    keys: Annotated[list[Annotated[str, Field(min_length=1, max_length=1024)]], Field(min_length=1, max_length=100)]


class LinkBody(Schema):
    """Body of `POST /files/{key}/link`."""

    expires_in: Annotated[int, Field(ge=1, le=LONGEST_LINK_SECONDS, description="seconds"), WHOLE] = 3600
    download: Annotated[bool, Field(description="have browsers save the file rather than show it")] = False


class LogListQuery(PageQuery):
    """Query of `GET /logs`."""

    since: Annotated[Moment | None, Field(description="happened then or later")] = None
    status: Annotated[FileStatus | None, Field(description="the file's status after the event")] = None


class EventFeedQuery(BaseModel):
    """Query of `GET /events`."""

    after: Annotated[int, Field(ge=0, le=2**53 - 1, description="nextAfter of the call before; without it, from the oldest on")] = 0
    limit: Annotated[int, Field(ge=1, le=100)] = 20


class DeliveryListQuery(PageQuery):
    """Query of `GET /webhooks/deliveries`."""

    status: Literal["pending", "delivering", "delivered", "dead"] | None = None


class DeliveryPath(Schema):
    """A webhook delivery's id in a path."""

    delivery_id: str


class DestinationPath(Schema):
    """A webhook destination's id in a path."""

    destination_id: str


class WebhookTestBody(Schema):
    """Body of `POST /webhooks/test`."""

    route_slug: Annotated[str, Field(min_length=1, max_length=100, description="the file route whose webhookUrl gets it")] = "default"


_MESSAGES = {
    "missing": "is required",
    "string_type": "must be a string",
    "int_type": "must be an integer",
    "int_parsing": "must be an integer",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "extra_forbidden": "is not known",
    "list_type": "must be an array",
}


def to_validation_failed(error: ValidationError) -> ValidationFailed:
    """Return pydantic's findings in our own error: each field by its name on the wire, each message with its limit.

    Of very many, the first ones: nobody reads 20,000, and who sends no key should not be answered a megabyte.
    """
    details: dict[str, list[str]] = {}
    for finding in error.errors(include_url=False, include_input=False)[:_MOST_TOLD]:
        name = ".".join(str(part) for part in finding["loc"]) or "body"
        details.setdefault(name, []).append(message_of(finding))
    first = next(iter(details))
    others = len(details) - 1 + max(0, error.error_count() - _MOST_TOLD)
    more = f" (and {others} more)" if others else ""
    return ValidationFailed(f"{first} {details[first][0]}{more}", details=details)


def message_of(finding: Mapping[str, Any]) -> str:
    """Return what pydantic found wrong with a field, as what the field must be."""
    context = finding.get("ctx", {})
    match finding["type"]:
        case "string_too_short" | "string_too_long" as kind:
            bound = f"at least {context['min_length']}" if kind == "string_too_short" else f"at most {context['max_length']}"
            return f"must have {bound} character{'' if bound.endswith(' 1') else 's'}"
        case "too_short" | "too_long" as kind:
            bound = f"at least {context['min_length']}" if kind == "too_short" else f"at most {context['max_length']}"
            return f"must have {bound} item{'' if bound.endswith(' 1') else 's'}"
        case "greater_than":
            return f"must be greater than {context['gt']}"
        case "greater_than_equal":
            return f"must be at least {context['ge']}"
        case "less_than_equal":
            return f"must be at most {context['le']}"
        case "literal_error":
            return f"must be {context['expected']}"
        case "string_pattern_mismatch":
            return "is not of the form that this field has; the API documentation shows it"
        case "value_error":
            return str(finding["msg"]).removeprefix("Value error, ")
        case kind:
            return _MESSAGES.get(kind, str(finding["msg"]))
