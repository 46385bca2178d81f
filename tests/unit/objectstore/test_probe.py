"""However many ask whether the store answers, one probe is under way."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.conftest import App
from tests.support.clock import travelled_to
from uploadkit.core.errors import StorageUnavailable
from uploadkit.objectstore.probe import StoreWatch


class SlowStore:
    """A store that answers when it is told to, and counts how often it was asked."""

    def __init__(self) -> None:
        self.asked, self.may_answer, self.failure = 0, threading.Event(), None
        self.was_asked = threading.Event()

    def probe(self) -> None:
        self.asked += 1
        self.was_asked.set()
        assert self.may_answer.wait(30)
        if self.failure:
            raise StorageUnavailable(self.failure)


def test_many_wait_for_one_answer() -> None:
    store = SlowStore()
    watch = StoreWatch(store)  # type: ignore[arg-type]
    with ThreadPoolExecutor(20) as pool:
        asked = [pool.submit(watch.failure) for _ in range(20)]
        assert store.was_asked.wait(30)
        store.may_answer.set()
        assert [future.result(30) for future in asked] == [None] * 20
    assert store.asked == 1


def test_nobody_waits_for_a_store_that_hangs_once_it_has_answered() -> None:
    store = SlowStore()
    watch = StoreWatch(store)  # type: ignore[arg-type]
    store.may_answer.set()
    with travelled_to(1_000_000) as advance:
        assert watch.failure() is None
        store.may_answer.clear()
        store.was_asked.clear()
        store.failure = "away"
        advance(2_000)
        with ThreadPoolExecutor(1) as pool:
            prober = pool.submit(watch.failure)
            assert store.was_asked.wait(30)
            assert watch.failure() is None, "the answer of two seconds ago, at once"
            store.may_answer.set()
            assert prober.result(30) == "away"
        assert watch.failure() == "away"
    assert store.asked == 2


def test_an_answer_is_asked_for_anew_after_a_second(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    with travelled_to(1_000_000) as advance:
        assert app.ctx.store_watch.failure() is None
        monkeypatch.setattr(app.ctx.store, "_problem", lambda: "the disk is full")
        assert app.ctx.store_watch.failure() is None
        advance(1_001)
        assert app.ctx.store_watch.failure() == "the disk is full"
