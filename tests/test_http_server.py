"""The HTTP server by itself, under an application that is not ours."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any

import pytest
import urllib3

from tests.appliance import free_port
from uploadkit.config import ServerConfig
from uploadkit.errors import ConfigError
from uploadkit.http_server import bound_socket, running_server

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
