"""The relay by itself: connections of strangers who say nothing keep nobody out."""

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
from uploadkit.objectstore.bundled import tcp_proxy

DESCRIPTORS = 96


class Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        while said := self.request.recv(65536):
            self.request.sendall(said)


class EchoServer(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 128


@pytest.fixture(scope="module")
def relayed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    """The port of a relay before an echo, which may have few descriptors, and what it writes to standard error."""
    said, port = tmp_path_factory.mktemp("relay") / "said", free_port()
    program = [sys.executable, "-I", str(Path(tcp_proxy.__file__)), "127.0.0.1", str(port)]
    with EchoServer(("127.0.0.1", 0), Echo) as echo, said.open("wb") as error:
        threading.Thread(target=echo.serve_forever, daemon=True).start()
        limited = ["sh", "-c", f'ulimit -n {DESCRIPTORS}; exec "$@"', "sh", *program, str(echo.server_address[1])]
        process = subprocess.Popen(limited, stdin=subprocess.DEVNULL, stderr=error)
        wait_until(lambda: answers(port), what="the relay")
        try:
            yield port, said
        finally:
            process.terminate()
            assert process.wait(30) == 0
            echo.shutdown()


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=20)


def says(connection: socket.socket) -> bool:
    connection.sendall(b"?")
    return connection.recv(1) == b"?"


def answers(port: int) -> bool:
    with contextlib.suppress(OSError), connected(port) as connection:
        return says(connection)
    return False


def test_who_says_nothing_keeps_nobody_out(relayed: tuple[int, Path]) -> None:
    port, said = relayed
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


def test_all_bytes_come_through_and_an_end_is_passed_on(relayed: tuple[int, Path]) -> None:
    sent = bytes(range(256)) * 20_000
    with connected(relayed[0]) as connection:
        writing = threading.Thread(target=lambda: (connection.sendall(sent), connection.shutdown(socket.SHUT_WR)))
        writing.start()
        received = b"".join(iter(lambda: connection.recv(1 << 20), b""))
        writing.join()
    assert received == sent
