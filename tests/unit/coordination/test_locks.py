"""Locks by name: one holder, few who wait, and the others are sent away."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.support.appliance import wait_until
from uploadkit.coordination.locks import MemoryLocks
from uploadkit.core.errors import Conflict


@contextmanager
def waiting_for(locks: MemoryLocks, name: str, count: int) -> Iterator[list[str]]:
    became: list[str] = []

    def wait() -> None:
        with locks.held(name):
            became.append("holder")

    threads = [threading.Thread(target=wait) for _ in range(count)]
    for thread in threads:
        thread.start()
    wait_until(lambda: locks._waiting[name] == count, what="all of them wait")
    yield became
    for thread in threads:
        thread.join(30)


def test_few_wait_for_one_upload() -> None:
    """Forty completes of one large file held all places for as long as the store copied it."""
    locks = MemoryLocks(most_waiting=3)
    with ExitStack() as stack:
        with locks.held("file"):
            became = stack.enter_context(waiting_for(locks, "file", 3))
            with pytest.raises(Conflict, match="right now"), locks.held("file"):
                pass
            with locks.held("another file"):
                pass
        stack.close()
        assert became == ["holder"] * 3
    assert (locks._held, locks._waiting) == (set(), {})


def test_who_would_rather_not_wait_is_told_at_once() -> None:
    locks = MemoryLocks()
    with locks.held("file"):
        for wait_seconds in (0, 0.01):
            with pytest.raises(Conflict), locks.held("file", wait_seconds=wait_seconds):
                pass
    assert (locks._held, locks._waiting) == (set(), {})


def test_an_error_lets_go() -> None:
    locks = MemoryLocks()
    for _ in range(2):
        with pytest.raises(ValueError, match="a step failed"), locks.held("file", wait_seconds=0):
            raise ValueError("a step failed")
