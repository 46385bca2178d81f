"""How long one answer of the store may take: all pauses in it together are held against the connection's time-out, not each by itself.

A time-out alone begins anew with every byte, so that who sends one now and then could keep a thread for ever. What comes earns time for
what follows, up to the whole time-out again: a long answer may take long, at `LEAST_BYTES_PER_SECOND` or more, and one that drips may not.
"""

from __future__ import annotations

import http.client
import io
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.awsrequest import AWSHTTPConnection, AWSHTTPConnectionPool, AWSHTTPSConnection, AWSHTTPSConnectionPool
from botocore.exceptions import HTTPClientError
from urllib3.exceptions import NewConnectionError

from uploadkit.core import clock
from uploadkit.core.sizes import MIB
from uploadkit.objectstore import unix_sockets

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

LEAST_BYTES_PER_SECOND = 16 * 1024
MOST_DOCUMENT_BYTES = 64 * MIB
MOST_HEAD_BYTES = MIB
MOST_TAGS = 1_000_000
"""Of a document: ten times what the longest list has, 10,000 uploads. Each takes up to two hundred bytes in memory, and its time."""
_expected = threading.local()


def hold_to_time(client: Any, way: Path | None = None) -> None:
    """Have the answers to a boto3 client, which has a time-out, come in time, and those that it holds in memory end.

    With `way`, a Unix socket, plain HTTP takes that way, whatever the endpoint. Its HTTP session is asked as well by raw_requests.py.
    """
    session = client._endpoint.http_session
    session._pool_classes_by_scheme.update(http=_Pool if way is None else _pool_by(way), https=_TlsPool)
    send = session.send

    def bounded_send(request: Any, *, errors_unread: bool = False) -> Any:
        """What is not streamed is a document, and is read whole before this returns; of what is, the head, and what comes before it.

        An error is a document in either case, which boto3 reads to its end; with `errors_unread` the caller sees to that.
        """
        with at_most(MOST_HEAD_BYTES if request.stream_output else MOST_DOCUMENT_BYTES):
            answer = send(request)
            if request.stream_output and answer.status_code >= 300 and not errors_unread:
                answer.content  # noqa: B018 (it is kept)
        if not request.stream_output and may_unfold(answer.content):
            raise HTTPClientError(error="a document with entities, or with very many tags")
        return answer

    session.send = bounded_send


@contextmanager
def at_most(count: int) -> Iterator[None]:
    """Let no more than `count` bytes come in on this thread's connections in this block."""
    _expected.left = count
    try:
        yield
    finally:
        _expected.left = None


def may_unfold(document: bytes) -> bool:
    """Say whether an XML document may be larger in memory than as it came, by up to a hundred times: S3's have no entities of their own.

    Nor are they in UTF-16 (which has NULs), where none would be found. Of tags alone, 64 MiB took 1.8 GB and two minutes of every thread.
    """
    return b"<!ENTITY" in document or b"\0" in document or document.count(b"<") > MOST_TAGS


class _Wire(io.RawIOBase):
    """What comes in on a connection, and how long it may still be waited for. Raises TimeoutError."""

    def __init__(self, incoming: io.RawIOBase, connection: socket.socket) -> None:
        self._incoming, self._connection = incoming, connection
        self._most_ms = self._left_ms = int((connection.gettimeout() or 0) * 1000)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        if self._left_ms < self._most_ms:
            self._connection.settimeout(self._left_ms / 1000)
        began = clock.monotonic_ms()
        count = self._incoming.readinto(buffer)
        waited_ms = clock.monotonic_ms() - began
        self._left_ms = min(self._most_ms, self._left_ms - waited_ms + count * 1000 // LEAST_BYTES_PER_SECOND)
        if self._left_ms <= 0:
            raise TimeoutError("The answer takes too long")
        left = getattr(_expected, "left", None)
        if left is not None:
            _expected.left = left - count
            if left < count:
                raise TimeoutError("The answer is too long")
        return count

    def close(self) -> None:
        self._incoming.close()
        super().close()


class TimelyAnswer(http.client.HTTPResponse):
    """An answer that is held to the connection's time-out, and to `at_most` while it is read there. Raises TimeoutError."""

    def __init__(self, connection: socket.socket, *arguments: Any, **more: Any) -> None:
        super().__init__(connection, *arguments, **more)
        self.fp = io.BufferedReader(_Wire(self.fp.detach(), connection))


class _Connection(AWSHTTPConnection):  # type: ignore[misc]
    response_class = TimelyAnswer


class _TlsConnection(AWSHTTPSConnection):  # type: ignore[misc]
    response_class = TimelyAnswer


class _Pool(AWSHTTPConnectionPool):  # type: ignore[misc]
    ConnectionCls = _Connection

    def urlopen(self, *arguments: Any, **more: Any) -> Any:
        return super().urlopen(*arguments, **{**more, "redirect": False})


def _pool_by(path: Path) -> type[_Pool]:
    class SocketConnection(_Connection):
        def _new_conn(self) -> socket.socket:
            try:
                return unix_sockets.connected(path, self.timeout)
            except OSError as error:
                raise NewConnectionError(self, f"the store's socket: {error.strerror or error}") from error

    class SocketPool(_Pool):
        ConnectionCls = SocketConnection

    return SocketPool


class _TlsPool(AWSHTTPSConnectionPool):  # type: ignore[misc]
    ConnectionCls = _TlsConnection

    def urlopen(self, *arguments: Any, **more: Any) -> Any:
        return super().urlopen(*arguments, **{**more, "redirect": False})
