"""Changes of very many rows, a batch at a time: an interruption costs nothing, and nobody waits long for the write lock."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event

from uploadkit.db.connection import write


def change_all(change: Callable[[int], int], stopping: Event, batch: int) -> int:
    """Call `change` with `batch`, each time in a write transaction of its own; return how many rows it changed in all.

    `change` changes up to that many rows, and returns how many it did: fewer means that there are no more. Ends between two
    transactions when `stopping` is set.
    """
    changed, count = 0, batch
    while count == batch and not stopping.is_set():
        with write():
            count = change(batch)
        changed += count
    return changed
