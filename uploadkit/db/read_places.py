"""How many threads may search at once, so that most are always left for everything else, and no project takes the places of all others.

A search is cheap as a rule, but what it costs is decided by the names of files, which are somebody else's. Those that cost much are ended
by a deadline (read_deadline.py); until then they hold no more threads than this.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from uploadkit.core.errors import StorageUnavailable
from uploadkit.db import read_deadline

LONGEST_WAIT_SECONDS = 1.0


class ReadPlaces:
    """Places for searches in a server of `threads` threads: a quarter of them, and a shorter row of those that wait for one.

    One project holds at most all but one of either.
    """

    def __init__(self, threads: int) -> None:
        self.most = max(threads // 4, min(2, threads - 1), 1)
        self.most_waiting = max(threads // 2 - 1, 0)
        self._changed = threading.Condition()
        self._running: Counter[str] = Counter()
        self._waiting: Counter[str] = Counter()

    @property
    def waiting(self) -> int:
        """How many threads wait for a place."""
        return self._waiting.total()

    @contextmanager
    def taken(self, project_id: str) -> Iterator[None]:
        """Hold a place for a search in a project. Raises StorageUnavailable when there is none within a second, or no room to wait.

        A search that the deadline ended raises ReadTookTooLong.
        """
        with self._changed:
            if not self._has_room(project_id):
                self._wait(project_id)
            self._running[project_id] += 1
        try:
            with read_deadline.reported():
                yield
        finally:
            with self._changed:
                self._leave(self._running, project_id)
                self._changed.notify_all()

    def _wait(self, project_id: str) -> None:
        if not self._is_free(self._waiting, project_id, self.most_waiting):
            raise self._busy()
        self._waiting[project_id] += 1
        try:
            if not self._changed.wait_for(lambda: self._has_room(project_id), LONGEST_WAIT_SECONDS):
                raise self._busy()
        finally:
            self._leave(self._waiting, project_id)

    def _has_room(self, project_id: str) -> bool:
        return self._is_free(self._running, project_id, self.most)

    @staticmethod
    def _is_free(places: Counter[str], project_id: str, most: int) -> bool:
        return places.total() < most and places[project_id] < max(most - 1, 1)

    @staticmethod
    def _leave(places: Counter[str], project_id: str) -> None:
        places[project_id] -= 1
        if not places[project_id]:
            del places[project_id]

    def _busy(self) -> StorageUnavailable:
        return StorageUnavailable(
            "Too many searches are under way",
            "Try again in a second, with fewer searches at once. Lists without search, contentType and routeSlug are not affected",
            retry_after_seconds=1,
        )


_places = ReadPlaces(16)


def set_up(threads: int) -> None:
    """Set places for a server of `threads` threads."""
    global _places
    _places = ReadPlaces(threads)


def taken(project_id: str) -> AbstractContextManager[None]:
    """Hold a place of this process, as `ReadPlaces.taken` does."""
    return _places.taken(project_id)
