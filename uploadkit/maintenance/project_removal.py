"""What becomes of a deleted project: its files go from the store, then all its rows from the database.

Each step reads from the rows how far things are, and is safe to repeat: a kill at any point costs nothing but time. First all files become
DELETED; then the sweeper clears the store of them, waiting for the deadline of upload URLs that are still good; what is swept is
removed; and when no file is left, the rest and the project itself go. The audit trail stays.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import partial

from uploadkit.context import Context
from uploadkit.core import clock
from uploadkit.core.errors import Conflict
from uploadkit.db import batches
from uploadkit.db.connection import write
from uploadkit.maintenance.queries import project_removal as queries

log = logging.getLogger(__name__)

_BATCH = 200
# A request that was let in just before the deletion may still write rows that refer to the project and its keys.
_LAST_REQUESTS_END_MS = 60_000


def remove_deleted_projects(ctx: Context) -> int:
    """Bring every deleted project as far as it goes now; return how many are gone for good. Stops between steps when asked to."""
    gone = 0
    for project_id, deleted_at in queries.deleted_projects():
        _end_files(ctx, project_id)
        ctx.signals.wake_sweeper()
        if _remove_rows(ctx, project_id, deleted_at):
            log.info("project %s and all that belonged to it are gone", project_id)
            gone += 1
    return gone


def _end_files(ctx: Context, project_id: str) -> None:
    """All files → DELETED, so that nobody can read them; no counter and no event, since those of the project go, too."""
    for file_id in queries.uploads_under_way(project_id):
        try:
            with ctx.locks.held(file_id, wait_seconds=0), write():
                queries.end_upload(file_id, clock.now_ms())
        except Conflict:  # being completed right now; the next round finds it
            continue
        if ctx.stopping.is_set():
            return
    batches.change_all(partial(queries.end_files, project_id, clock.now_ms()), ctx.stopping, _BATCH)


def _remove_rows(ctx: Context, project_id: str, deleted_at: int) -> bool:
    """Remove what needs to be kept no longer; return whether that was all."""
    _remove_all(ctx, project_id, queries.BEFORE_FILES)
    for environment in ("live", "test"):
        _remove_swept_files(ctx, project_id, environment)
    if queries.has_files(project_id) or clock.now_ms() < deleted_at + _LAST_REQUESTS_END_MS:
        return False
    _remove_all(ctx, project_id, queries.AFTER_FILES)
    if ctx.stopping.is_set():
        return False
    with write():
        queries.remove_project(project_id)
    return True


def _remove_all(ctx: Context, project_id: str, tables: Iterable[str]) -> None:
    for table in tables:
        batches.change_all(partial(queries.remove_rows, table, project_id), ctx.stopping, _BATCH)


def _remove_swept_files(ctx: Context, project_id: str, environment: str) -> None:
    """Remove the rows of files that nothing can bring back: in one walk through them, oldest first, a batch at a time."""
    seen = -1
    while not ctx.stopping.is_set() and (numbers := queries.ended_files(project_id, environment, seen, _BATCH)):
        with write():
            queries.remove_swept(numbers)
        seen = numbers[-1]
