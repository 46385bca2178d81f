"""How many threads may wait for the store at once, so that some are always left for what needs no store.

A store that hangs holds whoever asks it until a time-out. Without a bound, the clients that complete their uploads would soon hold every
thread of the server, and a list of files would have to wait for a store that it does not need.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from uploadkit.errors import StorageUnavailable

_LONGEST_WAIT_SECONDS = 1.0


class StorePlaces:
    """`most` places, each held by a thread for as long as it has to do with the store."""

    def __init__(self, most: int) -> None:
        self._places = threading.BoundedSemaphore(most)
        self._most = most
        self._stuck = False

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Hold a place. When none becomes free within a second, raise StorageUnavailable; until one does, at once for everybody else."""
        if not self._places.acquire(timeout=0 if self._stuck else _LONGEST_WAIT_SECONDS):
            self._stuck = True
            raise StorageUnavailable(f"The object store is slow: {self._most} calls wait for it already")
        try:
            yield
        finally:
            self._stuck = False
            self._places.release()
