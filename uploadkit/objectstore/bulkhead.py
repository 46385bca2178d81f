"""How many threads may wait for the store at once, so that some are always left for what needs no store.

A store that hangs holds whoever asks it until a time-out. Without a bound, the clients that complete their uploads would soon hold every
thread of the server, and a list of files would have to wait for a store that it does not need. Nor may one project or one browser hold
what all others need: copying a large file takes the store seconds, and whoever has one may ask for it many times at once.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from uploadkit.core.errors import StorageUnavailable

_LONGEST_WAIT_SECONDS = 1.0
_ALL = ""


class StorePlaces:
    """`most` places, each held by a thread for as long as it has to do with the store: one project has five of six, one browser a third."""

    def __init__(self, most: int) -> None:
        self._most, self._of_a_project, self._of_a_browser = most, max(1, most - max(1, most // 6)), max(1, most // 3)
        self._changed = threading.Condition()
        self._held: Counter[str] = Counter()
        self._stuck: set[str] = set()

    @contextmanager
    def taken(self, project_id: str, browser: str | None = None) -> Iterator[None]:
        """Hold a place for an upload of a project, and of the upload token or the address (`browser`) that began it without an API key.

        When none becomes free within a second, raise StorageUnavailable; until one does, at once for everybody else whom that concerns.
        """
        shares = {_ALL: self._most, project_id: self._of_a_project} | ({browser: self._of_a_browser} if browser else {})
        with self._changed:
            self._wait(shares)
            self._held.update(shares.keys())
        try:
            yield
        finally:
            with self._changed:
                self._held.subtract(shares.keys())
                self._held += Counter()  # without those that hold none
                self._stuck.difference_update(shares)
                self._changed.notify_all()

    def _wait(self, shares: Mapping[str, int]) -> None:
        def full() -> list[str]:
            return [name for name, most in shares.items() if self._held[name] >= most]

        if self._stuck.isdisjoint(full()) and self._changed.wait_for(lambda: not full(), _LONGEST_WAIT_SECONDS):
            return
        self._stuck.update(full())
        raise StorageUnavailable(f"The object store is slow: {min(shares[name] for name in full())} calls wait for it already")
