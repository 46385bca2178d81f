"""A store that is never silent and never done: whatever part of an answer it sends byte by byte, the call ends, and so does its thread."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import pytest

from uploadkit.errors import StorageUnavailable
from uploadkit.storage.address import StoreAddress
from uploadkit.storage.s3 import ObjectStore

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
    "by our own requests": lambda store: store.look_at("a"),
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


def test_what_comes_steadily_may_take_longer() -> None:
    """A second and a half at 40 KB a second, with a time-out of one."""
    head = b"HTTP/1.1 206 OK\r\nContent-Length: 60000\r\n\r\n"
    with sending(lambda: itertools.chain([head], itertools.repeat(bytes(2000), 30)), pause_seconds=0.05) as store:
        began = time.monotonic()
        assert sum(map(len, store.read("a", "etag", 0, 60_000, 5000))) == 60_000
        assert time.monotonic() - began > 1.2
