"""What becomes of a deleted project: its files go from the store, then all its rows from the database.

Each step reads from the rows how far things are, and is safe to repeat: a kill at any point costs nothing but time. First all files become
DELETED; then the sweeper clears the store of them, waiting for the deadline of upload URLs that are still good; what is swept is
removed; and when no file is left, the rest and the project itself go. The audit trail stays.
"""

from __future__ import annotations

import json
import logging

from uploadkit.context import Context
from uploadkit.core import clock
from uploadkit.core.errors import Conflict
from uploadkit.db.connection import execute, write

log = logging.getLogger(__name__)

_BATCH = 200
# A request that was let in just before the deletion may still write rows that refer to the project and its keys.
_LAST_REQUESTS_END_MS = 60_000
# The conditions on status are written so that SQLite finds the partial indexes of `file`.
_UPLOADING = "SELECT id FROM file WHERE project_id = ? AND status <> 'DELETED' AND status = 'UPLOADING'"
_END_FILES = """
UPDATE file SET status = 'DELETED', deleted_at = :now, updated_at = :now, sweep_at = :now, sweep_attempts = 0
 WHERE number IN (SELECT number FROM file WHERE project_id = :project AND status <> 'DELETED' AND status <> 'UPLOADING' LIMIT :batch)
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
_BEFORE_FILES = {"webhook_delivery": "id"}
_AFTER_FILES = {
    "webhook_destination": "id",
    "webhook_secret": "project_id",
    "event": "sequence",
    "event_forgotten": "project_id",
    "anonymous_begun": "project_id",
    "upload_token": "id",
    "file_route": "id",
    "api_key": "id",
}


def remove_deleted_projects(ctx: Context) -> int:
    """Bring every deleted project as far as it goes now; return how many are gone for good. Stops between steps when asked to."""
    gone = 0
    for project_id, deleted_at in execute("SELECT id, deleted_at FROM project WHERE deleted_at IS NOT NULL").fetchall():
        _end_files(ctx, project_id)
        ctx.signals.wake_sweeper()
        if _remove_rows(ctx, project_id, deleted_at):
            log.info("project %s and all that belonged to it are gone", project_id)
            gone += 1
    return gone


def _end_files(ctx: Context, project_id: str) -> None:
    """All files → DELETED, so that nobody can read them; no counter and no event, since those of the project go, too."""
    for (file_id,) in execute(_UPLOADING, (project_id,)).fetchall():
        try:
            with ctx.locks.held(file_id, wait_seconds=0), write():
                execute(_END_UPLOAD, {"id": file_id, "now": clock.now_ms()})
        except Conflict:  # being completed right now; the next round finds it
            continue
        if ctx.stopping.is_set():
            return
    count = _BATCH
    while count == _BATCH and not ctx.stopping.is_set():
        with write():
            count = execute(_END_FILES, {"project": project_id, "now": clock.now_ms(), "batch": _BATCH}).rowcount


def _remove_rows(ctx: Context, project_id: str, deleted_at: int) -> bool:
    """Remove what needs to be kept no longer; return whether that was all."""
    _remove_all(ctx, project_id, _BEFORE_FILES)
    for environment in ("live", "test"):
        _remove_swept_files(ctx, project_id, environment)
    (has_files,) = execute(_HAS_FILES, {"project": project_id}).fetchone()
    if has_files or clock.now_ms() < deleted_at + _LAST_REQUESTS_END_MS:
        return False
    _remove_all(ctx, project_id, _AFTER_FILES)
    if ctx.stopping.is_set():
        return False
    with write():
        execute("DELETE FROM usage WHERE project_id = ?", (project_id,))
        execute("DELETE FROM request_count WHERE project_id = ?", (project_id,))
        execute("DELETE FROM project WHERE id = ?", (project_id,))
    return True


def _remove_all(ctx: Context, project_id: str, tables: dict[str, str]) -> None:
    for table, key in tables.items():
        # Both names come from the tables above, never from outside.
        sql = f"DELETE FROM {table} WHERE {key} IN (SELECT {key} FROM {table} WHERE project_id = ? LIMIT {_BATCH})"  # noqa: S608
        count = _BATCH
        while count == _BATCH and not ctx.stopping.is_set():
            with write():
                count = execute(sql, (project_id,)).rowcount


def _remove_swept_files(ctx: Context, project_id: str, environment: str) -> None:
    """Remove the rows of files that nothing can bring back: in one walk through them, oldest first, a batch at a time."""
    seen = -1
    while not ctx.stopping.is_set():
        numbers = [number for (number,) in execute(_ENDED, (project_id, environment, seen, _BATCH)).fetchall()]
        if not numbers:
            return
        with write():
            execute(_REMOVE_SWEPT, (json.dumps(numbers),))
        seen = numbers[-1]
