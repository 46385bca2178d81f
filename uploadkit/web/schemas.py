"""JSON → request objects: the only place where camelCase comes in. What is refused here names the field."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from uploadkit.errors import ValidationFailed
from uploadkit.files import FileFilter
from uploadkit.uploads import UploadRequest

MAX_METADATA_DEPTH = 5
_WORD = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"
_MEDIA_TYPE = re.compile(rf"{_WORD}/{_WORD}(\s*;\s*{_WORD}=({_WORD}|\"[\x20-\x7e]*\"))*\s*")


def _file_name(value: str) -> str:
    if any(unicodedata.category(character) == "Cc" for character in value):
        raise ValueError("must not contain control characters")
    return value


def _media_type(value: str) -> str:
    if not _MEDIA_TYPE.fullmatch(value):
        raise ValueError('must be a media type such as "image/jpeg"; "application/octet-stream" where you do not know it')
    return value.strip()


def _shallow(value: dict[str, Any]) -> dict[str, Any]:
    level: list[Any] = [value]
    for _ in range(MAX_METADATA_DEPTH):
        level = [child for item in level for child in (item.values() if isinstance(item, dict) else item) if isinstance(child, dict | list)]
        if not level:
            return value
    raise ValueError(f"must not be nested deeper than {MAX_METADATA_DEPTH} levels")


Metadata = Annotated[dict[str, Any], AfterValidator(_shallow)]
ShortText = Annotated[str, Field(min_length=1, max_length=255)]


class Schema(BaseModel):
    """What all request bodies have in common: camelCase outside, no coercion between JSON types."""

    model_config = ConfigDict(alias_generator=to_camel, strict=True, hide_input_in_errors=True)


class UploadRequestBody(Schema):
    """Body of `POST /upload/request` and `POST /upload/multipart/init`."""

    file_name: Annotated[str, Field(min_length=1, max_length=255), AfterValidator(_file_name)]
    file_size: Annotated[int, Field(gt=0, description="bytes")]
    content_type: Annotated[str, Field(min_length=1, max_length=255), AfterValidator(_media_type)]
    route_slug: Annotated[str, Field(min_length=1, max_length=100)]
    metadata: Metadata = {}

    def to_request(self) -> UploadRequest:
        """Return it in the core's words."""
        return UploadRequest(self.file_name, self.file_size, self.content_type, self.route_slug, self.metadata)


class UploadCompleteBody(Schema):
    """Body of `POST /upload/complete`."""

    file_id: ShortText
    metadata: Metadata = {}


class MultipartBody(Schema):
    """Body of `POST /upload/multipart/abort`."""

    file_id: ShortText
    upload_id: Annotated[str, Field(min_length=1, max_length=2048)]


class MultipartPartsBody(MultipartBody):
    """Body of `POST /upload/multipart/parts`."""

    part_numbers: Annotated[list[Annotated[int, Field(ge=1, le=10_000)]], Field(max_length=10_000)] | None = None


class PartBody(Schema):
    """One part in the body of `POST /upload/multipart/complete`."""

    part_number: Annotated[int, Field(ge=1, le=10_000)]
    etag: Annotated[str, Field(min_length=1, max_length=255)]


class MultipartCompleteBody(MultipartBody):
    """Body of `POST /upload/multipart/complete`."""

    parts: Annotated[list[PartBody], Field(min_length=1, max_length=10_000)] | None = None
    metadata: Metadata = {}

    def to_parts(self) -> list[tuple[int, str]] | None:
        """Return number and ETag (without quotes) of each part given, or None."""
        return None if self.parts is None else [(part.part_number, part.etag.strip('"')) for part in self.parts]


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
    """How lists are paged (api.md section 5)."""

    limit: Annotated[int, Field(ge=1, le=100)] = 20
    cursor: Annotated[str, Field(max_length=1000)] | None = None


class FileListQuery(PageQuery):
    """Query of `GET /files`."""

    model_config = ConfigDict(alias_generator=to_camel)

    status: Literal["UPLOADING", "UPLOADED", "FAILED", "DELETED"] | None = None
    route_slug: str | None = None

    def to_filter(self) -> FileFilter:
        """Return it in the core's words."""
        return FileFilter(status=self.status, route_slug=self.route_slug)


_MESSAGES = {
    "missing": "is required",
    "string_type": "must be a string",
    "int_type": "must be an integer",
    "int_parsing": "must be an integer",
    "dict_type": "must be an object",
    "list_type": "must be an array",
}


def to_validation_failed(error: ValidationError) -> ValidationFailed:
    """Return pydantic's findings in our own error: each field by its name on the wire, each message with its limit."""
    details: dict[str, list[str]] = {}
    for finding in error.errors(include_url=False, include_input=False):
        name = ".".join(str(part) for part in finding["loc"]) or "body"
        details.setdefault(name, []).append(_message(finding))
    first = next(iter(details))
    more = f" (and {len(details) - 1} more)" if len(details) > 1 else ""
    return ValidationFailed(f"{first} {details[first][0]}{more}", details=details)


def _message(finding: Mapping[str, Any]) -> str:
    context = finding.get("ctx", {})
    match finding["type"]:
        case "string_too_short" | "string_too_long" as kind:
            bound = f"at least {context['min_length']}" if kind == "string_too_short" else f"at most {context['max_length']}"
            return f"must have {bound} character{'' if bound.endswith(' 1') else 's'}"
        case "greater_than":
            return f"must be greater than {context['gt']}"
        case "greater_than_equal":
            return f"must be at least {context['ge']}"
        case "less_than_equal":
            return f"must be at most {context['le']}"
        case "literal_error":
            return f"must be {context['expected']}"
        case "value_error":
            return str(finding["msg"]).removeprefix("Value error, ")
        case kind:
            return _MESSAGES.get(kind, str(finding["msg"]))
