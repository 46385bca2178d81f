"""What a backup reads from a copy of the database, and what a restore changes in one."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from uploadkit.db.connection import execute
from uploadkit.db.models import File

_FILES = """
SELECT number, id, key, size_bytes, etag, part_size_bytes FROM file WHERE status = 'UPLOADED' AND number > ? ORDER BY number LIMIT ?
"""
# Readers of /events may have met numbers that were given after the backup was made; none of them may come again.
_JUMP = 1_000_000_000


def verified_files(copy: Path, batch: int) -> Iterator[list[File]]:
    """Yield the UPLOADED files of the database file `copy`, oldest first, up to `batch` at a time, with what their objects are read by."""
    with closing(sqlite3.connect(f"{copy.as_uri()}?mode=ro", uri=True)) as connection:
        seen = -1
        while found := connection.execute(_FILES, (seen, batch)).fetchall():
            names = ("number", "id", "key", "size_bytes", "etag", "part_size_bytes")
            yield [File(**dict(zip(names, row, strict=True)), status="UPLOADED") for row in found]
            seen = found[-1][0]


def size_of_all(copy: Path) -> tuple[int, int]:
    """Return how many UPLOADED files the database file `copy` has, and their bytes."""
    with closing(sqlite3.connect(f"{copy.as_uri()}?mode=ro", uri=True)) as connection:
        files, size_bytes = connection.execute(
            "SELECT count(*), coalesce(sum(size_bytes), 0) FROM file WHERE status = 'UPLOADED'"
        ).fetchone()
    return files, size_bytes


def is_sound(copy: Path) -> bool:
    """Say whether SQLite can read all of the database file `copy`."""
    try:
        with closing(sqlite3.connect(f"{copy.as_uri()}?mode=ro", uri=True)) as connection:
            return bool(connection.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok")
    except sqlite3.Error:
        return False


def uploads_under_way() -> list[str]:
    """Return the ids of the uploads that had begun and not ended."""
    return [file_id for (file_id,) in execute("SELECT id FROM file WHERE status = 'UPLOADING'").fetchall()]


def end_sessions() -> None:
    """Sign everybody out of the dashboard, and end open set-up links."""
    execute("DELETE FROM admin_session")
    execute("DELETE FROM setup_link")


def jump_events() -> None:
    """Have the next event take a number far beyond all that were given after the backup was made."""
    execute("UPDATE sqlite_sequence SET seq = seq + ? WHERE name = 'event'", (_JUMP,))
    execute(
        "INSERT INTO sqlite_sequence (name, seq) SELECT 'event', ? WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'event')",
        (_JUMP,),
    )


def fold_in_log(path: Path) -> None:
    """Have all of a database that nobody has open in its one file, without a log beside it."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("PRAGMA journal_mode = delete")


def keys_revoked_since(newer: Path) -> Sequence[tuple[str, str]]:
    """Return id and name of the API keys that are active in the open database and revoked in the database file `newer`."""
    with closing(sqlite3.connect(f"{newer.as_uri()}?mode=ro", uri=True)) as connection:
        revoked = {key_id for (key_id,) in connection.execute("SELECT id FROM api_key WHERE revoked_at IS NOT NULL").fetchall()}
    active = execute("SELECT id, name FROM api_key WHERE revoked_at IS NULL ORDER BY id").fetchall()
    return [(key_id, name) for key_id, name in active if key_id in revoked]
