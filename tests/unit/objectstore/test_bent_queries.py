"""Signed URLs of the bundled store with queries that SeaweedFS's signature check and its choice of what to do read in two ways.

Without the gate, `%zz;partNumber=x` in front of the query makes the URL of a part, which the file's own key stands in, a PUT of that key.
"""

from __future__ import annotations

import http.client
import socket
import socketserver
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import replace
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

import pytest

from uploadkit.config import BundledConfig, Config
from uploadkit.core import clock
from uploadkit.objectstore import doctor, unix_sockets
from uploadkit.objectstore.address import StoreAddress
from uploadkit.objectstore.bundled import internal_ports
from uploadkit.objectstore.bundled.supervisor import BundledStore
from uploadkit.objectstore.doctor import Expectations
from uploadkit.objectstore.store import ObjectStore

KEY, MIB, END = "project/route/file/film.mp4", 1024**2, b"the last part"
TURNS = (
    "partNumber=x",
    "partNumber=",
    "partNumber",
    "uploadId",
    "acl",
    "tagging",
    "retention",
    "legal-hold",
    "renameObject",
    "uploads",
    "attributes",
)
BENT = [f"{before}{turn}" for turn in TURNS for before in ("%zz;", "%;", "a;", ";", "a=%zz;", "a%00;", "%2;", "a&%g1;")]


@pytest.fixture(scope="module", params=["127.0.0.1", "0.0.0.0", "127.0.0.3"])
def bundled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BundledStore]:
    settings = BundledConfig(port=0, engine="seaweedfs", max_disk_bytes=4 * 1024**3)
    public = "127.0.0.3" if request.param == "127.0.0.3" else "127.0.0.1"
    made = BundledStore(settings, tmp_path_factory.mktemp("data"), listen_host=request.param, public_host=public)
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def store(bundled: BundledStore) -> ObjectStore:
    keys = (bundled.access_key_id, bundled.secret_access_key)
    address = StoreAddress(bundled.endpoint, bundled.public_endpoint, bundled.region, bundled.bucket, "path", *keys, socket=bundled.socket)
    made = ObjectStore(address)
    made.create_bucket()
    return made


def answer(method: str, url: str, body: bytes = b"", headers: Mapping[str, str] = MappingProxyType({})) -> int:
    """Ask for exactly this URL: other clients correct queries that can't be decoded."""
    parts = urlsplit(url)
    assert parts.hostname
    with closing(http.client.HTTPConnection(parts.hostname, parts.port, timeout=20)) as connection:
        connection.putrequest(method, f"{parts.path}?{parts.query}")
        of_body = {"Content-Type": "text/html", "Content-Length": str(len(body))} if body else {}
        for name, value in {**of_body, **headers}.items():
            connection.putheader(name, value)
        connection.endheaders(body)
        return connection.getresponse().status


@pytest.fixture(scope="module")
def part_url(store: ObjectStore) -> str:
    """The URL of the second and last part of a file that is complete."""
    upload_id, first = store.create_multipart(KEY, "video/mp4", "inline"), b"a" * 5 * MIB
    now = clock.now_ms()
    urls = [store.presign_part(KEY, upload_id, number, len(body), now, 3600) for number, body in ((1, first), (2, END))]
    assert [answer("PUT", url, body) for url, body in zip(urls, (first, END), strict=True)] == [200, 200]
    parts = store.list_parts(KEY, upload_id)
    assert parts is not None
    assert store.complete_multipart(KEY, upload_id, len(first + END), [(part.number, part.etag) for part in parts])
    return urls[1]


def answers(method: str, url: str, body: bytes = b"") -> dict[str, int]:
    """What comes of a URL with each of the turns, before what it was signed with and behind it."""
    bent = {turn: (url.replace("?", f"?{turn}&", 1), f"{url}&{turn}") for turn in BENT}
    return {turn: max(answer(method, each, body) for each in urls) for turn, urls in bent.items()}


def test_the_url_of_a_part_stays_one(store: ObjectStore, part_url: str) -> None:
    before = store.head(KEY)
    assert answers("PUT", part_url, b"x" * len(END)) == dict.fromkeys(BENT, 400)
    assert store.head(KEY) == before


def test_urls_to_upload_and_to_read_stay_what_they_are(store: ObjectStore) -> None:
    upload = store.presign_put("pending/a", "text/html", len(END), clock.now_ms(), 3600)
    assert answer("PUT", upload, END) == 200
    assert answers("PUT", upload, END) == dict.fromkeys(BENT, 400)
    read = store.presign_read("GET", "pending/a", "text/plain", None, 3600)
    assert answer("GET", read) == 200
    assert answers("GET", read) == dict.fromkeys(BENT, 400)


def test_a_url_is_for_one_path_whatever_was_before_it(store: ObjectStore) -> None:
    """SeaweedFS puts that header before the path when it checks the signature."""
    upload = store.presign_put("project/uploads/file/a", "text/html", len(END), clock.now_ms(), 3600)
    elsewhere = upload.replace("/uploads/project/uploads/", "/uploads/", 1)
    assert answer("PUT", elsewhere, END, {"X-Forwarded-Prefix": "/uploads/project"}) == 400
    assert store.head("file/a") is None
    assert answer("PUT", upload, END) == 200


def test_the_engines_own_port_speaks_to_nobody_without_its_certificate(bundled: BundledStore, store: ObjectStore, part_url: str) -> None:
    port = bundled.base + 9
    asked = part_url.replace("?", "?%zz;partNumber=x&", 1)
    host = urlsplit(asked).netloc
    head = f"PUT {asked.partition(host)[2]} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(END)}\r\nConnection: close\r\n\r\n".encode()
    before = store.head(KEY)
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(head + END)
        text = b"".join(iter(lambda: connection.recv(65536), b""))
    assert b"HTTP request to an HTTPS server" in text
    assert store.head(KEY) == before
    assert internal_ports.accepted_untrusted_client(port) is None


def test_a_refusal_in_the_midst_of_a_large_upload_is_read(store: ObjectStore) -> None:
    """The engine answers before all has come, and hangs up."""
    url = store.presign_put("pending/refused", "text/html", 64 * MIB, clock.now_ms(), 3600)
    assert answer("PUT", url[:-1] + ("0" if url[-1] != "0" else "1"), b"a" * 64 * MIB) == 403


def test_a_later_request_on_a_connection_is_refused_in_words(store: ObjectStore, part_url: str) -> None:
    before, parts = store.head(KEY), urlsplit(part_url)
    assert parts.hostname
    with closing(http.client.HTTPConnection(parts.hostname, parts.port, timeout=20)) as connection:
        read = urlsplit(store.presign_read("GET", KEY, "video/mp4", None, 3600))
        connection.request("GET", f"{read.path}?{read.query}")
        assert len(connection.getresponse().read()) == 5 * MIB + len(END)
        connection.request("PUT", f"{parts.path}?%zz;partNumber=x&{parts.query}", b"x" * len(END))
        assert connection.getresponse().status == 403
    assert store.head(KEY) == before


# A SeaweedFS of one's own, which has no gate.


class _Carrier(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        server: Any = self.server
        with unix_sockets.connected(server.engine_socket, 20) as engine:
            back = threading.Thread(target=self._carry, args=(engine, self.request, b"HTTP/0.9"))
            back.start()
            self._carry(self.request, engine, server.refuses)
            back.join()

    def _carry(self, source: socket.socket, target: socket.socket, refuses: bytes) -> None:
        with suppress(OSError):
            while text := source.recv(65536):
                if refuses in text:
                    source.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                    break
                target.sendall(text)
            target.shutdown(socket.SHUT_WR)


class _Way(socketserver.ThreadingTCPServer):
    daemon_threads = True


@pytest.mark.parametrize("refuses", [b"nothing", b"%zz"])
def test_a_store_without_a_gate_is_found_unsafe(bundled: BundledStore, store: ObjectStore, refuses: bytes) -> None:
    """Also where a proxy refuses the one way; the other is the header."""
    expected = replace(Expectations.of(Config()), section="storage.byos")
    assert bundled.socket is not None
    with _Way(("127.0.0.1", 0), _Carrier) as way:
        way.engine_socket, way.refuses = bundled.socket, refuses  # type: ignore[attr-defined]
        threading.Thread(target=way.serve_forever, daemon=True).start()
        past_the_gate = f"http://127.0.0.1:{way.server_address[1]}"
        open_store = ObjectStore(replace(store.address, endpoint=past_the_gate, public_endpoint=past_the_gate, socket=None))
        found = doctor.safety(open_store, expected, seconds=60)
        way.shutdown()
    assert [(finding.name, finding.outcome) for finding in found.findings] == [("bent-query", "failed")]
    assert "bent-query" in doctor.UNSAFE
    behind = ObjectStore(replace(store.address, socket=None))
    assert not doctor.safety(behind, expected, seconds=60).findings
    assert not [key for key in store.ask("list_objects_v2").get("Contents", []) if "doctor-" in key["Key"]]
