"""A table for one task, in a temporary file that SQLite deletes by itself: for more ids than memory should hold."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable
from itertools import islice

_BATCH = 1000


class Scratch:
    """Texts under ids. May be used by several threads; `close` ends it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connection = sqlite3.connect("", check_same_thread=False)
        self._connection.execute("CREATE TABLE scratch (id TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID")

    def put_all(self, entries: Iterable[tuple[str, str]]) -> None:
        """Keep each text under its id, in place of what was there."""
        left = iter(entries)
        while batch := list(islice(left, _BATCH)):
            with self._lock, self._connection:
                self._connection.executemany("INSERT OR REPLACE INTO scratch (id, value) VALUES (?, ?)", batch)

    def find(self, wanted: str) -> str | None:
        """Return the text under an id; None when there is none."""
        with self._lock:
            row = self._connection.execute("SELECT value FROM scratch WHERE id = ?", (wanted,)).fetchone()
        return None if row is None else str(row[0])

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()
