"""The gate before the bundled engine's S3, run as a process of its own: `python s3_gate.py PORT TARGET HOST...`.

It listens on PORT of each HOST and carries what is asked there to TARGET, a port on loopback or a Unix socket. It holds no secret and
imports nothing of the package. Bytes pass as they are, so that signatures hold; of each request it reads the head, and lets through only
what has one meaning. SeaweedFS checks the signature of a query without the pairs that can't be decoded, and chooses what to do by a query
that it takes apart in another way: with `%zz;partNumber=x` in front, the URL of a part wrote a whole object
(docs/decisions/0040-a-gate-before-s3.md).

Anybody may connect and send nothing. When there are too many connections, the one that has been idle longest is closed.

A PUT takes disk space in the engine long before it ends, and no quota counts that. So only a few PUTs to one object or part run at a time,
and each has a deadline (docs/decisions/0047-puts-under-way.md).
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import resource
import signal
import socket
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, unquote_to_bytes

# What is kept of a connection whose other side does not read, some times this much, is there for each of thousands: so only a few, those
# that come while there are few, get the room that makes them fastest.
_CHUNK_BYTES, _SMALL_CHUNK_BYTES = 256 * 1024, 16 * 1024
_MOST_LARGE = 64
_CONNECT_SECONDS = 10
_LINGER_SECONDS = 1
_MOST_CONNECTIONS = 4_000
_OTHER_DESCRIPTORS = 32
_MOST_HEAD_BYTES = 64 * 1024
_REQUEST_LINE = re.compile(rb"([A-Z]{1,20}) /([!-\"$->@-~]*+)(?:\?([!-\"$-~]*+))? HTTP/1\.[01]")
# A query of which there are no two opinions: no `;`, which some take for `&`, and whatever is escaped can be decoded.
_PLAIN_QUERY = re.compile(rb"(?:[^%;]|%[0-9A-Fa-f]{2})*+")
_FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]++):[ \t]*+([^\0\r\n]*+)")
_LENGTH = re.compile(rb"[0-9]{1,18}")
# Who loses a connection sends anew, perhaps before anybody has noticed that the first is dead.
_MOST_PUTS_OF_ONE = 2
# After the end of its URL a PUT may go on as long as the slowest line takes that the appliance waits for, and an hour in any case.
_LONGEST_SECONDS_AFTER, _SLOWEST_BYTES_PER_SECOND = 3600, 256 * 1024
_UNSIGNED = b"GET /refused HTTP/1.1\r\nHost: refused\r\nConnection: close\r\n\r\n"
_REFUSED = (
    b"HTTP/1.1 %d %b\r\nContent-Type: application/xml\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
)  # fmt: skip

Task = asyncio.Task[None]


class Refused(Exception):
    """A request that does not go through; `args` are the HTTP status, its phrase and S3's code."""


def body_bytes(head: bytes) -> int:
    """Return how many bytes follow the `head` of a request (with the empty line that ends it). Raises Refused.

    Source: RFC 9112, sections 2.2, 3 and 6; as strict as they allow, so that the engine can't see another request in it.
    """
    line, *fields = head[:-4].split(b"\r\n")
    asked = _REQUEST_LINE.fullmatch(line)
    if asked is None or not _PLAIN_QUERY.fullmatch(asked[3] or b""):
        raise Refused(400, b"Bad Request", b"InvalidURI")
    lengths: list[bytes] = []
    for field in fields:
        read = _FIELD.fullmatch(field)
        if read is None:
            raise Refused(400, b"Bad Request", b"InvalidRequest")
        name, value = read[1].lower(), read[2].rstrip(b" \t")
        if name == b"transfer-encoding":
            raise Refused(411, b"Length Required", b"MissingContentLength")
        if name == b"content-type" and b"multipart/form-data" in value.lower():
            raise Refused(403, b"Forbidden", b"AccessDenied")  # the engine would read a form before it asks who sends it
        if name == b"x-forwarded-prefix":
            # The engine puts it before the path when it checks the signature: what was signed for one place writes to another.
            raise Refused(400, b"Bad Request", b"InvalidRequest")
        if name == b"content-length":
            lengths.append(value)
    if len(lengths) > 1 or not all(map(_LENGTH.fullmatch, lengths)):
        raise Refused(400, b"Bad Request", b"InvalidRequest")
    return int(lengths[0]) if lengths else 0


class Places:
    """`most` connections at a time, each carried by a task. The one on which nothing has moved the longest stands first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken: OrderedDict[Task, None] = OrderedDict()

    async def make_room(self) -> None:
        """Return when there is a place, if need be by ending the connection that has been silent the longest."""
        while len(self._taken) >= self._most:
            silent, _ = self._taken.popitem(last=False)
            silent.cancel()
            await asyncio.wait([silent], timeout=1)

    def take(self, task: Task) -> None:
        """Give `task` a place until it ends."""
        self._taken[task] = None
        task.add_done_callback(lambda ended: self._taken.pop(ended, None))

    def chunk_bytes(self) -> int:
        """Return how much a connection that has just got its place may have on its way."""
        return _CHUNK_BYTES if len(self._taken) <= _MOST_LARGE else _SMALL_CHUNK_BYTES

    def moved(self, task: Task) -> None:
        """Note that something was carried, unless the place has been given to somebody else."""
        if task in self._taken:
            self._taken.move_to_end(task)


class Puts:
    """The PUTs by signed URLs that are under way, by the object or part that each writes."""

    def __init__(self) -> None:
        self._under_way: dict[tuple[bytes, str, str], list[Task]] = {}

    @contextlib.contextmanager
    def under_way(self, head: bytes, task: Task) -> Iterator[float | None]:
        """Count the request of `head`, which `task` carries, until the block ends; yield for how many seconds it may go on.

        None: for ever, since it is no PUT by a signed URL. Where `_MOST_PUTS_OF_ONE` write the same, the oldest is cancelled.
        """
        written = _written_by(head)
        if written is None:
            yield None
            return
        place, seconds = written
        others = self._under_way.setdefault(place, [])
        if len(others) >= _MOST_PUTS_OF_ONE:
            others.pop(0).cancel()
        others.append(task)
        try:
            yield seconds
        finally:
            with contextlib.suppress(ValueError):
                others.remove(task)
            if not others:
                self._under_way.pop(place, None)


def _written_by(head: bytes) -> tuple[tuple[bytes, str, str], float] | None:
    """Return what a PUT by a signed URL writes, and for how many seconds it may; None for another request.

    However path and query are escaped: the signature is the same. Other signatures for the same are no other place, since there may be
    any number of them.
    """
    method, target, _ = head.split(b" ", 2)
    path, _, query = target.partition(b"?")
    named = dict(parse_qsl(query.decode("ascii"), keep_blank_values=True)) if method == b"PUT" else {}
    if "X-Amz-Signature" not in named:
        return None
    place = (unquote_to_bytes(path), named.get("uploadId", ""), named.get("partNumber", ""))
    return place, _seconds_left(named) + max(_LONGEST_SECONDS_AFTER, body_bytes(head) // _SLOWEST_BYTES_PER_SECOND)


def _seconds_left(named: dict[str, str]) -> float:
    """Return how long a signed URL is still good for; one that makes no sense, which the engine refuses, is not."""
    try:
        signed_at = datetime.strptime(named["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
        return max(0.0, min(signed_at + int(named["X-Amz-Expires"]) - time.time(), 7 * 86400))
    except (KeyError, ValueError, OverflowError):
        return 0.0


def most_connections() -> int:
    """Return how many connections there is room for, two descriptors each, after making as much room as this process may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * _MOST_CONNECTIONS + _OTHER_DESCRIPTORS
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return max(1, (wanted - _OTHER_DESCRIPTORS) // 2)


async def _requests(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, moved: Callable[[], None], puts: Puts, task: Task) -> None:
    """Carry requests, one after the other, until the client has no more. Raises Refused with the first that does not go through.

    Raises TimeoutError where one takes longer than it may.
    """
    while True:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            break
        except asyncio.LimitOverrunError:
            head = b""
        if not 0 < len(head) <= _MOST_HEAD_BYTES:
            raise Refused(431, b"Request Header Fields Too Large", b"RequestHeaderSectionTooLarge")
        left = body_bytes(head)
        moved()
        with puts.under_way(head, task) as seconds:
            async with asyncio.timeout(seconds):
                writer.write(head)
                await writer.drain()
                while left and (chunk := await reader.read(min(left, _CHUNK_BYTES))):
                    moved()
                    left -= len(chunk)
                    writer.write(chunk)
                    await writer.drain()
        if left:
            break
    writer.write_eof()


async def _answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, moved: Callable[[], None]) -> None:
    while chunk := await reader.read(_CHUNK_BYTES):
        moved()
        writer.write(chunk)
        await writer.drain()
    writer.write_eof()


async def _carry(connection: socket.socket, target: str, places: Places, puts: Puts) -> None:
    """Carry one connection until both sides have finished, either breaks off, or somebody else needs its place."""
    task = asyncio.current_task()
    assert task is not None
    writers: list[asyncio.StreamWriter] = []
    pumps: list[Task] = []
    has_asked = False

    def asked() -> None:
        nonlocal has_asked
        has_asked = True
        places.moved(task)

    try:
        chunk_bytes = places.chunk_bytes()
        reader, writer = await asyncio.open_connection(sock=connection, limit=max(chunk_bytes, _MOST_HEAD_BYTES))
        writers.append(writer)
        far_reader, far_writer = await asyncio.wait_for(_opened(target, chunk_bytes), _CONNECT_SECONDS)
        writers.append(far_writer)
        for each in writers:
            _bound(each.transport, chunk_bytes)
        pumps.append(asyncio.ensure_future(_requests(reader, far_writer, asked, puts, task)))
        pumps.append(asyncio.ensure_future(_answers(far_reader, writer, lambda: places.moved(task))))
        # The answer's end is the end: an engine that closes early (a refused upload) must not leave the client sending for ever.
        # A client's end is not: it may be waiting for the answer, unless its connection broke.
        done, _ = await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        failed = pumps[0].exception() if pumps[0] in done else None
        if isinstance(failed, Refused) and not has_asked:
            await _refuse(writer, failed)
            await _linger(reader)
        elif isinstance(failed, Refused):
            # Its earlier requests may be under way, so that the engine has to answer, in its turn: to one that nobody signed.
            far_writer.write(_UNSIGNED)
            await asyncio.wait([pumps[1]])
            await _linger(reader)
        elif pumps[1] not in done and failed is None:
            await asyncio.wait([pumps[1]])
        elif pumps[0] not in done:
            pumps[0].cancel()
            await asyncio.wait([pumps[0]])
            await _linger(reader)
    except (OSError, TimeoutError):
        pass
    except asyncio.CancelledError:
        for each in writers:
            each.transport.abort()  # what still waits there is not waited for
    finally:
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
        if not writers:
            connection.close()
        for each in writers:
            each.close()
        for each in writers:
            with contextlib.suppress(OSError):
                await each.wait_closed()


async def _opened(target: str, chunk_bytes: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if target.isdecimal():
        return await asyncio.open_connection("127.0.0.1", int(target), limit=chunk_bytes)
    return await asyncio.open_unix_connection(target, limit=chunk_bytes)


def _bound(transport: Any, chunk_bytes: int) -> None:
    """Have a connection take no more from the system at once, and keep no more of what its other side does not take."""
    transport.max_size = chunk_bytes
    transport.set_write_buffer_limits(high=min(chunk_bytes, 64 * 1024))


async def _refuse(writer: asyncio.StreamWriter, refused: Refused) -> None:
    status, phrase, code = refused.args
    document = b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>%b</Code></Error>' % code
    writer.write(_REFUSED % (status, phrase, len(document)) + document)
    writer.write_eof()
    await writer.drain()


async def _accept(listener: socket.socket, target: str, places: Places, puts: Puts) -> None:
    loop = asyncio.get_running_loop()
    while True:
        await places.make_room()
        try:
            connection, _ = await loop.sock_accept(listener)
        except OSError:  # the client has gone again, or the whole machine is out of descriptors
            await asyncio.sleep(0.1)
            continue
        places.take(asyncio.ensure_future(_carry(connection, target, places, puts)))


def _listeners(host: str, port: int) -> list[socket.socket]:
    return [
        socket.create_server(address[:2], family=family, backlog=1024)
        for family, _, _, _, address in dict.fromkeys(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    ]


async def _linger(reader: asyncio.StreamReader) -> None:
    """Throw away what a client is still sending, for a moment: closed at once, its connection would lose the answer, too."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LINGER_SECONDS):
            while await reader.read(_CHUNK_BYTES):
                pass


async def serve(port: int, target: str, hosts: Sequence[str]) -> None:
    """Listen on `port` of each of `hosts` and carry every connection to `target`, until SIGTERM."""
    finished = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, finished.set)
    places, puts = Places(most_connections()), Puts()
    accepting = []
    for listener in [listener for host in hosts for listener in _listeners(host, port)]:
        listener.setblocking(False)
        accepting.append(asyncio.ensure_future(_accept(listener, target, places, puts)))
    await finished.wait()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), sys.argv[2], sys.argv[3:]))
