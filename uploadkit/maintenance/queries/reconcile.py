"""All rows of `file` held against a bucket's listing, which is kept for that in a temporary table of this connection."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from uploadkit.db.connection import execute
from uploadkit.db.models import File

_LISTED = """
CREATE TEMP TABLE listed (key TEXT NOT NULL PRIMARY KEY, size_bytes INTEGER NOT NULL, etag TEXT NOT NULL, written_at INTEGER NOT NULL)
WITHOUT ROWID
"""
_ADD_LISTED = """
INSERT OR REPLACE INTO temp.listed
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM json_each(?)
"""
# A row that has a sweep_at is on its way: the sweeper will take its objects, or has promised to look again.
_ENDED = "(f.status IN ('FAILED', 'DELETED') AND f.sweep_at IS NULL)"
_WITHOUT_ROW = f"""
SELECT l.key, l.size_bytes, l.written_at FROM temp.listed l LEFT JOIN file f ON f.key = l.key
 WHERE l.key NOT GLOB 'pending/*' AND (f.id IS NULL OR {_ENDED}) AND l.key > ? ORDER BY l.key LIMIT ?
"""  # noqa: S608
_PENDING_WITHOUT_ROW = f"""
SELECT l.key, l.size_bytes FROM temp.listed l LEFT JOIN file f ON f.id = substr(l.key, 9)
 WHERE l.key GLOB 'pending/*' AND l.written_at < ?
   AND (f.id IS NULL OR {_ENDED} OR (f.status = 'UPLOADED' AND f.sweep_at IS NULL))
"""  # noqa: S608
_WITHOUT_OBJECT = """
SELECT f.id, f.key FROM file f LEFT JOIN temp.listed l ON l.key = f.key
 WHERE f.status = 'UPLOADED' AND f.uploaded_at < ? AND l.key IS NULL
"""
_DIFFERENT = """
SELECT f.id, f.key, f.size_bytes, l.size_bytes FROM file f JOIN temp.listed l ON l.key = f.key
 WHERE f.status = 'UPLOADED' AND (f.size_bytes <> l.size_bytes OR f.etag <> l.etag)
"""
_PROJECTS_EVER = "SELECT id FROM project UNION SELECT DISTINCT project_id FROM audit"
_BATCH = 1000


@contextmanager
def listing_kept() -> Iterator[None]:
    """Have the table for a listing, empty at first, for a block."""
    execute("DROP TABLE IF EXISTS temp.listed")
    execute(_LISTED)
    try:
        yield
    finally:
        execute("DROP TABLE temp.listed")


def add_listed(objects: Sequence[tuple[str, int, str, int]]) -> None:
    """Add objects (key, bytes, ETag, when it was written) to the listing; one that is there already is replaced."""
    execute(_ADD_LISTED, (json.dumps(objects),))


def count_verified() -> int:
    """Return how many files are UPLOADED."""
    (files,) = execute("SELECT count(*) FROM file WHERE status = 'UPLOADED'").fetchone()
    return int(files)


def count_unswept(due_before_ms: int) -> int:
    """Return how many rows should have been swept before then."""
    (rows,) = execute("SELECT count(*) FROM file WHERE sweep_at < ?", (due_before_ms,)).fetchone()
    return int(rows)


def objects_without_row() -> Iterator[tuple[str, int, int]]:
    """Give key, bytes and time of writing of objects whose file is unknown or over, by key.

    A batch at a time: a bucket may hold any number of other people's objects.
    """
    seen = ""
    while found := execute(_WITHOUT_ROW, (seen, _BATCH)).fetchall():
        yield from found
        seen = found[-1][0]


def pending_without_row(written_before_ms: int) -> list[tuple[str, int]]:
    """Return key and bytes of single uploads written before then that are unknown or over, and that no sweep will come to."""
    return execute(_PENDING_WITHOUT_ROW, (written_before_ms,)).fetchall()


def files_without_object(completed_before_ms: int) -> list[tuple[str, str]]:
    """Return id and key of files UPLOADED before then whose object is not listed."""
    return execute(_WITHOUT_OBJECT, (completed_before_ms,)).fetchall()


def different_objects() -> list[tuple[str, str, int, int]]:
    """Return id, key, verified and listed bytes of UPLOADED files whose object is listed with another size or ETag."""
    return execute(_DIFFERENT).fetchall()


def projects_ever() -> set[str]:
    """Return the ids of all projects that the appliance has or had: the audit trail outlives them."""
    return {project_id for (project_id,) in execute(_PROJECTS_EVER).fetchall()}


def find(file_id: str) -> File | None:
    """Return the row with this id, whatever its state."""
    file: File | None = File.get_or_none(File.id == file_id)
    return file


def find_by_key(key: str) -> File | None:
    """Return the row with this key, whatever its state."""
    file: File | None = File.get_or_none(File.key == key)
    return file
