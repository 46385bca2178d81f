"""Ports of the bundled store that somebody else takes while they are free: he is not taken for the store, and learns nothing."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.appliance import wait_until
from uploadkit.config import BundledConfig
from uploadkit.core.errors import StorageUnavailable
from uploadkit.objectstore.address import StoreAddress
from uploadkit.objectstore.bundled.engines import SeaweedFS, choose_base_port, find_weed
from uploadkit.objectstore.bundled.supervisor import BundledStore, StoreStartError
from uploadkit.objectstore.store import ObjectStore


def make_store(data: Path, port: int) -> BundledStore:
    settings = BundledConfig(port=port, engine="seaweedfs", max_disk_bytes=4 * 1024**3)
    return BundledStore(settings, data, listen_host="127.0.0.1", public_host="127.0.0.1")


@dataclass
class Squatter:
    """Takes ports as soon as they are free, and answers there as the store would: health, the master's page, no to forged writes."""

    base: int
    requests: list[bytes] = field(default_factory=list)
    held: set[int] = field(default_factory=set)
    _leaving: threading.Event = field(default_factory=threading.Event)

    def take(self, offset: int) -> None:
        """Wait for a port of the store's to be free, and answer on it until the squatter leaves."""
        while not self._leaving.is_set():
            with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", self.base + offset)) as listener:
                self.held.add(offset)
                listener.settimeout(0.05)
                while not self._leaving.is_set():
                    with contextlib.suppress(OSError):
                        self._answer(listener.accept()[0])
            time.sleep(0.0005)

    def take_once_the_master_is_up(self, offset: int) -> None:
        """Weed looks at all ports first, and takes S3's last."""
        while not self._leaving.wait(0.0005):
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.base + 4), timeout=1).close()
                self.take(offset)

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            connection.settimeout(1)
            text = connection.recv(65536)
            self.requests.append(text)
            page = b"127.0.0.1:%d" % (self.base + 6)
            status = b"403 Forbidden" if text.startswith(b"PUT") else b"200 OK"
            connection.sendall(b"HTTP/1.1 %b\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (status, len(page), page))

    def leave(self) -> None:
        self._leaving.set()


@contextlib.contextmanager
def squatting(base: int, offsets: tuple[int, ...] = (), after_the_master: tuple[int, ...] = ()) -> Iterator[Squatter]:
    squatter = Squatter(base)
    threads = [threading.Thread(target=squatter.take, args=(offset,)) for offset in offsets]
    threads += [threading.Thread(target=squatter.take_once_the_master_is_up, args=(offset,)) for offset in after_the_master]
    for thread in threads:
        thread.start()
    try:
        yield squatter
    finally:
        squatter.leave()
        for thread in threads:
            thread.join()


def test_who_takes_the_s3_port_while_the_store_starts_is_not_taken_for_it(tmp_path: Path) -> None:
    base = choose_base_port(SeaweedFS(find_weed(), tmp_path), 0, [0, 9])
    store = make_store(tmp_path / "data", base)
    with squatting(base, after_the_master=(9,)) as squatter:
        try:
            with pytest.raises(StoreStartError, match="did not come up"):
                store.start()
        finally:
            store.stop()
        assert squatter.held == {9}
        assert not [text for text in squatter.requests if b"AWS4" in text], "nothing that was signed goes to him"


def test_who_takes_ports_while_the_store_restarts_is_not_taken_for_it(tmp_path: Path) -> None:
    store = make_store(tmp_path / "data", 0)
    store.start()
    address = StoreAddress(store.endpoint, store.endpoint, store.region, "b", "path", store.access_key_id, store.secret_access_key)
    ours = ObjectStore(address, store.problem, store.outage)
    try:
        assert ours.presign_read("GET", "a", "text/plain", "inline", 60)
        with squatting(store.base, offsets=(0, 4)) as squatter:
            child = store._running._children[0][0]  # type: ignore[union-attr]
            child.send_signal(signal.SIGKILL)
            wait_until(lambda: squatter.held == {0, 4} and store.outage() is not None, what="both ports to be his")
            already = len(squatter.requests)
            # He answers all that is asked, with all that the store would say.
            wait_until(lambda: sum(text.startswith(b"GET / ") for text in squatter.requests[already:]) > 5, what="him to be asked")
            assert store.outage() is not None
            for sign in (
                lambda: ours.presign_read("GET", "a", "text/plain", "inline", 60),
                lambda: ours.presign_put("a", "text/plain", 1, 0, 60),
                lambda: ours.presign_part("a", "upload", 1, 1, 0, 60),
            ):
                with pytest.raises(StorageUnavailable):
                    sign()  # nobody is sent to him
        wait_until(lambda: store.outage() is None, what="the store to come back", seconds=60)
    finally:
        store.stop()


def test_what_the_appliance_says_to_its_store_goes_by_a_socket_that_nobody_else_can_have(tmp_path: Path) -> None:
    """Also where its path is longer than a socket's address may be."""
    data = tmp_path / ("long" * 30) / "data"
    data.parent.mkdir()
    store = make_store(data, 0)
    store.start()
    try:
        assert store.socket is not None
        with socket.create_server(("127.0.0.1", 0)) as squatted:
            elsewhere = f"http://127.0.0.1:{squatted.getsockname()[1]}"
            address = StoreAddress(
                elsewhere, elsewhere, store.region, store.bucket, "path", store.access_key_id, store.secret_access_key, socket=store.socket
            )
            ours = ObjectStore(address, timeout_seconds=5)
            ours.create_bucket()
            assert ours.head("nothing/there") is None
            ours.delete("nothing/there")
            squatted.settimeout(0.1)
            with pytest.raises(TimeoutError):
                squatted.accept()
        store.stop()
        with pytest.raises(StorageUnavailable, match="did not answer"):
            ours.head("nothing/there")
    finally:
        store.stop()
