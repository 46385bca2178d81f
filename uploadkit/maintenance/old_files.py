"""Files that are kept for a limited time: test files for some hours, live ones for the retention days of their project.

Each becomes DELETED here; the sweeper then clears the store of it.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator
from contextlib import suppress
from typing import Literal

from uploadkit.context import Context
from uploadkit.core import clock
from uploadkit.core.errors import Conflict, StorageUnavailable, UploadNotFound
from uploadkit.db.connection import write
from uploadkit.db.models import File, Project
from uploadkit.files import lifecycle
from uploadkit.files.queries import uploads
from uploadkit.maintenance import retention
from uploadkit.maintenance.queries import old_files as queries

log = logging.getLogger(__name__)

_BATCH = 200


def purge_test_files(ctx: Context) -> int:
    """Take away test files, unfinished uploads among them, whose time is over; return how many rows went for good.

    First each becomes DELETED, then the sweeper clears the store of it, and a later round removes the row: when nothing can come back
    any more. Each step may be interrupted; the next round goes on from what the rows say.
    """
    for file in _old_test_files(ctx, "present"):
        if ctx.stopping.is_set():
            return 0
        try:
            _retire(ctx, file)
        except StorageUnavailable as error:
            log.warning("purge of test files put off: %s", error.message)
            break
        except Conflict:  # somebody is completing it right now; the next round finds it
            continue
        except Exception:
            log.exception("purge of test file %s failed", file.id)
    ctx.signals.wake_sweeper()
    return _remove_rows(ctx)


def _old_test_files(ctx: Context, which: Literal["present", "swept"]) -> Iterator[File]:
    """Test files that are as old as the configuration lets them get, oldest first, a batch at a time."""
    made_until = clock.now_ms() - ctx.config.housekeeping.test_file_ttl_seconds * 1000
    seen = -1
    while True:
        batch = queries.old_test_files(which, made_until, seen, _BATCH)
        yield from batch
        if len(batch) < _BATCH:
            return
        seen = batch[-1].number


def _retire(ctx: Context, file: File) -> None:
    if file.status == "UPLOADING":
        with suppress(UploadNotFound):  # deleted since it was read
            lifecycle.abort(ctx, file.id)
    hours = ctx.config.housekeeping.test_file_ttl_seconds / 3600
    with write():
        present = uploads.get(file.id)
        if present.status in ("UPLOADED", "FAILED"):
            lifecycle.mark_deleted(ctx, present, f"Test files are purged {hours:g} hours after their creation")


def _remove_rows(ctx: Context) -> int:
    removed = 0
    swept = (file.number for file in _old_test_files(ctx, "swept"))
    while batch := list(itertools.islice(swept, _BATCH)):
        removed += retention.remove_rows(batch)
    return removed


def retire_old_files(ctx: Context) -> int:
    """Delete the live files that are older than their project's retention days; return how many. The sweeper clears the store of them."""
    retired = 0
    for project in queries.projects_with_retention():
        while not ctx.stopping.is_set() and (count := _retire_batch(ctx, project)):
            retired += count
    if retired:
        ctx.signals.wake_sweeper()
    return retired


def _retire_batch(ctx: Context, project: Project) -> int:
    days = project.retention_days
    assert days is not None
    with write():
        batch = queries.old_live_files(project.id, clock.now_ms() - days * clock.DAY_MS, _BATCH)
        for file in batch:
            lifecycle.mark_deleted(ctx, file, f"Files of this project are kept for {days} days")
    return len(batch)
