"""What is left of deleted projects: brought to its end and removed. Everything that changes rows runs in the caller's write transaction."""

from __future__ import annotations

import json
from collections.abc import Sequence

from uploadkit.db.connection import execute

# The conditions on status are written so that SQLite finds the partial indexes of `file`.
_UPLOADING = "SELECT id FROM file WHERE project_id = ? AND status <> 'DELETED' AND status = 'UPLOADING'"
_END_FILES = """
UPDATE file SET status = 'DELETED', deleted_at = :now, updated_at = :now, sweep_at = :now, sweep_attempts = 0
 WHERE number IN (SELECT number FROM file WHERE project_id = :project AND status <> 'DELETED' AND status <> 'UPLOADING' LIMIT :most)
"""
_END_UPLOAD = """
UPDATE file SET status = 'DELETED', failure = 'aborted', deleted_at = :now, updated_at = :now, sweep_at = :now, sweep_attempts = 0
 WHERE id = :id AND status = 'UPLOADING'
"""
_ENDED = """
SELECT number FROM file WHERE project_id = ? AND environment = ? AND status = 'DELETED' AND number > ? ORDER BY number LIMIT ?
"""
_REMOVE_SWEPT = "DELETE FROM file WHERE number IN (SELECT value FROM json_each(?)) AND status = 'DELETED' AND sweep_at IS NULL"
_HAS_FILES = """
SELECT EXISTS (SELECT 1 FROM file WHERE project_id = :project AND status <> 'DELETED')
    OR EXISTS (SELECT 1 FROM file WHERE project_id = :project AND status = 'DELETED')
"""
# What belongs to a project apart from its files, by primary key; what refers to a row stands before it.
BEFORE_FILES = {"webhook_delivery": "id"}
AFTER_FILES = {
    "webhook_destination": "id",
    "webhook_secret": "project_id",
    "event": "sequence",
    "event_forgotten": "project_id",
    "anonymous_begun": "project_id",
    "upload_token": "id",
    "file_route": "id",
    "api_key": "id",
}
WITH_PROJECT = ("usage", "request_count")
"""What goes together with the row of the project itself."""


def deleted_projects() -> list[tuple[str, int]]:
    """Return the ids of deleted projects, and when they were deleted."""
    return execute("SELECT id, deleted_at FROM project WHERE deleted_at IS NOT NULL").fetchall()


def uploads_under_way(project_id: str) -> list[str]:
    """Return the ids of a project's files that are UPLOADING."""
    return [file_id for (file_id,) in execute(_UPLOADING, (project_id,)).fetchall()]


def end_upload(file_id: str, now_ms: int) -> None:
    """UPLOADING → DELETED, to be swept at once; a row in another state stays as it is."""
    execute(_END_UPLOAD, {"id": file_id, "now": now_ms})


def end_files(project_id: str, now_ms: int, most: int) -> int:
    """Set up to `most` of a project's UPLOADED and FAILED files DELETED, to be swept at once; return how many."""
    return execute(_END_FILES, {"project": project_id, "now": now_ms, "most": most}).rowcount


def ended_files(project_id: str, environment: str, after_number: int, most: int) -> list[int]:
    """Return the numbers of up to `most` DELETED files after a number, oldest first."""
    return [number for (number,) in execute(_ENDED, (project_id, environment, after_number, most)).fetchall()]


def remove_swept(numbers: Sequence[int]) -> None:
    """Delete the rows with these numbers that are DELETED and swept."""
    execute(_REMOVE_SWEPT, (json.dumps(numbers),))


def has_files(project_id: str) -> bool:
    """Say whether a project has any row of a file."""
    (found,) = execute(_HAS_FILES, {"project": project_id}).fetchone()
    return bool(found)


def remove_rows(table: str, project_id: str, most: int) -> int:
    """Delete up to `most` of a project's rows in a table of `BEFORE_FILES` or `AFTER_FILES`; return how many."""
    key = (BEFORE_FILES | AFTER_FILES)[table]
    # Both names come from the tables above, never from outside.
    sql = f"DELETE FROM {table} WHERE {key} IN (SELECT {key} FROM {table} WHERE project_id = ? LIMIT ?)"  # noqa: S608
    return execute(sql, (project_id, most)).rowcount


def remove_project(project_id: str) -> None:
    """Delete the row of a project that nothing refers to any more, and what was counted of it."""
    for table in WITH_PROJECT:
        execute(f"DELETE FROM {table} WHERE project_id = ?", (project_id,))  # noqa: S608
    execute("DELETE FROM project WHERE id = ?", (project_id,))
