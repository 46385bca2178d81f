"""The gate by itself: connections of outsiders who say nothing keep nobody out, and of requests those go through that have one meaning."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.appliance import free_port, wait_until
from uploadkit.core.sizes import SLOWEST_BYTES_PER_SECOND
from uploadkit.objectstore.bundled import s3_gate

DESCRIPTORS = 96
ASKED = b"GET / HTTP/1.1\r\n\r\n"


class Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        while text := self.request.recv(65536):
            self.request.sendall(text)


class EchoServer(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 128


class EchoOnSocket(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    request_queue_size = 128


@pytest.fixture(scope="module", params=["a port", "a socket"])
def gated(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    """The port of a gate before an echo, which may have few descriptors, and what it writes to standard error."""
    home, port = tmp_path_factory.mktemp("gate"), free_port()
    text = home / "said"
    program = [sys.executable, "-I", str(Path(s3_gate.__file__)), str(port)]
    on_port = request.param == "a port"
    echoing = EchoServer(("127.0.0.1", 0), Echo) if on_port else EchoOnSocket(str(home / "s.sock"), Echo)
    with echoing as echo, text.open("wb") as error:
        threading.Thread(target=echo.serve_forever, daemon=True).start()
        target = str(echo.server_address[1]) if on_port else "s.sock"
        limited = ["sh", "-c", f'ulimit -n {DESCRIPTORS}; exec "$@"', "sh", *program, target, "127.0.0.1"]
        process = subprocess.Popen(limited, stdin=subprocess.DEVNULL, stderr=error, cwd=home)
        wait_until(lambda: answers(port), what="the gate")
        try:
            yield port, text
        finally:
            process.terminate()
            assert process.wait(30) == 0
            echo.shutdown()


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=20)


def received(connection: socket.socket, count: int) -> bytes:
    """The next `count` bytes, or fewer when it ends before."""
    text = b""
    while len(text) < count and (more := connection.recv(count - len(text))):
        text += more
    return text


def says(connection: socket.socket) -> bool:
    connection.sendall(ASKED)
    return received(connection, len(ASKED)) == ASKED


def answers(port: int) -> bool:
    with contextlib.suppress(OSError), connected(port) as connection:
        return says(connection)
    return False


def test_who_says_nothing_keeps_nobody_out(gated: tuple[int, Path]) -> None:
    port, text = gated
    with contextlib.ExitStack() as stack:
        at_work = stack.enter_context(connected(port))
        for number in range(3 * DESCRIPTORS):
            newest = stack.enter_context(connected(port))
            if number % 10 == 0:
                assert says(newest), "and all before it have been let in, so that no more than ten come between two words at work"
                assert says(at_work), "a connection on which something moves keeps its place"
        for _ in range(5):
            assert says(stack.enter_context(connected(port)))
    assert text.read_bytes() == b""
    assert answers(port)


def test_all_bytes_come_through_and_an_end_is_passed_on(gated: tuple[int, Path]) -> None:
    body = bytes(range(256)) * 20_000
    sent = b"PUT /a?b=%%20 HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body) + ASKED
    with connected(gated[0]) as connection:
        writing = threading.Thread(target=lambda: (connection.sendall(sent), connection.shutdown(socket.SHUT_WR)))
        writing.start()
        came = b"".join(iter(lambda: connection.recv(1 << 20), b""))
        writing.join()
    assert came == sent


@pytest.mark.parametrize(
    ("head", "length"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 0),
        (b"GET /b/%E4%zz;x HTTP/1.0\r\nHost: a\r\n\r\n", 0),  # of the path the engine has one opinion
        (b"PUT /b/k?partNumber=1&uploadId=%2Fa%3b+b&c=d?e HTTP/1.1\r\nHost: a\r\ncontent-length:  12 \r\nX-Empty:\r\n\r\n", 12),
        (b"PUT /b/k? HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain;charset=utf-8\r\nContent-Length: 5368709120\r\n\r\n", 5368709120),
        (b"GET /b/k?a=\"b'c(d)[e]{f}|g\\h^i`j HTTP/1.1\r\nHost: \xc3\xa4\r\n\r\n", 0),
    ],
)
def test_what_has_one_meaning_goes_through(head: bytes, length: int) -> None:
    assert s3_gate.body_bytes(head) == length


QUERIES = (b"a;b", b"%zz", b"a=1&%", b"a=%2", b"a=%2g", b"a#b", b";")
LINES = (
    b"",
    b"PUT /b/k",
    b"PUT  /b/k HTTP/1.1",
    b"PUT /b/k HTTP/1.1 ",
    b"put /b/k HTTP/1.1",
    b"PUT http://a/b/k HTTP/1.1",
    b"OPTIONS * HTTP/1.1",
    b"PUT /b/k#a HTTP/1.1",
    b"PUT /b/\xc3\xa4 HTTP/1.1",
    b"PUT /b/k HTTP/2.0",
    b"PRI * HTTP/2.0",
    b"PUT /b/a\tb HTTP/1.1",
    b"PUT /b/a\nb HTTP/1.1",
)
FIELDS = (
    b"Content-Length: 1\r\nContent-Length: 1",
    b"Content-Length: +1",
    b"Content-Length: 1,1",
    b"Content-Length: 0x1",
    b"Content-Length:",
    b"Content-Length : 1",
    b"Content-Length: 1" + b"0" * 18,
    b" Content-Length: 1",
    b"A: b\r\n c",
    b"A: b\nContent-Length: 1",
    b"A: b\rContent-Length: 1",
    b"A: b\0",
    b"A",
    b": b",
    b"x-forwarded-PREFIX: /b",
)
CHUNKED = (b"Transfer-Encoding: chunked", b"transfer-encoding: x", b"TRANSFER-ENCODING:")
FORMS = (b"content-type: Multipart/Form-Data; boundary=x", b"Content-Type: a/b\r\nContent-Type: a, multipart/form-data")


@pytest.mark.parametrize(
    ("head", "status"),
    [
        *((b"PUT /b/k?" + query + b" HTTP/1.1\r\nHost: a\r\n\r\n", 400) for query in QUERIES),
        *((line + b"\r\nHost: a\r\n\r\n", 400) for line in LINES),
        *((b"PUT /b/k HTTP/1.1\r\n" + fields + b"\r\n\r\n", 400) for fields in FIELDS),
        *((b"PUT /b/k HTTP/1.1\r\n" + field + b"\r\n\r\n", 411) for field in CHUNKED),
        *((b"POST /b HTTP/1.1\r\n" + fields + b"\r\n\r\n", 403) for fields in FORMS),
    ],
)
def test_what_may_mean_something_else_to_the_engine_does_not(gated: tuple[int, Path], head: bytes, status: int) -> None:
    with pytest.raises(s3_gate.Refused) as refused:
        s3_gate.body_bytes(head)
    assert refused.value.args[0] == status
    with connected(gated[0]) as connection:
        connection.sendall(head)
        came = b"".join(iter(lambda: connection.recv(65536), b""))
    assert came.startswith(b"HTTP/1.1 %d " % status)
    assert came.endswith(b"</Code></Error>")


def test_a_head_without_an_end_is_refused(gated: tuple[int, Path]) -> None:
    with connected(gated[0]) as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(b"GET / HTTP/1.1\r\nA: " + b"a" * 600_000)
        assert connection.recv(12) == b"HTTP/1.1 431"


def test_in_place_of_a_later_request_that_is_refused_the_engine_is_asked_for_nothing(gated: tuple[int, Path]) -> None:
    """It may still be about to answer those before."""
    with connected(gated[0]) as connection:
        assert says(connection)
        connection.sendall(ASKED + b"PUT /b/k?%zz;partNumber=x HTTP/1.1\r\nContent-Length: 5\r\n\r\nabcde")
        asked = ASKED + b"GET /refused HTTP/1.1\r\nHost: refused\r\nConnection: close\r\n\r\n"
        assert received(connection, len(asked)) == asked


def test_what_stands_in_a_body_is_no_request(gated: tuple[int, Path]) -> None:
    body = b"PUT /b/k?%zz;partNumber=x HTTP/1.1\r\n\r\n"
    sent = b"PUT /a HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    with connected(gated[0]) as connection:
        connection.sendall(sent)
        assert received(connection, len(sent)) == sent
        assert says(connection)


class Endless(socketserver.BaseRequestHandler):
    """Sends until nobody has taken anything for a second."""

    stuck = 0

    def handle(self) -> None:
        self.request.recv(65536)
        self.request.settimeout(1)
        with contextlib.suppress(ConnectionError):
            with contextlib.suppress(TimeoutError):
                while True:
                    self.request.sendall(bytes(1 << 20))
            Endless.stuck += 1
            self.request.settimeout(60)
            self.request.recv(1)


def test_what_hundreds_do_not_read_takes_little_memory() -> None:
    """It was over a megabyte for each of up to 4,000."""
    port, many = free_port(), 300
    with EchoServer(("127.0.0.1", 0), Endless) as source, contextlib.ExitStack() as stack:
        threading.Thread(target=source.serve_forever, daemon=True).start()
        program = [sys.executable, "-I", str(Path(s3_gate.__file__)), str(port), str(source.server_address[1]), "127.0.0.1"]
        process = stack.enter_context(subprocess.Popen(program, stdin=subprocess.DEVNULL))
        stack.callback(process.terminate)
        wait_until(lambda: can_connect(port), what="the gate")
        before = psutil.Process(process.pid).memory_info().rss
        for _ in range(many):
            connection = stack.enter_context(socket.socket())
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect(("127.0.0.1", port))
            connection.sendall(ASKED)
        wait_until(lambda: Endless.stuck == many, what="nothing moves any more")
        taken = psutil.Process(process.pid).memory_info().rss - before
        stack.callback(source.shutdown)
    assert taken < (64 * 1.5 + (many - 64) * 0.25) * 1024**2, f"{taken / many:.0f} bytes each"


def can_connect(port: int) -> bool:
    with contextlib.suppress(OSError), connected(port):
        return True
    return False


def put_head(target: str, length: int = 5, method: str = "PUT") -> bytes:
    return f"{method} {target} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n".encode()


SIGNED = "X-Amz-Date=20260101T000000Z&X-Amz-Expires=3600&X-Amz-Signature="


def is_open(connection: socket.socket) -> bool:
    with contextlib.suppress(ConnectionResetError):
        return connection.recv(1) != b""
    return False


@pytest.mark.parametrize(
    "targets",
    [
        [f"/b/pending/x?{SIGNED}a"] * 3,
        [f"/b/pending/y?{SIGNED}a", f"/b/%70ending/y?{SIGNED}a", f"/b/pending%2fy?{SIGNED}b"],
        [
            f"/b/k?partNumber=7&uploadId=u/v&{SIGNED}a",
            f"/b/k?{SIGNED}a&uploadId=u%2Fv&partNumber=%37",
            f"/b/k?uploadId=u/v&partNumber=7&{SIGNED}c",
        ],
    ],
)
def test_of_the_puts_that_write_one_thing_the_oldest_gives_way(gated: tuple[int, Path], targets: list[str]) -> None:
    heads = [put_head(target) for target in targets]
    with contextlib.ExitStack() as stack:
        under_way = []
        for head in heads:
            under_way.append(stack.enter_context(connected(gated[0])))
            under_way[-1].sendall(head + b"1234")
            assert received(under_way[-1], len(head) + 4) == head + b"1234"
        assert not is_open(under_way[0])
        for connection in under_way[1:]:
            connection.sendall(b"5")
            assert connection.recv(1) == b"5"
        again = stack.enter_context(connected(gated[0]))
        again.sendall(heads[0])
        assert received(again, len(heads[0])) == heads[0]
        assert says(under_way[1]), "those that are over give way to nobody"


def test_other_requests_are_not_counted(gated: tuple[int, Path]) -> None:
    parts = [put_head(f"/b/k?partNumber={number}&uploadId=u&{SIGNED}a") for number in range(1, 6)]
    others = [put_head(f"/b/k?{SIGNED}a", method="GET"), put_head("/b/k")]
    with contextlib.ExitStack() as stack:
        under_way = []
        for head in (*parts, *others * 4):
            under_way.append(stack.enter_context(connected(gated[0])))
            under_way[-1].sendall(head)
            assert received(under_way[-1], len(head)) == head
        for connection in under_way:
            connection.sendall(b"12345")
            assert received(connection, 5) == b"12345"


@pytest.mark.parametrize(
    ("query", "length", "seconds"),
    [
        ("X-Amz-Date=20260101T000000Z&X-Amz-Expires=3600&X-Amz-Signature=a", 5, 3600 + 600),
        ("X-Amz-Date=20260101T000000Z&X-Amz-Expires=3600&X-Amz-Signature=a", 2 * 1024**3, 8192 + 600),
        ("X-Amz-Date=20251231T000000Z&X-Amz-Expires=3600&X-Amz-Signature=a", 5, 3600),
        ("X-Amz-Date=20260101T000000Z&X-Amz-Expires=9999999999999&X-Amz-Signature=a", 5, 7 * 86400 + 3600),
        ("X-Amz-Date=now&X-Amz-Expires=1&X-Amz-Signature=a", 5, 3600),
        (f"X-Amz-Date=20260101T000000Z&X-Amz-Expires={9**400}&X-Amz-Signature=a", 5, 3600),
        ("X-Amz-Date=20260101T000000Z&X-Amz-Expires=NaN&X-Amz-Signature=", 5, 3600),
        ("X-Amz-Signature=a", 5, 3600),
        ("X-Amz-Date=20260101T000000Z", 5, None),
    ],
)
def test_how_long_a_put_may_go_on(monkeypatch: pytest.MonkeyPatch, query: str, length: int, seconds: int | None) -> None:
    monkeypatch.setattr(s3_gate.time, "time", lambda: 1767225600.0 + 3000)  # fifty minutes after the first of 2026
    written = s3_gate._written_by(put_head(f"/b/k?{query}", length))
    assert (None if written is None else written[1]) == seconds
    assert s3_gate._SLOWEST_BYTES_PER_SECOND == SLOWEST_BYTES_PER_SECOND


def test_a_put_that_goes_on_for_longer_is_broken_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_gate, "_LONGEST_SECONDS_AFTER", 0.1)

    async def carried() -> None:
        near, far = socket.socketpair()
        with near, far:
            _, writer = await asyncio.open_connection(sock=far)
            reader, task = asyncio.StreamReader(), asyncio.current_task()
            assert task is not None
            reader.feed_data(put_head(f"/b/k?{SIGNED}a") + b"1234")
            with pytest.raises(TimeoutError):
                await s3_gate._requests(reader, writer, lambda: None, puts, task)
            writer.close()
            await writer.wait_closed()

    puts = s3_gate.Puts()
    asyncio.run(carried())
    assert puts._under_way == {}
