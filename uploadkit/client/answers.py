"""Answers as they may come from anybody: read up to a bound, and of the form that the API gives them. Shared within uploadkit.client."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import urllib3

from uploadkit.client.errors import not_this_api

MOST_BYTES = 64 * 1024**2
"""Of an answer. That to an upload of 10,000 parts has some ten."""
_PIECE_BYTES = 64 * 1024
_LONGEST_PAUSE_SECONDS = 366 * 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer that has been read."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    content: bytes = field(repr=False)

    def json(self) -> Any:
        """Return the body as JSON, or None where it is none."""
        try:
            return json.loads(self.content)
        except (ValueError, RecursionError):
            return None

    def retry_after_seconds(self) -> float:
        """Return how long to wait as `Retry-After` says, in seconds or by a date; 0 where it says nothing that makes sense."""
        text = self.headers.get("Retry-After", "").strip()
        try:
            seconds = float(text) if text.isascii() and text.isdecimal() else parsedate_to_datetime(text).timestamp() - time.time()
        except (ValueError, TypeError, OverflowError):
            return 0.0
        return min(max(seconds, 0.0), _LONGEST_PAUSE_SECONDS)


def read(response: urllib3.BaseHTTPResponse, timeout_seconds: float) -> Answer:
    """Read an answer whose headers are there; what comes after them has `timeout_seconds` altogether.

    Raises UploadKitApiError for one that is larger than `MOST_BYTES`, and urllib3's exceptions.
    """
    until, content = time.monotonic() + timeout_seconds, bytearray()
    while piece := response.read1(_PIECE_BYTES):
        content += piece
        if len(content) > MOST_BYTES:
            response.close()
            raise not_this_api(response.status)
        if time.monotonic() > until:
            response.close()
            raise urllib3.exceptions.TimeoutError("the answer does not come to its end")
    response.release_conn()
    return Answer(response.status, response.headers, bytes(content))


def is_sound(answer: Mapping[str, Any]) -> bool:
    """Say whether those fields of an answer that the client works with are what they are called, as far as they are there."""
    return all(name not in answer or fits(answer[name]) for name, fits in _FITS.items())


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_count(value: Any) -> bool:
    return type(value) is int and value > 0


def _is_address(value: Any) -> bool:
    try:
        parts = urlsplit(value) if isinstance(value, str) and value.isprintable() else None
        return parts is not None and parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _are_headers(value: Any) -> bool:
    return isinstance(value, dict) and all(name.isprintable() and _is_text(one) and one.isprintable() for name, one in value.items())


def _is_list_of(**wanted: Callable[[Any], bool]) -> Callable[[Any], bool]:
    def is_one(value: Any) -> bool:
        return isinstance(value, dict) and all(name in value and fits(value[name]) for name, fits in wanted.items())

    return lambda value: isinstance(value, list) and all(map(is_one, value))


_FITS: Mapping[str, Callable[[Any], bool]] = {
    "fileId": _is_text,
    "uploadId": _is_text,
    "uploadUrl": _is_address,
    "headers": _are_headers,
    "partSize": _is_count,
    "parts": _is_list_of(partNumber=_is_count, uploadUrl=_is_address),
    "uploaded": _is_list_of(partNumber=_is_count, size=_is_count, etag=_is_text),
    "items": _is_list_of(),
}
