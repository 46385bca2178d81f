"""The gate by itself: connections of strangers who say nothing keep nobody out, and of requests those go through that have one meaning."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.appliance import free_port, wait_until
from uploadkit.objectstore.bundled import s3_gate

DESCRIPTORS = 96
ASKED = b"GET / HTTP/1.1\r\n\r\n"


class Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        while said := self.request.recv(65536):
            self.request.sendall(said)


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
    said = home / "said"
    program = [sys.executable, "-I", str(Path(s3_gate.__file__)), str(port)]
    on_port = request.param == "a port"
    echoing = EchoServer(("127.0.0.1", 0), Echo) if on_port else EchoOnSocket(str(home / "s.sock"), Echo)
    with echoing as echo, said.open("wb") as error:
        threading.Thread(target=echo.serve_forever, daemon=True).start()
        target = str(echo.server_address[1]) if on_port else "s.sock"
        limited = ["sh", "-c", f'ulimit -n {DESCRIPTORS}; exec "$@"', "sh", *program, target, "127.0.0.1"]
        process = subprocess.Popen(limited, stdin=subprocess.DEVNULL, stderr=error, cwd=home)
        wait_until(lambda: answers(port), what="the gate")
        try:
            yield port, said
        finally:
            process.terminate()
            assert process.wait(30) == 0
            echo.shutdown()


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=20)


def says(connection: socket.socket) -> bool:
    connection.sendall(ASKED)
    return connection.recv(len(ASKED), socket.MSG_WAITALL) == ASKED


def answers(port: int) -> bool:
    with contextlib.suppress(OSError), connected(port) as connection:
        return says(connection)
    return False


def test_who_says_nothing_keeps_nobody_out(gated: tuple[int, Path]) -> None:
    port, said = gated
    with contextlib.ExitStack() as stack:
        at_work = stack.enter_context(connected(port))
        for number in range(3 * DESCRIPTORS):
            newest = stack.enter_context(connected(port))
            if number % 10 == 0:
                assert says(newest), "and all before it have been let in, so that no more than ten come between two words at work"
                assert says(at_work), "a connection on which something moves keeps its place"
        for _ in range(5):
            assert says(stack.enter_context(connected(port)))
    assert said.read_bytes() == b""
    assert answers(port)


def test_all_bytes_come_through_and_an_end_is_passed_on(gated: tuple[int, Path]) -> None:
    body = bytes(range(256)) * 20_000
    sent = b"PUT /a?b=%%20 HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body) + ASKED
    with connected(gated[0]) as connection:
        writing = threading.Thread(target=lambda: (connection.sendall(sent), connection.shutdown(socket.SHUT_WR)))
        writing.start()
        received = b"".join(iter(lambda: connection.recv(1 << 20), b""))
        writing.join()
    assert received == sent


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
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    assert received.startswith(b"HTTP/1.1 %d " % status)
    assert received.endswith(b"</Code></Error>")


def test_a_head_without_an_end_is_refused(gated: tuple[int, Path]) -> None:
    with connected(gated[0]) as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(b"GET / HTTP/1.1\r\nA: " + b"a" * 600_000)
        assert connection.recv(12) == b"HTTP/1.1 431"


def test_a_later_request_that_is_refused_ends_the_connection_without_a_word(gated: tuple[int, Path]) -> None:
    with connected(gated[0]) as connection:
        assert says(connection)
        connection.sendall(b"PUT /b/k?%zz;partNumber=x HTTP/1.1\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            assert connection.recv(65536) == b""


def test_what_stands_in_a_body_is_no_request(gated: tuple[int, Path]) -> None:
    body = b"PUT /b/k?%zz;partNumber=x HTTP/1.1\r\n\r\n"
    sent = b"PUT /a HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    with connected(gated[0]) as connection:
        connection.sendall(sent)
        assert connection.recv(len(sent), socket.MSG_WAITALL) == sent
        assert says(connection)
