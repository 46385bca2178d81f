"""Value types: what a setting or a field of JSON may be, each with the words that say what is wrong. Knows none of them by name.

First what both have, then settings, then JSON as it comes in, then as it goes out.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, PlainValidator, SecretStr, WithJsonSchema

from uploadkit.core import host_names, media_types
from uploadkit.core.clock import to_iso

_LABEL = re.compile(host_names.label())
_IP_ADDRESS = re.compile(r"[0-9.]+|[0-9a-f:]+")
_SIZE = re.compile(r"(\d+)\s*(B|KB|MB|GB|TB)?", re.IGNORECASE)
_UNIT_BYTES = {"": 1, "B": 1, "KB": 1024, "MB": 1024**2, "GB": 1024**3, "TB": 1024**4}


def _parse_size(value: Any) -> Any:
    """Turn `"4MB"` into bytes; KB, MB, GB and TB are powers of 1024. Anything else passes through.

    Raises ValueError for text that is no size.
    """
    if not isinstance(value, str):
        return value
    match = _SIZE.fullmatch(value.strip())
    if not match:
        raise ValueError('write a size as bytes or as "4MB" (KB, MB, GB and TB are powers of 1024)')
    return int(match[1]) * _UNIT_BYTES[(match[2] or "").upper()]


def _empty_is_unset(value: Any) -> Any:
    return None if value == "" else value


def _http_url(value: str) -> str:
    parts = urlsplit(value)
    try:
        port_is_possible = parts.port is None or parts.port > 0
    except ValueError:
        port_is_possible = False
    plain = parts.scheme in ("http", "https") and parts.hostname and not parts.query and not parts.fragment and "@" not in parts.netloc
    if not plain or not port_is_possible or not re.fullmatch(r"[!-~]+", value):
        raise ValueError('write a URL such as "https://uploads.example.com"')
    return value.rstrip("/").replace(value[: len(parts.scheme)], parts.scheme, 1)


def _site(value: str) -> str:
    if urlsplit(value).path:
        raise ValueError(
            "must have no path: UploadKit needs a host name or port of its own, "
            'such as "https://uploads.example.com" or "https://example.com:8443"'
        )
    return value


def _http_origin(value: str) -> str:
    if urlsplit(value).path.strip("/"):
        raise ValueError('write scheme, host and port only, such as "https://s3.example.com": a path breaks the signatures')
    return value


def _host_for_signing(value: str) -> str:
    host = urlsplit(value).hostname or ""
    if not _IP_ADDRESS.fullmatch(host) and not all(_LABEL.fullmatch(label) for label in host.split(".")):
        raise ValueError("a host name has letters, digits, hyphens and dots only; S3 clients refuse others (no underscore)")
    return value.replace(urlsplit(value).netloc, urlsplit(value).netloc.lower(), 1)


def _region(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9-]{1,63}", value):
        raise ValueError("a region has letters, digits and hyphens only")
    return value


def _cors_origin(value: str) -> str:
    try:
        is_one = value == "*" or value == host_names.origin_as_sent(value)
    except ValueError:
        is_one = False
    if not is_one:
        raise ValueError(
            'write origins as browsers send them, "https://app.example.com" or "capacitor://localhost", '
            'in small letters, without a path or a slash at the end, or "*"'
        )
    return value


def _no_boolean(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("must be a number")
    return value


def _not_empty(value: Any) -> Any:
    if value == "":
        raise ValueError("must not be empty; leave it out for the default")
    return value


def _network(value: str) -> str:
    return str(ipaddress.ip_network(value))


def _time_of_day(value: str) -> str:
    if not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", value):
        raise ValueError('must be a time of day such as "03:00"')
    return value


Size = Annotated[int, BeforeValidator(_parse_size), Field(ge=0)]
SizeLimit = Annotated[Annotated[int, Field(gt=0)] | None, BeforeValidator(_parse_size), BeforeValidator(_empty_is_unset)]
Limit = Annotated[Annotated[int, Field(gt=0)] | None, BeforeValidator(_empty_is_unset)]
OptionalUrl = Annotated[Annotated[str, AfterValidator(_http_url)] | None, BeforeValidator(_empty_is_unset)]
OptionalSite = Annotated[Annotated[str, AfterValidator(_http_url), AfterValidator(_site)] | None, BeforeValidator(_empty_is_unset)]
OptionalOrigin = Annotated[Annotated[str, AfterValidator(_http_url), AfterValidator(_http_origin)] | None, BeforeValidator(_empty_is_unset)]
OptionalText = Annotated[str | None, BeforeValidator(_empty_is_unset)]
OptionalSecret = Annotated[SecretStr | None, BeforeValidator(_empty_is_unset)]
Text = Annotated[str, BeforeValidator(_not_empty)]
Cidr = Annotated[str, AfterValidator(_network)]
Endpoint = Annotated[
    Annotated[str, AfterValidator(_http_url), AfterValidator(_http_origin), AfterValidator(_host_for_signing)] | None,
    BeforeValidator(_empty_is_unset),
]
Region = Annotated[Annotated[str, AfterValidator(_region)] | None, BeforeValidator(_empty_is_unset)]
CorsOrigins = Annotated[tuple[Annotated[str, AfterValidator(_cors_origin)], ...], Field(min_length=1)]
Port = Annotated[int, BeforeValidator(_no_boolean), Field(ge=0, le=65535)]
FilePath = Annotated[Path, BeforeValidator(_not_empty)]
TimeOfDay = Annotated[Annotated[str, AfterValidator(_time_of_day)] | None, BeforeValidator(_empty_is_unset)]
OptionalPath = Annotated[Path | None, BeforeValidator(_empty_is_unset)]


@lru_cache(maxsize=256)
def is_loopback(host: str) -> bool:
    """Say whether a host name or address (IPv6 with or without brackets) means this very machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


MAX_METADATA_DEPTH = 5
MOST_EXACT = 2**53 - 1
"""What every reader of JSON can hold exactly."""
UNLIMITED = "unlimited"
"""What a project's own limit says that there is none."""

_SIZE_TEXT = re.compile(r"[1-9][0-9]{0,5} ?[KMGkmg]?[Bb]|[1-9][0-9]{0,3} ?[Tt][Bb]")
_NAME = r"^[^\S\u0000-\u001f\u007f-\u009f]*[^\s\u0000-\u001f\u007f-\u009f][^\u0000-\u001f\u007f-\u009f]*$"
_SLUG = re.compile(r"[a-zA-Z][a-zA-Z0-9_-]{0,99}")


def nested_at_most(value: dict[str, Any], levels: int) -> bool:
    """Say whether objects and arrays in `value`, itself included, lie at most `levels` deep."""
    level: list[Any] = [value]
    for _ in range(levels):
        level = [child for item in level for child in (item.values() if isinstance(item, dict) else item) if isinstance(child, dict | list)]
        if not level:
            return True
    return False


def _whole(value: Any) -> Any:
    """JSON knows no integers: 5.0 is the same number as 5."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _count(value: Any) -> int:
    number = _whole(value)
    if type(number) is not int or not 1 <= number <= MOST_EXACT:
        raise ValueError(f"must be an integer from 1 to {MOST_EXACT}")
    return number


def _size(value: Any) -> int:
    if isinstance(value, str) and _SIZE_TEXT.fullmatch(value):
        return int(_parse_size(value))
    number = _whole(value)
    if type(number) is not int or not 1 <= number <= MOST_EXACT:
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


def _moment(value: Any) -> Any:
    """A point in time as text → milliseconds since the epoch; without an offset it is UTC."""
    try:
        moment = datetime.fromisoformat(value.upper())
    except ValueError:
        raise ValueError('must be a time such as "2026-04-08T12:00:00Z" (ISO 8601); write + as %2B') from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


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


def _allowed_type(value: str) -> str:
    if not media_types.RANGE.fullmatch(value):
        raise ValueError('must be a type such as "image/png", "image/*" or "*/*", without parameters')
    return value.lower()


def _shallow(value: dict[str, Any]) -> dict[str, Any]:
    if nested_at_most(value, MAX_METADATA_DEPTH):
        return value
    raise ValueError(f"must not be nested deeper than {MAX_METADATA_DEPTH} levels")


def _name(value: str) -> str:
    if not re.fullmatch(_NAME, value):
        raise ValueError("must have a visible character, and no control characters")
    return value


def _slug(value: str) -> str:
    if not _SLUG.fullmatch(value):
        raise ValueError("must begin with a letter and have up to 100 letters, digits, _ and -")
    return value


def _origin(value: str) -> str:
    try:
        return host_names.origin_as_sent(value)
    except ValueError:
        raise ValueError(
            'must be an origin such as "https://app.example.com" or "capacitor://localhost", without a path or a slash at the end'
        ) from None


_SIZE_SCHEMA: list[dict[str, Any]] = [
    {"type": "integer", "minimum": 1, "maximum": MOST_EXACT},
    {"type": "string", "pattern": f"^({_SIZE_TEXT.pattern})$", "description": "KB, MB, GB and TB are powers of 1024"},
]
_COUNT_SCHEMA: list[dict[str, Any]] = [{"type": "integer", "minimum": 1, "maximum": MOST_EXACT}]
_OVERRIDE_SCHEMA: list[dict[str, Any]] = [{"const": UNLIMITED}, {"type": "null", "description": "the tier's own limit again"}]

WHOLE = BeforeValidator(_whole)
Moment = Annotated[int, BeforeValidator(_moment), WithJsonSchema({"type": "string", "format": "date-time"})]
ByteCount = Annotated[int, PlainValidator(_size), WithJsonSchema({"anyOf": _SIZE_SCHEMA, "examples": ["4MB"]})]
CountOverride = Annotated[
    int | str | None, PlainValidator(_override(_count)), WithJsonSchema({"anyOf": _COUNT_SCHEMA + _OVERRIDE_SCHEMA, "examples": [600]})
]
SizeOverride = Annotated[
    int | str | None, PlainValidator(_override(_size)), WithJsonSchema({"anyOf": _SIZE_SCHEMA + _OVERRIDE_SCHEMA, "examples": ["1TB"]})
]
Days = Annotated[int, Field(ge=1, le=36_500), WHOLE]
ShortText = Annotated[str, Field(min_length=1, max_length=255)]
Name = Annotated[str, Field(min_length=1, max_length=100, json_schema_extra={"pattern": _NAME}), AfterValidator(_name)]
Slug = Annotated[str, Field(json_schema_extra={"pattern": f"^{_SLUG.pattern}$"}, examples=["avatars"]), AfterValidator(_slug)]
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
AllowedType = Annotated[
    str,
    Field(max_length=255, json_schema_extra={"pattern": f"^({media_types.RANGE.pattern})$"}, examples=["image/*"]),
    AfterValidator(_allowed_type),
]
Origin = Annotated[
    str,
    Field(
        max_length=300,
        json_schema_extra={
            "pattern": rf"^{host_names.SCHEME}://{host_names.HOST}{host_names.PORT}$"
        },  # no pattern knows what an IPv6 address is
        examples=["https://app.example.com"],
    ),
    AfterValidator(_origin),
]
Metadata = Annotated[dict[str, Any], AfterValidator(_shallow)]

Timestamp = Annotated[
    int,
    PlainSerializer(to_iso, return_type=str),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$",
            "description": "UTC",
            "examples": ["2026-04-08T12:00:00.000Z"],
        }
    ),
]
"""Milliseconds since the epoch here, text on the wire."""
Environment = Literal["live", "test"]
FileId = Annotated[str, Field(examples=["01a1fc46-1966-760a-8f86-722fcc992bb4"])]
FileKey = Annotated[str, Field(examples=["01a1fc45-c5dd-745a-8b86-f90652c4d68e/default/01a1fc46-1966-760a-8f86-722fcc992bb4/photo.jpg"])]
ProjectId = Annotated[str, Field(examples=["01a1fc45-c5dd-745a-8b86-f90652c4d68e"])]
KeptMetadata = Annotated[
    dict[str, Any], Field(description="what the client attached; at most 8 KiB as JSON", examples=[{"album": "summer"}])
]
ClientMetadata = Annotated[
    dict[str, Any], Field(description="what a browser without an API key said; nobody vouches for it", examples=[{}])
]
