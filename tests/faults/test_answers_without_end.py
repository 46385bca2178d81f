"""A store that is never silent and never done: whatever part of an answer it sends byte by byte, the call ends, and so does its thread."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress

import pytest
import urllib3

from uploadkit.core.errors import StorageUnavailable
from uploadkit.core.sizes import MIB
from uploadkit.objectstore import listing
from uploadkit.objectstore.address import StoreAddress
from uploadkit.objectstore.objects import StoredObject
from uploadkit.objectstore.plain_http import PlainRequests
from uploadkit.objectstore.store import ObjectStore

HEAD = b'HTTP/1.1 200 OK\r\nETag: "e"\r\nContent-Range: bytes 0-4095/1000000\r\n'
ENDLESS = {
    "the status": [b"HTTP/1.1 2"],
    "the head": [HEAD, b"X-Amz-"],
    "interim answers": [b"HTTP/1.1 100 Continue\r\n"],
    "the body": [HEAD, b"Content-Length: 4096\r\n\r\n"],
    "the body of an error": [b"HTTP/1.1 503 No\r\nContent-Length: 4096\r\n\r\n<Error>"],
    # So do S3 and its likes while they work, lest a connection is closed for its silence.
    "a document that may still come": [b'HTTP/1.1 200 OK\r\nContent-Length: 4096\r\n\r\n<?xml version="1.0" encoding="UTF-8"?>\n'],
}
CALLS: dict[str, Callable[[ObjectStore], object]] = {
    "by our own requests": lambda store: store.head("a"),
    "by boto3": lambda store: store.list_parts("a", "upload"),
}


@contextmanager
def sending(pieces: Callable[[], Iterable[bytes]], pause_seconds: float) -> Iterator[ObjectStore]:
    """A store that answers each connection's first request with `pieces`, a pause after each, and a time-out of a second for it."""
    over = threading.Event()

    def answer(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.recv(10_000)
            for piece in pieces():
                connection.sendall(piece)
                if over.wait(pause_seconds):
                    break

    def serve() -> None:
        with suppress(OSError):
            while True:
                threads.append(threading.Thread(target=answer, args=(listener.accept()[0],)))
                threads[-1].start()

    threads: list[threading.Thread] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threads.append(threading.Thread(target=serve))
        threads[0].start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        try:
            yield ObjectStore(StoreAddress(url, url, "us-east-1", "bucket", "path", "key", "secret"), timeout_seconds=1)
        finally:
            over.set()
            listener.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join()


def test_what_drips_for_ever_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("random.uniform", lambda low, high: low)  # the pause between two attempts
    monkeypatch.setattr("random.random", lambda: 0)

    def seconds(case: tuple[str, str]) -> float:
        part, call = case
        with sending(lambda: itertools.chain(ENDLESS[part], itertools.repeat(b" ")), pause_seconds=0.2) as store:
            began = time.monotonic()
            with pytest.raises(StorageUnavailable):
                CALLS[call](store)
            return time.monotonic() - began

    cases = list(itertools.product(ENDLESS, CALLS))
    with ThreadPoolExecutor(len(cases)) as pool:
        waited = dict(zip(cases, pool.map(seconds, cases), strict=True))
    assert {case: took for case, took in waited.items() if took > 5} == {}


FLOODS: dict[str, tuple[bytes, bytes, Callable[[ObjectStore], object]]] = {
    "interim answers, to a GET": (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 400, lambda store: store.head("a")),
    "interim answers, to boto3": (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 400, lambda store: list(store.read("a", "e", 0, 9, 9))),
    "the body of an error, to boto3": (
        b"HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"2000\r\n" + bytes(0x2000) + b"\r\n",
        lambda store: list(store.read("a", "e", 0, 9, 9)),
    ),
    "a copy's document": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"2000\r\n" + bytes(0x2000) + b"\r\n",
        lambda store: store.copy("a", StoredObject(1, "", "e", b""), "b", "text/plain", "inline"),
    ),
    "what follows a deletion": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"2000\r\n" + bytes(0x2000) + b"\r\n",
        lambda store: store.delete("a"),
    ),
}


@pytest.mark.parametrize("name", FLOODS)
def test_what_comes_at_full_speed_and_does_not_end_is_not_taken_in(name: str) -> None:
    """It earns itself time, so what bounds it is its size."""
    head, piece, call = FLOODS[name]
    sent = 0

    def pieces() -> Iterator[bytes]:
        nonlocal sent
        yield head
        while sent < 64 * MIB:  # for ever, if this test is to end also on what takes it in
            yield piece
            sent += len(piece)

    with sending(pieces, pause_seconds=0) as store, pytest.raises(StorageUnavailable):
        call(store)
    assert sent < 32 * MIB, "two attempts, of a megabyte and what lies in the system's buffers"


@pytest.mark.parametrize(("piece", "pause_seconds"), [(b"2000\r\n" + bytes(0x2000) + b"\r\n", 0), (b"1\r\na\r\n", 0.2)])
def test_the_doctors_own_requests_end(piece: bytes, pause_seconds: float) -> None:
    """The appliance itself makes them, at each start and once a day."""
    sent = 0

    def pieces() -> Iterator[bytes]:
        nonlocal sent
        yield b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        while sent < 64 * MIB:
            yield piece
            sent += len(piece)

    with sending(pieces, pause_seconds) as store, closing(PlainRequests(store.address, urllib3.Timeout(connect=5, read=1))) as requests:
        began = time.monotonic()
        with pytest.raises(urllib3.exceptions.HTTPError):
            requests.send("GET", f"{store.address.endpoint}/bucket/a", None, {})
        assert time.monotonic() - began < 10
    assert sent < 32 * MIB


EVERY_CALL: list[Callable[[ObjectStore], object]] = [
    lambda store: store.head("a"),
    lambda store: store.read_piece("a", 0, 9),
    lambda store: store.copy("a", StoredObject(1, "", "e", b""), "b", "text/plain", "inline"),
    lambda store: store.delete("a"),
    lambda store: list(store.read("a", "e", 0, 9, 9)),
    lambda store: store.create_multipart("a", "text/plain", "inline"),
    lambda store: store.list_parts("a", "upload"),
    lambda store: store.complete_multipart("a", "upload", 9, [(1, "e")]),
    lambda store: store.abort_multipart("a", "upload"),
    lambda store: store.abort_all_multiparts("a"),
    lambda store: next(listing.objects(store)),
]


@pytest.mark.parametrize(
    "status", ["101 Switching Protocols", "103 Early Hints", "301 Moved", "302 Found", "303 Other", "307 There", "308 There"]
)
def test_an_answer_that_leads_elsewhere_is_none(monkeypatch: pytest.MonkeyPatch, status: str) -> None:
    """Nothing is asked of another host or region, or again and again; and it is no success either."""
    monkeypatch.setattr("random.uniform", lambda low, high: low)
    asked = []
    with socket.create_server(("127.0.0.1", 0)) as elsewhere:
        url = f"http://127.0.0.1:{elsewhere.getsockname()[1]}"
        error = f"<Error><Code>PermanentRedirect</Code><Endpoint>{url[7:]}</Endpoint><Region>{url[7:]}</Region></Error>".encode()
        text = f"HTTP/1.1 {status}\r\nLocation: {url}\r\nx-amz-bucket-region: elsewhere\r\nContent-Length: {len(error)}\r\n\r\n".encode()

        def pieces() -> Iterable[bytes]:
            asked.append(status)
            return [text + error]

        with sending(pieces, pause_seconds=0) as store:
            for call in EVERY_CALL:
                with pytest.raises(StorageUnavailable):
                    call(store)
        elsewhere.settimeout(0)
        with pytest.raises(BlockingIOError):
            elsewhere.accept()
    assert len(asked) <= 2 * len(EVERY_CALL)


def test_what_comes_steadily_may_take_longer() -> None:
    """A second and a half at 40 KB a second, with a time-out of one."""
    head = b'HTTP/1.1 206 OK\r\nETag: "etag"\r\nContent-Length: 60000\r\n\r\n'
    with sending(lambda: itertools.chain([head], itertools.repeat(bytes(2000), 30)), pause_seconds=0.05) as store:
        began = time.monotonic()
        assert sum(map(len, store.read("a", "etag", 0, 60_000, 5000))) == 60_000
        assert time.monotonic() - began > 1.2
