"""The disk that the database is on: no new upload begins when it is nearly full, so that those under way can be finished.

A full disk under SQLite stops everything, deletions included; what is refused before costs somebody a second try.
"""

from __future__ import annotations

import threading
from pathlib import Path

import psutil

from uploadkit.core import clock, disk_space
from uploadkit.core.errors import StorageUnavailable
from uploadkit.core.sizes import MIB

_LOOK_EVERY_MS = 2_000


class DatabaseDisk:
    """The disk of the database at `path`. Any thread may ask; the disk itself is asked every two seconds at most."""

    def __init__(self, path: Path) -> None:
        self._directory = path.parent
        self._lock = threading.Lock()
        self._checked_at: int | None = None
        self._trouble: str | None = None

    def trouble(self) -> str | None:
        """Return in a sentence why no new upload may begin; None while there is room."""
        with self._lock:
            now = clock.monotonic_ms()
            if self._checked_at is None or now - self._checked_at >= _LOOK_EVERY_MS:
                self._trouble, self._checked_at = self._look(), now
            return self._trouble

    def require_room(self) -> None:
        """Refuse new uploads while the disk is nearly full. Raises StorageUnavailable."""
        if (trouble := self.trouble()) is not None:
            raise StorageUnavailable(f"No new upload can begin now: {trouble}", "Free some space there; it goes on by itself then")

    def _look(self) -> str | None:
        usage = psutil.disk_usage(str(self._directory))
        # A small volume of its own is a good place for a database: there a tenth is enough.
        reserve = min(disk_space.reserve_bytes(usage.total), usage.total // 10)
        if usage.free >= reserve:
            return None
        free_mib, kept_mib = usage.free // MIB, reserve // MIB
        return f"the disk under the database is nearly full: {free_mib} MB are free, and {kept_mib} MB are kept for what is under way"
