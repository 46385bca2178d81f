"""Claims: at most one thread at a time takes an upload through the store (docs/decisions/0004-claims-in-memory.md).

Conditional updates alone can't keep a second `complete` from copying over what the first one has just made immutable.
Held in memory: the data directory's lock proves that there is no other process, and a claim can't outlive its holder.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from uploadkit.errors import Conflict

_claimed: set[str] = set()
_changed = threading.Condition()


@contextmanager
def claimed(file_id: str, *, wait_seconds: float = 30) -> Iterator[None]:
    """Hold the claim on one upload, waiting up to `wait_seconds` for another holder. Raises Conflict when it is not let go in time."""
    until = time.monotonic() + wait_seconds
    with _changed:
        while file_id in _claimed:
            left = until - time.monotonic()
            if left <= 0 or not _changed.wait(left):
                raise Conflict("This upload is being completed or aborted right now", "Repeat the call; it is safe", retry_after_seconds=5)
        _claimed.add(file_id)
    try:
        yield
    finally:
        with _changed:
            _claimed.discard(file_id)
            _changed.notify_all()
