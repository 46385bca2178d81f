"""Answers as they may come from anybody: read up to a bound, and of the form that the API gives them. Shared within uploadkit.client."""

from __future__ import annotations

import http.client
import io
import json
import re
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import urllib3

from uploadkit.client.errors import not_this_api

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

MOST_BYTES = 64 * 1024**2
"""Of an answer. That to an upload of 10,000 parts has some ten."""
# Of JSON: each takes 60 bytes and more of memory. 100 files with all the metadata that they may have are under a million.
_MOST_VALUES = 2_000_000
_PIECE_BYTES = 64 * 1024
_LONGEST_PAUSE_SECONDS = 366 * 24 * 3600.0
# Of a 64 MB answer in chunks as small as they come, with its head.
_MOST_WIRE_BYTES = 8 * MOST_BYTES
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
# They say where a request goes and where it ends, and that is for who sends it.
_NOT_THE_SERVERS = {"host", "transfer-encoding"}


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer that has been read."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    content: bytes = field(repr=False)

    def json(self) -> Any:
        """Return the body as JSON, or None where it is none, or has more values than any answer."""
        if sum(self.content.count(mark) for mark in (b",", b"[", b"{")) > _MOST_VALUES:
            return None
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


class TimelyResponse(http.client.HTTPResponse):
    """An answer that comes to its end: from its first byte on it has the connection's time-out altogether, and so many bytes.

    http.client gives each byte of a status line or header the whole time-out, and skips any number of interim answers and trailers.
    """

    def __init__(self, connection: socket.socket, *arguments: Any, **options: Any) -> None:
        super().__init__(connection, *arguments, **options)
        self.fp = io.BufferedReader(_Wire(connection, self.fp))


class _Wire(io.RawIOBase):
    """What comes in on a connection, as `beneath` (buffered, nothing read yet) gives it."""

    def __init__(self, connection: socket.socket, beneath: io.BufferedReader) -> None:
        self._connection, self._beneath = connection, beneath
        self._until: float | None = None
        self._left = _MOST_WIRE_BYTES

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        if self._until is not None:
            left = self._until - time.monotonic()
            if left <= 0:
                raise TimeoutError("the answer does not come to its end")
            self._connection.settimeout(left)
        count = self._beneath.raw.readinto(memoryview(buffer)[: max(self._left, 1)]) or 0
        self._left -= count
        if self._left < 0:
            raise http.client.HTTPException("the answer is too long")
        if self._until is None and (seconds := self._connection.gettimeout()) is not None:
            self._until = time.monotonic() + seconds
        return count

    def close(self) -> None:
        self._beneath.close()
        super().close()


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
    return isinstance(value, dict) and all(_is_header(name, one) for name, one in value.items())


def _is_header(name: str, value: Any) -> bool:
    is_sendable = _is_text(value) and value.isascii() and value.isprintable()
    return is_sendable and _HEADER_NAME.fullmatch(name) is not None and name.lower() not in _NOT_THE_SERVERS


def _is_list_of(**wanted: Callable[[Any], bool]) -> Callable[[Any], bool]:
    def is_one(value: Any) -> bool:
        return isinstance(value, dict) and all(name in value and fits(value[name]) for name, fits in wanted.items())

    return lambda value: isinstance(value, list) and all(map(is_one, value))


_FITS: Mapping[str, Callable[[Any], bool]] = {
    "id": _is_text,
    "key": _is_text,
    "url": _is_text,
    "token": _is_text,
    "endpoint": _is_text,
    "nextCursor": lambda value: value is None or _is_text(value),
    "fileName": _is_text,
    "fileSize": lambda value: type(value) is int,
    "contentType": _is_text,
    "status": _is_text,
    "environment": _is_text,
    "routeSlug": _is_text,
    "etag": lambda value: value is None or _is_text(value),
    "metadata": lambda value: value is None or isinstance(value, dict),
    "fileId": _is_text,
    "uploadId": _is_text,
    "uploadUrl": _is_address,
    "headers": _are_headers,
    "partSize": _is_count,
    "parts": _is_list_of(partNumber=_is_count, uploadUrl=_is_address),
    "uploaded": _is_list_of(partNumber=_is_count, size=_is_count, etag=_is_text),
    "items": _is_list_of(),
}
