"""A real webhook receiver on loopback, as tests want it to behave. Imports nothing of the product."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Received:
    """One request as it came."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    at: float

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Answer = Callable[["Handler", Received], None]


def ok(handler: Handler, received: Received) -> None:
    handler.reply(200, b"ok")


def answering(status: int, **headers: str) -> Answer:
    """Answer always so; `_` in a header's name stands for `-`."""
    return lambda handler, received: handler.reply(status, b"answer", {name.replace("_", "-"): value for name, value in headers.items()})


class Handler(BaseHTTPRequestHandler):
    receiver: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        received = Received(self.path, dict(self.headers.items()), body, time.time())
        self.receiver.received.append(received)
        with contextlib.suppress(OSError):  # the appliance may have gone away
            self.receiver.answer(self, received)

    def reply(self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Receiver:
    """What it got, and how it answers; both may be changed while it runs."""

    def __init__(self, answer: Answer = ok) -> None:
        self.answer = answer
        self.received: list[Received] = []
        self.over = threading.Event()
        handler = type("BoundHandler", (Handler,), {"receiver": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.server.block_on_close = False
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hook"

    @property
    def ids(self) -> list[str]:
        return [received.headers["webhook-id"] for received in self.received]

    def hang(self, handler: Handler, received: Received) -> None:
        """Answer nothing until the test is over."""
        self.over.wait(60)


@contextlib.contextmanager
def receiving(answer: Answer = ok) -> Iterator[Receiver]:
    """A receiver that is stopped at the end."""
    receiver = Receiver(answer)
    thread = threading.Thread(target=receiver.server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield receiver
    finally:
        receiver.over.set()
        receiver.server.shutdown()
        thread.join()
        receiver.server.server_close()
