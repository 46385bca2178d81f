"""The HTTP server, waitress: its socket, its settings, a clean end, and JSON for the requests that it refuses by itself.

What waitress can't read never reaches the application. Such a request gets the same shape of answer and one line in the log.
"""

from __future__ import annotations

import errno
import heapq
import logging
import re
import resource
import select
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from http import HTTPStatus
from typing import Any

import orjson
import waitress
from flask import Flask
from waitress import wasyncore
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.task import ErrorTask
from waitress.utilities import BadRequest, RequestEntityTooLarge, RequestHeaderFieldsTooLarge

from uploadkit.config import ServerConfig
from uploadkit.core.errors import ConfigError, HeadersTooLarge, InternalServerError, PayloadTooLarge, UploadKitError, ValidationFailed
from uploadkit.schemas import uploads as documented
from uploadkit.web import surfaces
from uploadkit.web.middleware import SAFE_HEADERS, access_log

log = logging.getLogger(__name__)

_LONGEST_DRAIN_SECONDS = 30
_QUIET_SECONDS = 0.25
_MOST_HEADER_BYTES = 64 * 1024
_MOST_HEADER_LINES = 250
_MOST_FRAMING_BYTES = 8 * 1024
_MOST_BUFFERED_BYTES = 64 * 1024
# All bodies that are arriving take as much together as so many of the longest ones.
_MOST_BODIES = 128
_MOST_CONNECTIONS = 1_000
_SPARE_CONNECTIONS = 20
_MOST_LOGGED_CHARACTERS = 1024
_MOST_ACCEPTED_AT_ONCE = 16  # fewer than are to spare
_LONGEST_REQUEST_SECONDS = 60
_LONGEST_ANSWER_SECONDS = 300
_CLEANUP_SECONDS = 10
_MOST_DESCRIPTORS = 65_536
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
        """Return how long the body of this request may be, once its headers are here. A door that takes longer ones says so here."""
        return self._most_body_bytes

    def received(self, data: bytes) -> int:
        """Take in bytes of a request; return how many belong to it. The body of one that is refused already is not asked for."""
        count: int = super().received(data)
        if self.body_rcv is not None and (not self.error or isinstance(self.error, RequestEntityTooLarge)):
            self._refuse_too_much(self.body_rcv)
        if self.error:
            self.completed, self.expect_continue = True, False
        return count

    def _refuse_too_much(self, body: Any) -> None:
        most = self.most_body_bytes()
        if self.error or self.content_length > most or len(body) > most:
            self.error = RequestEntityTooLarge(f"The request body is over {most} bytes")
        elif self.chunked and max(len(body.control_line), len(body.trailer)) > _MOST_FRAMING_BYTES:
            self.error = BadRequest("What stands around the chunks is too long")

    def parse_header(self, header_plus: bytes) -> None:
        """Read request line and headers. Raises ParsingError."""
        if header_plus.count(b"\r\n") > _MOST_HEADER_LINES:  # each is read by itself, in the one thread that hears all clients
            self.error = RequestHeaderFieldsTooLarge(f"more than {_MOST_HEADER_LINES} lines")
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
        body = orjson.dumps(documented.error(failure))
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


class _AsShown(logging.LoggerAdapter[logging.Logger]):
    """What waitress says of a connection names the path of its request, with the upload token, and as long as somebody likes it."""

    def process(self, msg: Any, kwargs: Any) -> tuple[Any, Any]:
        """Return what is to be logged instead of `msg`."""
        shown = surfaces.shown(str(msg))
        return shown if len(shown) <= _MOST_LOGGED_CHARACTERS else f"{shown[:_MOST_LOGGED_CHARACTERS]}...", kwargs


class Arriving:
    """What is here of bodies whose rest is not, of all connections together, each counted as it comes.

    Where they take more than `most_bytes` together, those go that have been arriving the longest, until an eighth is free again: looking
    at all connections for each packet of each of them would keep the server from everything else.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes, self._total = most_bytes, 0
        self._sizes: dict[Channel, int] = {}

    def count(self, channel: Channel) -> None:
        """Note how much there is of a connection's body now, and make room where that is too much."""
        size = channel.arriving_bytes
        self._total += size - self._sizes.get(channel, 0)
        if size:
            self._sizes[channel] = size
        else:
            self._sizes.pop(channel, None)
        if self._total > self._most_bytes:
            for oldest in sorted(self._sizes, key=lambda one: one.waiting_since):
                oldest.drop()
                if self._total <= self._most_bytes * 7 // 8:
                    break

    def forget(self, channel: Channel) -> None:
        """Note that a connection is closed, or will be."""
        self._total -= self._sizes.pop(channel, 0)


class Channel(HTTPChannel):  # type: ignore[misc]
    """One connection.

    Clients that are slow, or mean to be, take nothing but a connection, and that not for long: a request has to be here whole within
    `_LONGEST_REQUEST_SECONDS`, and when connections run short, the one goes that has kept us waiting the longest.

    Nor do those that do not read. waitress makes the answers to requests that came together one after the other, and has the thread wait
    once 16 MiB are unread, for as long as the client likes. Here the next request is held back until the last answer is nearly gone.

    A refused client may still be sending. Closing over what it sends would reset the connection, and the answer would be lost on it. So
    our side is closed first, and the rest is read and dropped until the client is done or `channel_timeout` is over.
    """

    error_task_class = JsonErrorTask
    logger = _AsShown(logging.getLogger("waitress"), {})
    refused = False
    _lingers = False
    _receiving_since: float | None = None
    _unread_since: float | None = None
    _is_held_back = False

    def __init__(self, server: Any, *arguments: Any, most_body_bytes: int, arriving: Arriving, **more: Any) -> None:
        super().__init__(server, *arguments, **more)
        self.parser_class = partial(CarefulParser, most_body_bytes=most_body_bytes)
        self._arriving = arriving

    @property
    def waits(self) -> bool:
        """Whether it is the client's turn, to send or to read."""
        return (not self.requests or self._is_held_back) and not self.will_close

    @property
    def waiting_since(self) -> float:
        """Since when (seconds) an answer or a request has been on its way, or nothing has; bytes that trickle count for nothing."""
        return self._unread_since or self._receiving_since or float(self.last_activity)

    def is_overdue(self, now: float) -> bool:
        """Say whether the client has had time enough to send its request, or to read its answer."""
        if not self.waits:
            return False
        if self._unread_since:
            return self._unread_since < now - _LONGEST_ANSWER_SECONDS or self.last_activity < now - _LONGEST_REQUEST_SECONDS
        return bool(self._receiving_since and self._receiving_since < now - _LONGEST_REQUEST_SECONDS)

    def drop(self) -> None:
        """Close the connection soon, also where the client takes in nothing: waitress closes a socket when it can be written to."""
        self.will_close = True
        self._arriving.forget(self)
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)

    def begin(self, add_task: Callable[[Channel], None]) -> None:
        """Have the next request answered by `add_task`, once the client has read what it was answered before."""
        with self.outbuf_lock:
            if self.total_outbufs_len >= self.adj.send_bytes:
                self._is_held_back = True
                return
        add_task(self)

    def service(self) -> None:
        """Answer one request."""
        super().service()
        with self.outbuf_lock:
            if self.total_outbufs_len and self._unread_since is None:
                self._unread_since = time.time()

    def handle_write(self) -> None:
        """Send what the client takes in, and go on with what was held back."""
        super().handle_write()
        with self.outbuf_lock:
            is_next = self._is_held_back and self.connected and self.total_outbufs_len < self.adj.send_bytes
            if is_next:
                self._is_held_back = False
            if is_next or not self.total_outbufs_len:
                self._unread_since = None
                if self._receiving_since is not None:
                    self._receiving_since = time.time()
        if is_next:
            self.server.task_dispatcher.add_task(self)

    def received(self, data: bytes) -> bool:
        """Take in what the client has sent; return whether there was a use for it."""
        used = bool(super().received(data))
        if self.request is None:
            self._receiving_since = None
        elif self._receiving_since is None:
            self._receiving_since = time.time()
        self._arriving.count(self)
        return used

    @property
    def arriving_bytes(self) -> int:
        """How much of a body is here whose rest is not."""
        body = None if self.request is None or self.will_close else self.request.body_rcv
        return 0 if body is None else len(body)

    def handle_close(self) -> None:
        """Close at once, or for a refused client only our side; the second time always at once."""
        if self.refused:
            self.refused = False
            with suppress(OSError):
                self.socket.shutdown(socket.SHUT_WR)
                self.will_close, self._lingers = False, True
                return
        for request in (self.request, *(self.requests if self._is_held_back else ())):
            if request is not None:
                request.close()  # its body's temporary file
        self._arriving.forget(self)
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
            return PayloadTooLarge(error.body)
        case 431:
            return HeadersTooLarge(
                f"The request headers are over {_MOST_HEADER_BYTES} bytes, or {_MOST_HEADER_LINES} lines",
                "Send fewer or shorter ones; in a browser, delete the cookies of this host name",
            )
        case 500:
            return InternalServerError("Something went wrong inside the appliance", "The log tells more")
        case _:
            return ValidationFailed(
                f"The request is not one that HTTP/1.1 knows: {error.body}", "Check the client, or the proxy in between"
            )


def leave_no_core_dump() -> None:
    """Keep what is in memory, keys and secrets among it, out of core dumps; the programs that are started from here do so, too."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


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
        with _held_beside(server):
            yield listener


# Where browsers look first for a name, "localhost" say, that leads to these addresses, too.
_BESIDE = {"127.0.0.1": "::1", "localhost": "::1", "0.0.0.0": "::"}  # noqa: S104


@contextmanager
def _held_beside(server: ServerConfig) -> Iterator[None]:
    """Hold the port on the IPv6 address that goes with ours, where nobody answers: another user's server there would get our visitors.

    What is bound and does not listen refuses connections, and clients go on to our address.
    """
    address = _BESIDE.get(server.host)
    with ExitStack() as stack:
        try:
            if address is not None:
                held = stack.enter_context(socket.socket(socket.AF_INET6, socket.SOCK_STREAM))
                held.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                held.bind((address, server.port))
        except OSError as error:  # most often there is no IPv6 here
            if error.errno == errno.EADDRINUSE:
                log.warning(
                    "SECURITY: another program has port %d on [%s]: it gets visitors of names such as localhost", server.port, address
                )
        yield


@contextmanager
def running_server(app: Flask, server: ServerConfig, listener: socket.socket) -> Iterator[None]:
    """Serve `app` in a thread; at the end stop accepting, finish what is in flight, then close."""
    wsgi: Any = waitress.create_server(
        app,
        sockets=[listener],
        threads=server.threads,
        ident="UploadKit",
        # Small writes each wake the main loop; this many bytes at once gave 20 times the throughput.
        send_bytes=18_000,
        connection_limit=_MOST_CONNECTIONS,
        # select() fails for good once a descriptor is over 1023, and the database and the store have some, too.
        asyncore_use_poll=True,
        channel_timeout=60,
        cleanup_interval=_CLEANUP_SECONDS,
        max_request_header_size=_MOST_HEADER_BYTES,
        # With the framing of chunks as small as they come; how long the body itself may be, CarefulParser knows.
        max_request_body_size=8 * server.max_body_bytes + _MOST_FRAMING_BYTES,
        # Of a body that is longer than this, the rest waits in a file without a name.
        inbuf_overflow=_MOST_BUFFERED_BYTES,
        # X-Forwarded-* is judged by web/authentication.py, which knows networks and not just one address.
        clear_untrusted_proxy_headers=False,
        expose_tracebacks=False,
    )
    arriving = Arriving(_MOST_BODIES * server.max_body_bytes)
    wsgi.channel_class = partial(Channel, most_body_bytes=server.max_body_bytes, arriving=arriving)
    wsgi.handle_accept = partial(_accept_several, wsgi, wsgi.handle_accept)
    wsgi.add_task = partial(Channel.begin, add_task=wsgi.task_dispatcher.add_task)
    wsgi.maintenance = partial(_drop_the_slow, wsgi, wsgi.maintenance)
    _allow_descriptors()
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


def _accept_several(wsgi: Any, accept: Callable[[], None]) -> None:
    """Take in some of the connections that wait, and make room for as many where they run short.

    waitress looks at all connections before it takes in one more: whoever opens them fast would have everybody else wait in the queue.
    """
    for _ in range(_MOST_ACCEPTED_AT_ONCE):
        accept()
        if not select.select([wsgi.socket], [], [], 0)[0]:
            break
    remaining = [channel for channel in wsgi.active_channels.values() if not channel.will_close]
    excess = len(remaining) - (_MOST_CONNECTIONS - _SPARE_CONNECTIONS)
    if excess > 0:
        waiting = [channel for channel in remaining if channel.waits]
        for channel in heapq.nsmallest(excess, waiting, key=lambda channel: channel.waiting_since):
            channel.drop()


def _drop_the_slow(wsgi: Any, drop_the_silent: Callable[[float], None], now: float) -> None:
    """Close connections on which nothing happens, and those whose request, or the reading of its answer, does not come to its end."""
    drop_the_silent(now)
    for channel in wsgi.active_channels.values():
        if channel.will_close or channel.is_overdue(now):
            channel.drop()


def _allow_descriptors() -> None:
    """Make room for all connections, and the files and the store's connections beside them: many systems begin with 1,024 in all."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


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
