"""Claims: at most one thread at a time takes an upload through the store (docs/decisions/0004-claims-in-memory.md).

Conditional updates alone can't keep a second `complete` from copying over what the first one has just made immutable.
Held in memory: the data directory's lock proves that there is no other process, and a claim can't outlive its holder.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from uploadkit.core.errors import Conflict

MOST_WAITING = 3
_claimed: set[str] = set()
_waiting: Counter[str] = Counter()
_changed = threading.Condition()


def _waited(file_id: str, wait_seconds: float) -> bool:
    if _waiting[file_id] >= MOST_WAITING or wait_seconds <= 0:
        return False
    _waiting[file_id] += 1
    try:
        return _changed.wait_for(lambda: file_id not in _claimed, wait_seconds)
    finally:
        _waiting[file_id] -= 1
        if not _waiting[file_id]:
            del _waiting[file_id]


@contextmanager
def claimed(file_id: str, *, wait_seconds: float = 30) -> Iterator[None]:
    """Hold the claim on one upload, waiting up to `wait_seconds` for another holder.

    Raises Conflict when it is not let go in time, and at once where `MOST_WAITING` wait for it: each holds a thread and a place at the
    store.
    """
    with _changed:
        if file_id in _claimed and not _waited(file_id, wait_seconds):
            raise Conflict("This upload is being completed or aborted right now", "Repeat the call; it is safe", retry_after_seconds=5)
        _claimed.add(file_id)
    try:
        yield
    finally:
        with _changed:
            _claimed.discard(file_id)
            _changed.notify_all()
