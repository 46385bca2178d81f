"""The HTTP server by itself, under an application that is not ours."""

from __future__ import annotations

import logging
import socket
import struct
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import pairwise
from typing import Any

import psutil
import pytest
import urllib3
import waitress.server

from tests.support.appliance import free_port, wait_until
from uploadkit.config import ServerConfig
from uploadkit.core.errors import ConfigError
from uploadkit.server import connections, waitress_server
from uploadkit.server.turns import Turns
from uploadkit.server.waitress_server import bound_socket, running_server

# waitress means to take this setting away one day; the pin ~=3.0.2 holds until there is another way.
pytestmark = pytest.mark.filterwarnings("ignore:send_bytes will be removed:DeprecationWarning")


def test_an_application_that_breaks_down(caplog: pytest.LogCaptureFixture) -> None:
    def break_down(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        raise RuntimeError("hush")

    server = ServerConfig(port=free_port(), threads=1)
    with bound_socket(server) as listener, running_server(break_down, server, listener), urllib3.PoolManager(retries=False) as http:
        answer = http.request("GET", server.base_url)
        assert (answer.status, answer.json()["error"]["code"]) == (500, "INTERNAL_SERVER_ERROR")
        assert b"hush" not in answer.data
        assert http.request("GET", server.base_url).status == 500, "the server goes on"
    assert "hush" in caplog.text


def test_a_port_that_is_taken() -> None:
    server = ServerConfig(port=free_port())
    with bound_socket(server) as listener:
        listener.listen()
        with pytest.raises(ConfigError, match=r"server\.port: .* in use"), bound_socket(server):
            pass


def test_requests_in_flight_are_finished() -> None:
    arrived, go_on = threading.Event(), threading.Event()

    def slow(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        arrived.set()
        go_on.wait(30)
        start_response("200 OK", [("Content-Length", "2")])
        return [b"ok"]

    answers: list[bytes] = []
    server = ServerConfig(port=free_port(), threads=1)
    with urllib3.PoolManager(retries=False) as http:
        client = threading.Thread(target=lambda: answers.append(http.request("GET", server.base_url).data))
        with bound_socket(server) as listener, running_server(slow, server, listener):
            client.start()
            assert arrived.wait(30)
            threading.Timer(0.5, go_on.set).start()
        client.join(30)
    assert answers == [b"ok"]


LARGE = b"x" * 6 * 1024**2  # more than the system takes in for a client that does not read
REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
MANY = 10  # in one piece of 8 KiB, as the server reads them


@pytest.mark.parametrize("fails", [False, True])
def test_what_is_logged_of_a_broken_connection_has_no_token(caplog: pytest.LogCaptureFixture, *, fails: bool) -> None:
    """A person closes the page: waitress writes down the whole path."""
    caplog.set_level(logging.INFO)
    begun, gone = threading.Event(), threading.Event()

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        begun.set()
        gone.wait(30)
        if fails:
            raise RuntimeError("hush")
        start_response("200 OK", [])
        return [b"x" * 1024**2] * 20

    server = ServerConfig(port=free_port(), threads=1)
    token = "ukt_" + "s3cret" * 5 + "xy"
    with waitress_server.bound_socket(server) as listener, running_server(answer, server, listener):
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.sendall(f"GET /api/uploadkit/t/{token}/default{'x' * 5000} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            assert begun.wait(30)
        gone.set()
        wait_until(lambda: "while serving" in caplog.text, 30)
    (line,) = (record.getMessage() for record in caplog.records if "while serving" in record.getMessage())
    assert "/t/ukt_.../default" in line
    assert token not in caplog.text
    assert len(line) < 2000


class LargeAnswers:
    """An application whose answers are large; counts them."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        self.count += 1
        start_response("200 OK", [("Content-Length", str(len(LARGE)))])
        return [LARGE]


@contextmanager
def serving_large_answers() -> Iterator[tuple[LargeAnswers, ServerConfig]]:
    """One thread: who holds it holds everything."""
    app, server = LargeAnswers(), ServerConfig(port=free_port(), threads=1)
    with waitress_server.bound_socket(server) as listener, running_server(app, server, listener):
        yield app, server


def deaf(server: ServerConfig) -> socket.socket:
    """A connection whose client hardly lets the network take anything in for it."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(30)
    client.connect(("127.0.0.1", server.port))
    return client


def read_answers(client: socket.socket, count: int) -> int:
    """Read so many answers; return how many bytes of body they had."""
    bodies = 0
    with client.makefile("rb") as answers:
        for _ in range(count):
            assert answers.readline().startswith(b"HTTP/1.1 200")
            while answers.readline().strip():
                pass
            bodies += len(answers.read(len(LARGE)))
    return bodies


def test_who_asks_a_lot_at_once_and_reads_nothing_holds_no_thread() -> None:
    with serving_large_answers() as (app, server), ExitStack() as stack:
        clients = [stack.enter_context(deaf(server)) for _ in range(4)]
        for client in clients:
            client.sendall(REQUEST * MANY)
        wait_until(lambda: app.count >= len(clients), 30)
        with urllib3.PoolManager(retries=False, timeout=20) as http:
            for _ in range(3):
                assert http.request("GET", server.base_url).data == LARGE
        assert app.count <= 3 + 2 * len(clients), "nobody's next answer is made while they have not read the last one"
        assert read_answers(clients[0], MANY) == MANY * len(LARGE), "who does read gets all of them"


def test_who_reads_nothing_is_dropped_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "_LONGEST_ANSWER_SECONDS", 2)
    monkeypatch.setattr(waitress_server, "_CLEANUP_SECONDS", 1)
    with serving_large_answers() as (app, server), deaf(server) as many, deaf(server) as one, deaf(server) as lively:
        many.sendall(REQUEST * MANY)
        one.sendall(REQUEST)
        lively.sendall(REQUEST)

        def is_dropped() -> bool:
            """It reads, but would take hours."""
            try:
                return not (lively.recv(10) and lively.send(b"G"))
            except OSError:
                return True

        wait_until(is_dropped, 20)
        for client in (many, one):
            with suppress(OSError):
                assert sum(len(piece) for piece in iter(lambda client=client: client.recv(65536), b"")) < 2 * len(LARGE)
        assert app.count <= 3


def test_who_reads_nothing_makes_room_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "MOST_CONNECTIONS", 26)
    with serving_large_answers() as (app, server), ExitStack() as stack:
        for number in range(20):
            stack.enter_context(deaf(server)).sendall(REQUEST)
            wait_until(lambda number=number: app.count > number, 30)
        for _ in range(20):  # as many as there are places, and some more
            client = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=10))
            client.sendall(REQUEST)
            assert read_answers(client, 1) == len(LARGE)


def test_clients_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks for thirty things at once does not have all others wait until they are made."""
    queues: list[Turns] = []
    served: list[str] = []
    go_on = threading.Event()

    class Watched(Turns):
        def __init__(self) -> None:
            super().__init__()
            queues.append(self)

    def note(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        served.append(environ.get("HTTP_X_API_KEY") or environ.get("HTTP_AUTHORIZATION") or "nobody")
        go_on.wait(30)
        start_response("200 OK", [("Content-Length", "0")])
        return [b""]

    monkeypatch.setattr(waitress_server, "Turns", Watched)
    server = ServerConfig(port=free_port(), threads=1)
    asked = ["x-api-key: a"] * 30 + ["x-api-key: b"] * 2 + ["Authorization: Bearer c", "x-other: d"]
    with bound_socket(server) as listener, running_server(note, server, listener), ExitStack() as stack:
        clients = []
        for number, header in enumerate(asked):
            clients.append(stack.enter_context(deaf(server)))
            clients[-1].sendall(f"GET / HTTP/1.1\r\nHost: a\r\n{header}\r\n\r\n".encode())
            wait_until(lambda number=number: len(served) + len(queues[0]) == number + 1, 30)
        go_on.set()
        for client in clients:
            assert client.recv(12) == b"HTTP/1.1 200"
    assert served == ["a", "a", "b", "Bearer c", "nobody", "a", "b", *["a"] * 27]
    assert len(queues[0]) == 0
    with pytest.raises(IndexError):
        queues[0].popleft()


def test_answers_that_nobody_reads_take_little_memory() -> None:
    """A megabyte of each of a thousand connections would be a gigabyte."""
    answer, many = bytes(900 * 1024), 200
    made: list[int] = []

    def large(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Length", str(len(answer)))])
        made.append(1)
        return [answer]

    server = ServerConfig(port=free_port(), threads=2)
    with bound_socket(server) as listener, running_server(large, server, listener), ExitStack() as stack:
        before = psutil.Process().memory_info().rss
        for _ in range(many):
            client = stack.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(("127.0.0.1", server.port))
            client.sendall(REQUEST)
        wait_until(lambda: len(made) == many, 60)
        taken = psutil.Process().memory_info().rss - before
    assert taken < 300 * 1024 * many, f"{taken // many} bytes each"


def test_bodies_that_do_not_come_to_their_end_have_a_bound_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """They wait in temporary files: a thousand of a megabyte were a gigabyte."""
    monkeypatch.setattr(waitress_server, "_MOST_BODIES", 4)
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n"
    app, server = LargeAnswers(), ServerConfig(port=free_port(), threads=1, max_body_bytes=200_000)
    with waitress_server.bound_socket(server) as listener, running_server(app, server, listener), ExitStack() as stack:
        clients = []
        for _ in range(10):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=20))
            client.sendall(head + b"x" * 199_999)
            clients.append(client)
        first_closed = clients[0].recv(1)
        assert first_closed == b"", "those that came first had to go"
        clients[-1].sendall(b"x")
        assert read_answers(clients[-1], 1) == len(LARGE)
        closed = 0
        for client in clients[:-1]:
            client.setblocking(False)
            with suppress(BlockingIOError):
                closed += client.recv(1) == b""
        assert closed >= 5


def test_very_many_short_bodies_make_room_for_a_long_one(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """One after the other: each of them frees next to nothing."""
    monkeypatch.setattr(waitress_server, "_MOST_BODIES", 2)
    body = 100_000
    app, server = LargeAnswers(), ServerConfig(port=free_port(), threads=1, max_body_bytes=body)
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % body
    with waitress_server.bound_socket(server) as listener, running_server(app, server, listener), ExitStack() as stack:
        clients = [stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=20)) for _ in range(902)]
        for client in clients[:-2]:
            client.sendall(head + b"x")
        for client in clients[-2:]:
            client.sendall(head + b"x" * (body - 1))
        assert clients[0].recv(1) == b"", "those that came first had to go"
        last = clients[-1]
        last.sendall(b"x")
        assert read_answers(last, 1) == len(LARGE)
        for _ in range(3):  # nothing is counted that is gone
            client = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=20))
            client.sendall(head + b"x" * body)
            assert read_answers(client, 1) == len(LARGE)
    assert "exception" not in caplog.text


def test_what_arrives_is_counted_as_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixteen megabytes on a hundred connections took eleven seconds, in which nobody else was heard: each packet had all looked at."""
    looks = 0
    kept = connections.Channel.arriving_bytes

    def counted(channel: connections.Channel) -> int:
        nonlocal looks
        looks += 1
        return int(kept.fget(channel))  # type: ignore[misc]

    monkeypatch.setattr(connections.Channel, "arriving_bytes", property(counted))
    packets, body = 10, 400_000
    app, server = LargeAnswers(), ServerConfig(port=free_port(), threads=1, max_body_bytes=body)
    with waitress_server.bound_socket(server) as listener, running_server(app, server, listener), ExitStack() as stack:
        clients = [stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=20)) for _ in range(50)]
        for client in clients:
            client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % body + b"x" * 80_000)
        for _ in range(packets):
            for client in clients:
                client.sendall(b"x" * 8192)
        clients[0].sendall(b"x" * (body - 80_000 - packets * 8192))
        assert read_answers(clients[0], 1) == len(LARGE)
    assert looks < 50 * body / 1000, "far from 50 for each of a thousand packets"


def test_connections_are_taken_in_several_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """All connections are looked at in between, which takes a millisecond or two where there are a thousand."""
    seen: list[int] = []
    readable = waitress.server.BaseWSGIServer.readable

    def noted(wsgi: Any) -> Any:
        seen.append(len(wsgi.active_channels))
        return readable(wsgi)

    monkeypatch.setattr(waitress.server.BaseWSGIServer, "readable", noted)
    app, server = LargeAnswers(), ServerConfig(port=free_port(), threads=1)
    with waitress_server.bound_socket(server) as listener, ExitStack() as stack:
        for _ in range(64):
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=20))
        with running_server(app, server, listener):
            wait_until(lambda: max(seen, default=0) == 64, 20)
    assert max(after - before for before, after in pairwise(seen)) > 4


@pytest.mark.skipif(not socket.has_ipv6, reason="needs IPv6")
def test_nobody_else_takes_the_port_on_the_address_beside_ours(caplog: pytest.LogCaptureFixture) -> None:
    """A browser that is asked for http://localhost:8080 tries ::1 first."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("there is no ::1 here")
    server = ServerConfig(host="127.0.0.1", port=free_port())
    with bound_socket(server):
        with pytest.raises(OSError, match="in use"):
            socket.create_server(("::1", server.port), family=socket.AF_INET6)  # sets SO_REUSEADDR
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("::1", server.port), timeout=5)
        assert not caplog.records
    with socket.create_server(("::1", server.port), family=socket.AF_INET6), bound_socket(server):
        assert "another program has port" in caplog.text
