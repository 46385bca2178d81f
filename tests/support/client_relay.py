"""The Python client in front of an appliance whose answers a test can replace."""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import urllib3

from tests.support.appliance import JPEG, Appliance
from uploadkit.client import (
    Client,
)

PART_SIZE = 5 * 1024 * 1024


BIG = 4 * PART_SIZE + 12345


HttpAnswer = tuple[int, dict[str, str], bytes]


Reply = HttpAnswer | str | None  # "hang up", or None: pass it on


@dataclass(frozen=True)
class Call:
    """One request to the API as it arrived at the relay."""

    name: str
    headers: dict[str, str]
    body: dict[str, Any]
    at: float


class Relay:
    """Stands before a real appliance and its store. `on_api(path)` and `on_put(part number)` may answer in their place, or wait."""

    def __init__(self, appliance: Appliance) -> None:
        self.appliance = appliance
        self.calls: list[Call] = []
        self.store_headers: list[dict[str, str]] = []
        self.stored: Counter[int] = Counter()
        self.etags = True
        self.on_api: Callable[[str], Reply] = lambda path: None
        self.on_put: Callable[[int], Reply] = lambda number: None
        self._issue = self._oldest_valid_issue = 0
        self._store_origin = ""
        self._lock = threading.Lock()
        self._http = urllib3.PoolManager(maxsize=16, retries=False)
        self._servers = [self._serve(self._pass_api), self._serve(self._pass_store)]
        self.url, self._store_url = (f"http://127.0.0.1:{server.server_port}" for server in self._servers)

    def close(self) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()
        self._http.clear()

    def expire_urls(self) -> None:
        """From now on the store refuses every URL that has been issued so far."""
        with self._lock:
            self._issue += 1
            self._oldest_valid_issue = self._issue

    def named(self, name: str) -> list[Call]:
        return [call for call in self.calls if call.name == name]

    def _serve(self, handle: Callable[[BaseHTTPRequestHandler, bytes], HttpAnswer | str]) -> ThreadingHTTPServer:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                reported = handle(self, self.rfile.read(int(self.headers.get("Content-Length", 0))))
                if isinstance(reported, str):
                    self.close_connection = True
                    return
                status, headers, body = reported
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815 (the names that http.server calls)

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                pass  # a client that is killed hangs up

        server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return server

    def _pass_api(self, request: BaseHTTPRequestHandler, raw: bytes) -> HttpAnswer | str:
        path = urlsplit(request.path).path.removeprefix("/api/v1")
        headers = {name.lower(): value for name, value in request.headers.items()}
        with self._lock:
            self.calls.append(Call(f"{request.command} {path}", headers, json.loads(raw or b"{}"), time.monotonic()))
            issue = self._issue
        reported = self.on_api(path)
        if reported is not None:
            return reported
        sent: dict[str, str] = {name: headers[name] for name in ("x-api-key", "content-type", "idempotency-key") if name in headers}
        answer = self._http.request(request.command, self.appliance.base + request.path, body=raw or None, headers=sent)
        body = answer.json()
        for slot in (body, *body.get("parts", ())):
            if "uploadUrl" in slot:
                self._store_origin, _, rest = slot["uploadUrl"].partition("/u")
                slot["uploadUrl"] = f"{self._store_url}/u{rest}&relay={issue}"
        return answer.status, {"Content-Type": "application/json"}, json.dumps(body).encode()

    def _pass_store(self, request: BaseHTTPRequestHandler, raw: bytes) -> HttpAnswer | str:
        number = int(parse_qs(urlsplit(request.path).query).get("partNumber", ["0"])[0])
        headers = {name.lower(): value for name, value in request.headers.items()}
        path, _, issue = request.path.rpartition("&relay=")
        with self._lock:
            self.store_headers.append(headers)
        reported = self.on_put(number)
        if reported is not None:
            return reported
        if int(issue) < self._oldest_valid_issue:
            return 403, {}, b"<Error><Code>AccessDenied</Code><AWSAccessKeyId>AKIASECRET</AWSAccessKeyId></Error>"
        sent = {"Content-Type": headers["content-type"]} if "content-type" in headers else {}
        answer = self._http.request("PUT", self._store_origin + path, body=raw, headers=sent)
        with self._lock:
            self.stored[number] += answer.status == 200
        etag = answer.headers.get("ETag")
        return answer.status, {"ETag": etag} if etag and self.etags else {}, answer.data


def error(status: int, code: str, message: str, suggestion: str | None = None, **headers: str) -> HttpAnswer:
    body = {"error": {"code": code, "message": message, **({"suggestion": suggestion} if suggestion else {})}}
    reported = {"Content-Type": "application/json", "X-Request-Id": "req-7", **{k.replace("_", "-"): v for k, v in headers.items()}}
    return status, reported, json.dumps(body).encode()


@pytest.fixture
def relay(appliance: Appliance) -> Iterator[Relay]:
    relay = Relay(appliance)
    yield relay
    relay.close()


@pytest.fixture
def client(relay: Relay) -> Iterator[Client]:
    with Client(relay.url, relay.appliance.key, timeout_seconds=30, retry_seconds=30) as client:
        yield client


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "photo.jpg"
    path.write_bytes(JPEG + b"x" * 1000)
    return path


@pytest.fixture
def big(tmp_path: Path) -> Path:
    path = tmp_path / "film.bin"
    path.write_bytes(random.Random(1).randbytes(BIG))
    return path
