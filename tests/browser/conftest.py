"""Three origins, as in real life: a page, the appliance, and a store whose requests are counted and can be held up."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.support.appliance import Appliance, running
from tests.support.browsers import browser, browser_context, page, watched
from tests.support.store_proxy import Answered, Asked, proxied
from tests.support.stores import byos_settings, started_store
from uploadkit.core.sizes import MIB

__all__ = ["browser", "browser_context", "page", "watched"]

PARALLEL_PARTS = 4


@dataclass(frozen=True)
class Put:
    """Bytes that arrived at the store; `part` is None for a file in one piece."""

    part: int | None
    size: int
    status: int


@dataclass
class Traffic:
    """What browsers send to the store, noted as it is answered.

    After `hold_after(n)` only n more PUTs are let through; the others wait until `release()` and are lost then. After `delay(seconds)` each
    is taken at once and passed on so much later, as a proxy that buffers does.
    """

    puts: list[Put] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _left: int | None = None
    _delay_seconds: float = 0
    _waiting: int = 0
    _released: threading.Event = field(default_factory=threading.Event)

    def hold_after(self, puts: int) -> None:
        self._left, self._released = puts, threading.Event()

    def delay(self, seconds: float) -> None:
        self._delay_seconds = seconds

    def release(self) -> None:
        self._left, self._delay_seconds = None, 0
        self._released.set()

    @property
    def is_holding(self) -> bool:
        """Whether all PUTs that the page sends at once wait: then it has had the answers to all others."""
        return self._waiting == PARALLEL_PARTS

    @property
    def waiting(self) -> int:
        """How many wait: that many uploads are known to their pages."""
        return self._waiting

    @property
    def is_free(self) -> bool:
        """Whether none waits."""
        return self._waiting == 0

    def rule(self, asked: Asked, pass_on: Callable[[Asked], Answered]) -> Answered:
        if asked.method != "PUT" or asked.is_copy or "X-Amz-Signature" not in asked.query:
            return pass_on(asked)
        with self._lock:
            held, released = self._left == 0, self._released
            if self._left:
                self._left -= 1
            self._waiting += held
        if held:
            released.wait(60)
            answered = Answered.error(503, "SlowDown")
        else:
            threading.Event().wait(self._delay_seconds)
            answered = pass_on(asked)
        with self._lock:
            self._waiting -= held
            number = asked.query.get("partNumber")
            self.puts.append(Put(int(number[0]) if number else None, len(asked.body), answered.status))
        return answered

    def parts_stored(self) -> list[int]:
        """The numbers of the parts that the store has confirmed, in the order of their arrival."""
        return [put.part for put in self.puts if put.part is not None and put.status == 200]

    def bytes_received(self) -> int:
        return sum(put.size for put in self.puts)


@pytest.fixture(scope="session")
def traffic_of_all() -> Traffic:
    return Traffic()


@pytest.fixture
def traffic(traffic_of_all: Traffic) -> Iterator[Traffic]:
    """What browsers send to the store during this test."""
    traffic_of_all.puts.clear()
    yield traffic_of_all
    traffic_of_all.release()


@pytest.fixture(scope="session")
def behind_traffic(tmp_path_factory: pytest.TempPathFactory, traffic_of_all: Traffic) -> Iterator[dict[str, str]]:
    """The settings of an appliance whose store is behind `traffic`."""
    with (
        started_store(tmp_path_factory.mktemp("store-of-pages")) as other,
        proxied(other.address, traffic_of_all.rule) as address,
    ):
        yield byos_settings(address)


@pytest.fixture(scope="session")
def appliance(tmp_path_factory: pytest.TempPathFactory, behind_traffic: dict[str, str]) -> Iterator[Appliance]:
    with running(tmp_path_factory.mktemp("appliance-of-pages"), **behind_traffic) as started:
        yield started


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder over HTTP on a port of its own; yield its address."""

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder))) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def endpoint(appliance: Appliance, **more: object) -> str:
    """The endpoint of a new upload token, as a page gets it from its backend."""
    answer = appliance.call("POST", "/upload-tokens", {"routeSlug": "default", "maxFiles": 10, **more})
    assert answer.status == 201, answer.body
    return str(answer.json["endpoint"])


@pytest.fixture(scope="session")
def big_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 MiB and a bit, in 13 parts, no two of them alike."""
    path = tmp_path_factory.mktemp("files") / "holiday.bin"
    path.write_bytes(b"".join(bytes([number]) * MIB for number in range(60)) + b"end")
    return path
