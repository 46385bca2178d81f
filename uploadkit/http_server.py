"""The HTTP server, waitress: its socket, its settings, a clean end, and JSON for the requests that it refuses by itself.

What waitress can't read never reaches the application. Such a request gets the same shape of answer and one line in the log.
"""

from __future__ import annotations

import logging
import select
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from typing import Any

import orjson
import waitress
from flask import Flask
from waitress import wasyncore
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.task import ErrorTask

from uploadkit.config import ServerConfig
from uploadkit.errors import ConfigError, HeadersTooLarge, InternalServerError, PayloadTooLarge, UploadKitError, ValidationFailed
from uploadkit.web import SAFE_HEADERS, access_log, documented, doors

log = logging.getLogger(__name__)

_LONGEST_DRAIN_SECONDS = 30
_QUIET_SECONDS = 0.25
_MOST_HEADER_BYTES = 64 * 1024


class CarefulParser(HTTPRequestParser):  # type: ignore[misc]
    """Reads requests; what makes the original stumble (a Content-Length of 5,000 digits, say) is a bad request, too."""

    def parse_header(self, header_plus: bytes) -> None:
        """Read request line and headers. Raises ParsingError."""
        try:
            super().parse_header(header_plus)
        except ValueError as error:
            raise ParsingError(str(error)) from None


class JsonErrorTask(ErrorTask):  # type: ignore[misc]
    """The answer to a request that did not get as far as the application."""

    def execute(self) -> None:
        """Write the answer and its line in the log, then have the connection closed: where the next request begins is unknown."""
        failure, request_id = _failure_of(self.request.error), uuid.uuid4().hex
        body = orjson.dumps(documented.error(failure))
        self.status = f"{failure.status} {HTTPStatus(failure.status).phrase}"
        headers = {"Content-Type": "application/json", "X-Request-Id": request_id, "Cache-Control": "no-store"}
        self.response_headers.extend((headers | SAFE_HEADERS | doors.DOCUMENTED.cors("*")).items())
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


class Channel(HTTPChannel):  # type: ignore[misc]
    """One connection.

    A refused client may still be sending. Closing over what it sends would reset the connection, and the answer would be lost on it. So
    our side is closed first, and the rest is read and dropped until the client is done or `channel_timeout` is over.
    """

    parser_class = CarefulParser
    error_task_class = JsonErrorTask
    refused = False
    _lingers = False

    def handle_close(self) -> None:
        """Close at once, or for a refused client only our side; the second time always at once."""
        if self.refused:
            self.refused = False
            with suppress(OSError):
                self.socket.shutdown(socket.SHUT_WR)
                self.will_close, self._lingers = False, True
                return
        super().handle_close()

    def readable(self) -> bool:
        """Say whether there is anything to wait for from the client."""
        return self._lingers or bool(super().readable())

    def handle_read(self) -> None:
        """Take in what the client has sent."""
        if not self._lingers:
            super().handle_read()
            return
        try:
            self.recv(self.adj.recv_bytes)
        except OSError:
            super().handle_close()


def _failure_of(error: Any) -> UploadKitError:
    match error.code:
        case 413:
            return PayloadTooLarge("The request body is far over the largest one that this server takes")
        case 431:
            return HeadersTooLarge(f"The request headers are over {_MOST_HEADER_BYTES} bytes")
        case 500:
            return InternalServerError("Something went wrong inside the appliance", "The log tells more")
        case _:
            return ValidationFailed(
                f"The request is not one that HTTP/1.1 knows: {error.body}", "Check the client, or the proxy in between"
            )


@contextmanager
def bound_socket(server: ServerConfig) -> Iterator[socket.socket]:
    """Take the port before anything else starts, so that a taken one costs nothing. Raises ConfigError."""
    family = socket.AF_INET6 if ":" in server.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((server.host, server.port))
            # Listening at once, lest two that start together both think that the port is theirs. Early callers wait in the queue.
            listener.listen(1024)
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or "not an address of this machine"
            raise ConfigError(
                f"server.port: can't listen on {server.host} port {server.port}: {reason}; free it or set UPLOADKIT_SERVER__PORT"
            ) from None
        yield listener


@contextmanager
def running_server(app: Flask, server: ServerConfig, listener: socket.socket) -> Iterator[None]:
    """Serve `app` in a thread; at the end stop accepting, finish what is in flight, then close."""
    wsgi: Any = waitress.create_server(
        app,
        sockets=[listener],
        threads=server.threads,
        ident="UploadKit",
        # Small writes each wake the main loop; this many bytes at once gave 20 times the throughput (operations.md).
        send_bytes=18_000,
        connection_limit=1_000,
        # select() fails for good once a descriptor is over 1023, and the database and the store have some, too.
        asyncore_use_poll=True,
        channel_timeout=60,
        max_request_header_size=_MOST_HEADER_BYTES,
        # Flask answers 413 at max_body_bytes, with the key's standing; this is for what is far beyond, before it is all read.
        max_request_body_size=server.max_body_bytes + 16 * 1024**2,
        # X-Forwarded-* is judged by web/auth.py, which knows networks and not just one address.
        clear_untrusted_proxy_headers=False,
        expose_tracebacks=False,
    )
    wsgi.channel_class = Channel
    thread = threading.Thread(target=wsgi.run, name="http", daemon=True)
    thread.start()
    try:
        yield
    finally:
        wsgi.trigger.pull_trigger(lambda: _stop_accepting(wsgi))
        _wait_until_quiet(wsgi)
        wsgi.trigger.pull_trigger(lambda: wasyncore.close_all(wsgi._map))
        wsgi.task_dispatcher.shutdown(timeout=1)
        thread.join(timeout=5)


def _stop_accepting(wsgi: Any) -> None:
    """Take in the connections that the kernel has already accepted for us, then close the door."""
    while select.select([wsgi.socket], [], [], 0)[0]:
        wsgi.handle_accept()
    wasyncore.dispatcher.close(wsgi)


def _wait_until_quiet(wsgi: Any) -> None:
    """Wait until no request has been in flight for a moment: one that was sent just now may still be on its way to us."""
    until = time.monotonic() + _LONGEST_DRAIN_SECONDS
    last_busy = time.monotonic()
    while (now := time.monotonic()) < min(until, last_busy + _QUIET_SECONDS):
        dispatcher, channels = wsgi.task_dispatcher, list(wsgi.active_channels.values())
        if dispatcher.queue or dispatcher.active_count or any(c.requests or c.total_outbufs_len for c in channels):
            last_busy = now
        time.sleep(0.02)
