"""A proxy on the way to a store."""

from __future__ import annotations

import base64
import http.client
import select
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


@dataclass
class ForwardProxy:
    """A proxy as companies have them, and whom its clients asked it for. Every name leads to `target` (host:port), but for `others`."""

    target: str
    port: int = 0
    asked_for: set[str] = field(default_factory=set)


@contextmanager
def forwarding(target: str, others: Mapping[str, str] | None = None) -> Iterator[ForwardProxy]:
    """Run a proxy that wants a name and a password: anna and p@ss. `others` are the targets of some names (host:port)."""
    proxy = ForwardProxy(target)
    expected = "Basic " + base64.b64encode(b"anna:p@ss").decode()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def is_known(self, asked_for: str) -> bool:
            if self.headers.get("Proxy-Authorization") != expected:
                self.close_connection = True
                self.send_error(407)
                return False
            proxy.asked_for.add(asked_for)
            return True

        def do_CONNECT(self) -> None:
            self.close_connection = True
            if self.is_known(f"CONNECT {self.path}"):
                host, _, port = target.partition(":")
                with socket.create_connection((host, int(port))) as far, suppress(OSError):
                    self.send_response_only(200)
                    self.end_headers()
                    carry(self.connection, far)

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            parts = urlsplit(self.path)
            if self.is_known(f"{parts.scheme}://{parts.netloc}"):
                connection = http.client.HTTPConnection((others or {}).get(parts.netloc, target), timeout=60)
                headers = {name: value for name, value in self.headers.items() if not name.lower().startswith("proxy-")}
                connection.request(self.command, self.path.removeprefix(f"{parts.scheme}://{parts.netloc}"), body, headers)
                answer = connection.getresponse()
                content = answer.read()
                self.send_response_only(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                        self.send_header(name, value)
                if answer.status != 204:
                    self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
                connection.close()

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_OPTIONS = answer  # noqa: N815

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

    server = Server(("127.0.0.1", 0), Handler)
    proxy.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def carry(one: socket.socket, other: socket.socket) -> None:
    """Carry bytes both ways until one side ends."""
    while True:
        waited_for = select.select([one, other], [], [], 60)[0]
        if not waited_for:
            return
        for ready in waited_for:
            data = ready.recv(65536)
            if not data:
                return
            (other if ready is one else one).sendall(data)
