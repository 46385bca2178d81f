"""What a setting may be: sizes, URLs, origins, networks, each with the words that say what is wrong. Knows no setting by name."""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from uploadkit.core import origins

_LABEL = re.compile(r"[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?")
_IP_ADDRESS = re.compile(r"[0-9.]+|[0-9a-f:]+")
_SIZE = re.compile(r"(\d+)\s*(B|KB|MB|GB|TB)?", re.IGNORECASE)
_UNIT_BYTES = {"": 1, "B": 1, "KB": 1024, "MB": 1024**2, "GB": 1024**3, "TB": 1024**4}


def parse_size(value: Any) -> Any:
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
        is_one = value == "*" or value == origins.as_sent(value)
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


Size = Annotated[int, BeforeValidator(parse_size), Field(ge=0)]
SizeLimit = Annotated[Annotated[int, Field(gt=0)] | None, BeforeValidator(parse_size), BeforeValidator(_empty_is_unset)]
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
