"""Clients that never finish, and bodies that never end: others are served meanwhile, and memory stays where it was."""

from __future__ import annotations

import resource
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from typing import Any

import psutil
import pytest

from tests.support.appliance import Appliance, free_port, wait_until
from uploadkit.config import ServerConfig
from uploadkit.core.sizes import MIB
from uploadkit.server import connections, waitress_server

MOST_CONNECTIONS = 1000  # docs/reliability.md


@pytest.fixture
def descriptors() -> Iterator[int]:
    """How many sockets this process may open, once it may open as many as the system lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def is_closed(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def test_more_slow_clients_than_there_are_connections_stop_nobody(appliance: Appliance, descriptors: int) -> None:
    if descriptors < 2 * MOST_CONNECTIONS:
        pytest.skip("this system does not let a test open so many sockets")
    assert appliance.process is not None
    soft, hard = psutil.Process(appliance.process.pid).rlimit(psutil.RLIMIT_NOFILE)
    assert soft == min(hard, 65_536), "room for all connections, and for the files beside them"
    kinds = [
        b"",
        b"GET /healthz HTT",
        b"GET /healthz HTTP/1.1\r\nHost: a\r\nx-a: ",
        b"POST /api/v1/upload/request HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n{",
        b"POST /api/v1/upload/request HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{",
    ]
    with ExitStack() as stack:
        slow = []
        for number in range(MOST_CONNECTIONS + 200):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", appliance.port), timeout=30))
            connection.sendall(kinds[number % len(kinds)])
            slow.append(connection)
        for _ in range(3):
            for connection in slow:
                with suppress(OSError):  # one that had to go
                    connection.send(b"a")
            began = time.monotonic()
            assert appliance.fetch("GET", f"{appliance.base}/healthz", headers={"Connection": "close"}).status == 200
            assert appliance.call("GET", "/files", headers={"Connection": "close"}).status == 200
            assert appliance.request(5).status == 200
            assert time.monotonic() - began < 20
        closed = [is_closed(connection) for connection in slow]
        assert 200 <= sum(closed) < 400, "those that waited the longest made room, the others were left in peace"
        assert sum(closed[:200]) > sum(closed[-200:])
    assert "Traceback" not in appliance.log()


@pytest.mark.filterwarnings("ignore:send_bytes will be removed:DeprecationWarning")
def test_a_request_has_to_arrive_in_time_however_lively_it_trickles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "_LONGEST_REQUEST_SECONDS", 1)
    monkeypatch.setattr(waitress_server, "_CLEANUP_SECONDS", 1)

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Length", "2")])
        return [b"ok"]

    server = ServerConfig(port=free_port(), threads=1)
    with ExitStack() as stack:
        listener = stack.enter_context(waitress_server.bound_socket(server))
        stack.enter_context(waitress_server.running_server(answer, server, listener))
        busy, slow = (stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=30)) for _ in range(2))
        slow.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nx-a: ")

        def is_dropped() -> bool:
            with suppress(OSError):
                slow.send(b"a")
            busy.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert busy.recv(1000).startswith(b"HTTP/1.1 200"), "a connection on which requests come to their end may stay"
            return is_closed(slow)

        wait_until(is_dropped, 20)


def resident_bytes(appliance: Appliance) -> int:
    assert appliance.process is not None
    return int(psutil.Process(appliance.process.pid).memory_info().rss)


def test_a_body_without_end_is_cut_off_and_takes_no_memory(appliance: Appliance) -> None:
    head = b"POST /api/v1/upload/request HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    piece = b"100000\r\n" + b" " * MIB + b"\r\n"
    appliance.call("POST", "/upload/request", b" " * MIB)
    before = resident_bytes(appliance)
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", appliance.port), timeout=30) as connection:
            connection.sendall(head)
            for _ in range(64):
                connection.sendall(piece)  # it goes on reading, or the answer would be lost
            connection.shutdown(socket.SHUT_WR)
            assert connection.recv(12) == b"HTTP/1.1 413"
    assert resident_bytes(appliance) - before < 24 * MIB


@pytest.mark.parametrize(
    "path", ["/api/v1/upload/request", "/sdk/api/v1/upload/request", "/api/uploadkit/default", "/dashboard/sign-in", "/f/x"]
)
def test_a_body_of_many_gibibytes_is_refused_before_it_comes(appliance: Appliance, path: str) -> None:
    with socket.create_connection(("127.0.0.1", appliance.port), timeout=30) as connection:
        connection.sendall(f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {64 * 1024**3}\r\n\r\n".encode())
        assert connection.recv(12) == b"HTTP/1.1 413"


def test_a_body_over_the_limit_is_refused_before_it_comes(appliance: Appliance) -> None:
    """Whoever sends it, nobody is known yet: one byte over server.max_body_bytes is one too many to take in."""
    head = f"POST /api/v1/upload/request HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: {MIB + 1}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", appliance.port), timeout=30) as connection:
        connection.sendall(head.encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 413"), "and no 100 Continue before it"
    assert b'"PAYLOAD_TOO_LARGE"' in answer
    assert str(MIB).encode() in answer


@pytest.mark.parametrize(
    "endless", [b"1;" + b"a" * 64, b";" * 64, b"0" * 64, b"0\r\n" + b"x: y\r\n" * 16], ids=["extension", "semicolons", "digits", "trailer"]
)
def test_the_framing_of_chunks_has_bounds_too(appliance: Appliance, endless: bytes) -> None:
    """What waitress keeps of a chunk's first line or of the trailer grew with what was sent, each piece copying all before it."""
    head = b"POST /api/v1/upload/request HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    more = endless[-30:] * 1024
    with socket.create_connection(("127.0.0.1", appliance.port), timeout=30) as connection:
        connection.sendall(head + endless)
        with suppress(OSError):
            for _ in range(8):
                connection.sendall(more)
        assert connection.recv(12) == b"HTTP/1.1 400"


def test_memory_is_never_dumped(appliance: Appliance) -> None:
    """A core dump would hold the credentials of the store, and keys that were just sent."""
    assert appliance.process is not None
    process = psutil.Process(appliance.process.pid)
    for one in (process, *process.children(recursive=True)):
        assert one.rlimit(psutil.RLIMIT_CORE) == (0, 0), one.name()


def filled(begin: bytes, unit: bytes, end: bytes) -> bytes:
    """As large a body as is read."""
    return (begin + unit * ((MIB - len(begin) - len(end)) // len(unit))).rstrip(b",") + end


UNFOLDING = {
    "deep": ("POST", "/upload/request", b'{"metadata":' + b"[" * 500_000 + b"]" * 500_000 + b"}"),
    "wide": ("POST", "/upload/request", b"{" + b",".join(b'"k%d":1' % n for n in range(90_000)) + b"}"),
    "wide metadata": ("POST", "/upload/complete", b'{"fileId":"x","metadata":{' + b",".join(b'"k%d":1' % n for n in range(80_000)) + b"}}"),
    "many parts": ("POST", "/upload/multipart/complete", filled(b'{"fileId":"x","uploadId":"y","parts":[', b"{},", b"]}")),
    "many numbers": ("POST", "/upload/multipart/parts", filled(b'{"fileId":"x","uploadId":"y","partNumbers":[', b"{},", b"]}")),
    "many keys": ("DELETE", "/files", filled(b'{"keys":[', b'"",', b"]}")),
    "many lists": ("POST", "/upload/request", filled(b'{"metadata":{"a":[', b"[],", b"0]}}")),
    "many objects": ("POST", "/upload/request", filled(b'{"metadata":{"a":[', b"{},", b"0]}}")),
    "as many parts as there may be, and none is one": (
        "POST",
        "/upload/multipart/complete",
        b'{"fileId":"x","uploadId":"y","parts":[' + b",".join([b'{"partNumber":"a"}'] * 10_000) + b"]}",
    ),
    "as many numbers as there may be, and none is one": (
        "POST",
        "/upload/multipart/parts",
        b'{"fileId":"x","uploadId":"y","partNumbers":[' + b",".join([b'"a"'] * 10_000) + b"]}",
    ),
    "many digits": ("POST", "/upload/request", filled(b'{"fileSize":', b"9", b"}")),
    "one name a hundred thousand times": ("POST", "/upload/complete", filled(b'{"fileId":"x",', b'"a":1,', b'"a":1}')),
    "a long name": ("POST", "/upload/request", filled(b'{"fileName":"', b"\\u00e9", b'"}')),
    "a media type that is hard to read": (
        "POST",
        "/upload/request",
        b'{"fileName":"a","fileSize":5,"routeSlug":"default","contentType":"a/b' + b" ;a=b" * 40 + b' ;\\u0000"}',
    ),
}


def test_json_that_unfolds_costs_little(appliance: Appliance) -> None:
    """Measured: 0.2 s for the worst of them, 16 MiB at most. And the answer is short: it does not name each of 300,000 mistakes."""
    before = resident_bytes(appliance)
    for name, (method, path, body) in UNFOLDING.items():
        began = time.monotonic()
        answer = appliance.call(method, path, body)
        assert answer.status in (400, 404), (name, answer.body)
        assert len(answer.body) < 1_000, name
        assert time.monotonic() - began < 10, name
    assert resident_bytes(appliance) - before < 100 * MIB


def test_headers_with_thousands_of_items_cost_little(appliance: Appliance) -> None:
    assert appliance.process is not None
    process = psutil.Process(appliance.process.pid)

    def used() -> float:
        return sum(process.cpu_times()[:2])

    began = used()
    for _ in range(10):
        accept = {"Accept": ",".join(f"a/b;q=0.{number}" for number in range(5_000))}
        assert appliance.fetch("GET", f"{appliance.base}/nowhere", headers=accept).status == 404
        assert appliance.call("POST", "/files/x/link", {}, headers={"Content-Type": "application/json" + ';a="b"' * 8_000}).status == 431
    assert used() - began < 0.8, "it was 1.4 s"


def test_a_hundred_keys_that_are_not_there_are_looked_up_together(appliance: Appliance) -> None:
    assert appliance.process is not None
    process = psutil.Process(appliance.process.pid)
    began = sum(process.cpu_times()[:2])
    for _ in range(10):
        assert appliance.call("DELETE", "/files", {"keys": [f"{number}" for number in range(100)]}).status == 404
    assert sum(process.cpu_times()[:2]) - began < 1, "it was 2 s"


def test_the_most_parts_there_can_be_are_read(appliance: Appliance) -> None:
    parts = [{"partNumber": number, "etag": '"' + "0123456789abcdef" * 2 + '"'} for number in range(1, 10_001)]
    answer = appliance.call("POST", "/upload/multipart/complete", {"fileId": "x", "uploadId": "y", "parts": parts})
    assert answer.code == "UPLOAD_NOT_FOUND"
    numbers = {"fileId": "x", "uploadId": "y", "partNumbers": list(range(1, 10_001))}
    assert appliance.call("POST", "/upload/multipart/parts", numbers).code == "UPLOAD_NOT_FOUND"


def test_who_has_no_key_pays_for_large_bodies_with_their_requests(appliance: Appliance) -> None:
    """300 requests in a minute of a megabyte each are more than the process can read in a minute."""
    token = appliance.call("POST", "/upload-tokens", {"routeSlug": "default"}).json
    url = f"{appliance.base}/api/uploadkit/t/{token['token']}/default"

    def post(size: int) -> int:
        body = b'{"action":"multipart-abort","fileId":"x","uploadId":"y"}'
        return appliance.fetch("POST", url, body.ljust(size), {"Content-Type": "application/json"}).status

    assert {post(MIB) for _ in range(4)} == {404}, "64 of 300 each"
    assert post(MIB) == 429
    assert post(100) == 404, "small ones go on"


def test_a_form_of_nobody_is_a_short_one(appliance: Appliance) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    for path in ("/dashboard/sign-in", "/dashboard/sign-out"):
        answer = appliance.fetch("POST", f"{appliance.base}{path}", b"a=1&" * 5_000, form)
        assert answer.status == 413, path
        assert b"16384 bytes" in answer.body
        assert appliance.fetch("POST", f"{appliance.base}{path}", b"a=1&" * 100, form).status in (302, 403)
