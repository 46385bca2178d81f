"""Reading a request: what is refused before the application sees it, and the JSON and the line in the log that say so."""

from __future__ import annotations

import re
import time
import uuid
from http import HTTPStatus
from typing import Any

import orjson
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.task import ErrorTask
from waitress.utilities import BadRequest, RequestEntityTooLarge, RequestHeaderFieldsTooLarge

from uploadkit.core.errors import HeadersTooLarge, InternalServerError, PayloadTooLarge, UploadKitError, ValidationFailed
from uploadkit.schemas.base import rendered
from uploadkit.schemas.errors import ErrorAnswer
from uploadkit.web import surfaces
from uploadkit.web.middleware import SAFE_HEADERS, access_log

MOST_HEADER_BYTES = 64 * 1024
MOST_HEADER_LINES = 250
MOST_FRAMING_BYTES = 8 * 1024
_TRANSFER_ENCODING = re.compile(rb"^transfer-encoding[ \t]*:([^\r\n]*)", re.IGNORECASE | re.MULTILINE)
_HOST_LINE = re.compile(rb"^host[ \t]*:", re.IGNORECASE | re.MULTILINE)
# A name, an IPv4 address, or an IPv6 address in brackets, and perhaps a port (RFC 9110, section 7.2). Two in one line are none.
_HOST = re.compile(r"(?:[A-Za-z0-9._~-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{0,5})?")


class CarefulParser(HTTPRequestParser):  # type: ignore[misc]
    """Reads requests; what makes the original stumble (a Content-Length of 5,000 digits, say) is a bad request, too.

    So is what servers read in different ways: behind a proxy, one of the two would see a request where the other sees a body.

    Nobody is known yet while a request comes in, so nobody's body may be longer than `most_body_bytes`, and not a byte more is kept.
    """

    error: Any = None

    def __init__(self, adj: Any, most_body_bytes: int) -> None:
        super().__init__(adj)
        self._most_body_bytes = most_body_bytes

    def most_body_bytes(self) -> int:
        """Return how long the body of this request may be, once its headers are here. A surface that takes longer ones says so here."""
        return self._most_body_bytes

    def received(self, data: bytes) -> int:
        """Take in bytes of a request; return how many belong to it. Nobody is asked for the body of one that is refused, or has none."""
        count: int = super().received(data)
        if self.body_rcv is not None and (not self.error or isinstance(self.error, RequestEntityTooLarge)):
            self._refuse_too_much(self.body_rcv)
        if self.error:
            self.completed = True
        if self.completed:  # having asked, waitress waits for what does not come
            self.expect_continue = False
        return count

    def _refuse_too_much(self, body: Any) -> None:
        most = self.most_body_bytes()
        if self.error or self.content_length > most or len(body) > most:
            self.error = RequestEntityTooLarge(f"The request body is over {most} bytes")
        elif self.chunked and max(len(body.control_line), len(body.trailer)) > MOST_FRAMING_BYTES:
            self.error = BadRequest("What stands around the chunks is too long")

    def parse_header(self, header_plus: bytes) -> None:
        """Read request line and headers. Raises ParsingError."""
        if header_plus.count(b"\r\n") > MOST_HEADER_LINES:  # each is read by itself, in the one thread that hears all clients
            self.error = RequestHeaderFieldsTooLarge(f"more than {MOST_HEADER_LINES} lines")
            return
        if re.search(rb"\r\n[ \t]", header_plus):
            raise ParsingError("A header goes on in the next line")
        try:
            super().parse_header(header_plus)
        except ValueError as error:
            raise ParsingError(str(error)) from None
        if self.version not in ("1.0", "1.1"):
            raise ParsingError("The version is neither HTTP/1.0 nor HTTP/1.1")
        if not re.match(r"/|\*$|https?://", self.request_uri, re.IGNORECASE):
            raise ParsingError("The target does not begin with a slash")
        self._require_one_host(header_plus)
        encodings = _TRANSFER_ENCODING.findall(header_plus)
        if encodings and (self.version == "1.0" or len(encodings) > 1 or "," in str(encodings) or "CONTENT_LENGTH" in self.headers):
            raise ParsingError("Transfer-Encoding twice, beside Content-Length, or in HTTP/1.0")

    def _require_one_host(self, header_plus: bytes) -> None:
        """A proxy may go by the first of two, and the appliance by the last. Raises ParsingError."""
        host = self.headers.get("HOST")
        if host is None and self.version == "1.1":
            raise ParsingError("The Host header is missing")
        if host is not None and (len(_HOST_LINE.findall(header_plus)) > 1 or not _HOST.fullmatch(host)):
            raise ParsingError("The Host header is there twice, or is no host name with a port or without")


class JsonErrorTask(ErrorTask):  # type: ignore[misc]
    """The answer to a request that did not get as far as the application."""

    def execute(self) -> None:
        """Write the answer and its line in the log, then have the connection closed: where the next request begins is unknown."""
        failure, request_id = _failure_of(self.request.error), uuid.uuid4().hex
        body = orjson.dumps(rendered(ErrorAnswer.of(failure)))
        self.status = f"{failure.status} {HTTPStatus(failure.status).phrase}"
        headers = {"Content-Type": "application/json", "X-Request-Id": request_id, "Cache-Control": "no-store"}
        self.response_headers.extend((headers | SAFE_HEADERS | surfaces.DOCUMENTED.cors("*")).items())
        self.set_close_on_finish()
        self.channel.refused = True
        self.content_length = len(body)
        self.write(body)
        access_log.info(
            "request",
            extra={
                "request_id": request_id,
                "client": self.channel.addr[0],
                "method": "-",
                "path": "-",
                "status": failure.status,
                "duration_ms": round((time.time() - self.start_time) * 1000, 1),
                "project": None,
                "key": None,
            },
        )


def _failure_of(error: Any) -> UploadKitError:
    match error.code:
        case 413:
            return PayloadTooLarge(error.body)
        case 431:
            return HeadersTooLarge(
                f"The request headers are over {MOST_HEADER_BYTES} bytes, or {MOST_HEADER_LINES} lines",
                "Send fewer or shorter ones; in a browser, delete the cookies of this host name",
            )
        case 500:
            return InternalServerError("Something went wrong inside the appliance", "The log tells more")
        case _:
            return ValidationFailed(
                f"The request is not one that HTTP/1.1 knows: {error.body}", "Check the client, or the proxy in between"
            )
