"""Locks by name: at most one request at a time takes an upload through the store (docs/decisions/0004-locks-in-memory.md).

Conditional updates alone can't keep a second `complete` from copying over what the first one has just made immutable.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from uploadkit.core.errors import Conflict


class Locks(Protocol):
    """Who holds which name, for all requests that may ask for the same one."""

    def held(self, name: str, *, wait_seconds: float = 30) -> AbstractContextManager[None]:
        """Hold the lock on `name` (a file's id, for example), waiting up to `wait_seconds` for another holder. No lock is held twice.

        Raises Conflict when it is not free in time, and at once where as many wait for it as may: each holds a thread and a place at the
        store.
        """


def in_use() -> Conflict:
    """Return the error for whoever does not get a lock."""
    return Conflict("This upload is being completed or aborted right now", "Repeat the call; it is safe", retry_after_seconds=5)


class MemoryLocks:
    """`Locks` of one process, for an appliance of one: the data directory's lock proves that there is no other.

    A lock can't outlive its holder. `most_waiting` may wait for each name.
    """

    def __init__(self, most_waiting: int = 3) -> None:
        self._most_waiting = most_waiting
        self._held: set[str] = set()
        self._waiting: Counter[str] = Counter()
        self._changed = threading.Condition()

    @contextmanager
    def held(self, name: str, *, wait_seconds: float = 30) -> Iterator[None]:
        """See `Locks`."""
        with self._changed:
            if name in self._held and not self._waited(name, wait_seconds):
                raise in_use()
            self._held.add(name)
        try:
            yield
        finally:
            with self._changed:
                self._held.discard(name)
                self._changed.notify_all()

    def _waited(self, name: str, wait_seconds: float) -> bool:
        if self._waiting[name] >= self._most_waiting or wait_seconds <= 0:
            return False
        self._waiting[name] += 1
        try:
            return self._changed.wait_for(lambda: name not in self._held, wait_seconds)
        finally:
            self._waiting[name] -= 1
            if not self._waiting[name]:
                del self._waiting[name]
