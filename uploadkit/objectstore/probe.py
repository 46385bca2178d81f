"""Whether the store answers, asked once for all who want to know at the same time.

A probe of a store that hangs takes its time-out. Were there one for each `/readyz`, monitors would soon hold every thread.
"""

from __future__ import annotations

import threading

from uploadkit.core import clock
from uploadkit.core.errors import StorageUnavailable
from uploadkit.objectstore.store import ObjectStore

_FRESH_MS = 1_000
_USABLE_MS = 15_000


class StoreWatch:
    """The last probe of one store and what came of it."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._probing = threading.Lock()
        self._answer: tuple[int, str | None] | None = None

    def failure(self) -> str | None:
        """Say in one sentence why the store does not answer; None when it does. At most a second old, or 15 while another thread asks."""
        known = self._known(_USABLE_MS)
        if self._known(_FRESH_MS) is None and self._probing.acquire(blocking=known is None):
            try:
                # Whoever waited for the lock may find that the answer has come meanwhile.
                known = self._known(_FRESH_MS) or self._probe()
            finally:
                self._probing.release()
        assert known is not None
        return known[1]

    def _known(self, at_most_ms: int) -> tuple[int, str | None] | None:
        answer = self._answer
        return answer if answer is not None and clock.monotonic_ms() - answer[0] <= at_most_ms else None

    def _probe(self) -> tuple[int, str | None]:
        try:
            self._store.probe()
            failure = None
        except StorageUnavailable as error:
            failure = error.message
        self._answer = (clock.monotonic_ms(), failure)
        return self._answer
