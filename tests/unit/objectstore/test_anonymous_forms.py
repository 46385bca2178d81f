"""HTML forms that nobody signed, sent to the bundled store's public port: SeaweedFS reads a form whole before it asks who sends it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from uploadkit.config import BundledConfig
from uploadkit.core.sizes import MIB
from uploadkit.objectstore.bundled.supervisor import BundledStore

FORM_BYTES = 64 * MIB
HEAD = (
    b"POST /uploads HTTP/1.1\r\nHost: store\r\nConnection: close\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    b"Content-Length: %d\r\n\r\n--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n"
)  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def store(data: Path) -> Iterator[BundledStore]:
    made = BundledStore(
        BundledConfig(port=0, engine="seaweedfs", max_disk_bytes=4 * 1024**3), data, listen_host="127.0.0.1", public_host="127.0.0.1"
    )
    made.start()
    yield made
    made.stop()


def held_bytes(data: Path) -> int:
    held = 0
    for path in data.rglob("*"):
        with suppress(OSError):
            held += path.stat().st_size if path.is_file() else 0
    return held


def test_the_file_of_a_form_without_a_signature_never_reaches_the_disk(store: BundledStore, data: Path) -> None:
    address = urlsplit(store.endpoint)
    before, most, answer = held_bytes(data), 0, b""
    with socket.create_connection((address.hostname, address.port), timeout=30) as connection:
        connection.sendall(HEAD % (FORM_BYTES + len(HEAD.partition(b"\r\n\r\n")[2])))
        with suppress(ConnectionError):
            for _ in range(FORM_BYTES // (8 * MIB)):
                connection.sendall(b"a" * 8 * MIB)
                most = max(most, held_bytes(data))
        assert most - before < 8 * MIB
        with suppress(ConnectionError):
            answer = connection.recv(12)
    assert answer in (b"HTTP/1.1 400", b"HTTP/1.1 403", b"")
