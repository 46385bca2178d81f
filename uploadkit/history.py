"""What is forgotten, and when: events, finished webhook deliveries with their attempts, and the rows of deleted and failed files go
`housekeeping.history_days` after the fact (storage.md section 5), and destinations that nothing refers to. The audit trail and the monthly
usage stay.

A batch at a time, each in a transaction of its own: an interruption costs nothing, and nobody waits long for the write lock.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from uploadkit import clock, quotas
from uploadkit.context import Context
from uploadkit.db import execute, write
from uploadkit.models import NUMBER_BITS, File

_BATCH = 200
_DAY_MS = 86_400_000
# Events lie in the order of their sequence, so the oldest stand together at its beginning.
_FORGET_EVENTS = """
DELETE FROM event WHERE sequence IN (SELECT sequence FROM event ORDER BY sequence LIMIT :batch) AND at < :before
"""
_NOTE_FORGOTTEN_EVENTS = """
INSERT INTO event_forgotten (project_id, environment, sequence)
SELECT project_id, environment, max(sequence) FROM event
 WHERE sequence IN (SELECT sequence FROM event ORDER BY sequence LIMIT :batch) AND at < :before AND status <> 'UPLOADING'
 GROUP BY project_id, environment
ON CONFLICT (project_id, environment) DO UPDATE SET sequence = excluded.sequence
"""
_FORGET_DELIVERIES = """
DELETE FROM webhook_delivery WHERE id IN (
  SELECT id FROM webhook_delivery WHERE project_id = :project AND environment = :environment AND created_at < :before
   AND status IN ('delivered', 'dead') AND ended_at < :before LIMIT :batch)
"""
_FORGET_DESTINATIONS = """
DELETE FROM webhook_destination WHERE id IN (
  SELECT t.id FROM webhook_destination t
   WHERE NOT EXISTS (SELECT 1 FROM webhook_delivery d WHERE d.destination_id = t.id)
     AND NOT EXISTS (SELECT 1 FROM file_route r WHERE r.project_id = t.project_id AND r.webhook_url = t.url)
   LIMIT :batch)
"""
# The conditions on status are written so that SQLite finds the partial indexes of `file`; a row with a sweep_at has still to be swept.
_ENDED_FILES = (
    "SELECT number FROM file WHERE project_id = ? AND environment = ? AND status = 'DELETED'"
    " AND number > ? AND number < ? AND sweep_at IS NULL AND deleted_at < ? ORDER BY number LIMIT ?",
    "SELECT number FROM file WHERE project_id = ? AND environment = ? AND status <> 'DELETED' AND status = 'FAILED'"
    " AND number > ? AND number < ? AND sweep_at IS NULL AND updated_at < ? ORDER BY number LIMIT ?",
)


def forget(ctx: Context) -> int:
    """Remove what is older than the configuration wants it kept; return how many rows went. Stops between steps when asked to."""
    days = ctx.config.housekeeping.history_days
    if days is None:
        return 0
    before = clock.now_ms() - days * _DAY_MS
    gone = _delete(ctx, {"before": before}, _NOTE_FORGOTTEN_EVENTS, _FORGET_EVENTS)
    for project_id, environment in _scopes():
        gone += _delete(ctx, {"before": before, "project": project_id, "environment": environment}, _FORGET_DELIVERIES)
        gone += sum(_forget_files(ctx, sql, project_id, environment, before) for sql in _ENDED_FILES)
    return gone + _delete(ctx, {}, _FORGET_DESTINATIONS)


def _scopes() -> Iterator[tuple[str, str]]:
    for (project_id,) in execute("SELECT id FROM project WHERE deleted_at IS NULL").fetchall():
        yield project_id, "live"
        yield project_id, "test"


def _delete(ctx: Context, parameters: dict[str, str | int], *statements: str) -> int:
    """Execute `statements` over and over, each time in one transaction, until the last one deletes less than a batch."""
    gone, count = 0, _BATCH
    while count == _BATCH and not ctx.stopping.is_set():
        with write():
            for sql in statements:
                count = execute(sql, parameters | {"batch": _BATCH}).rowcount
        gone += count
    return gone


def _forget_files(ctx: Context, sql: str, project_id: str, environment: str, before: int) -> int:
    """Remove rows of files that ended before `before`: in one walk through them, oldest first."""
    gone, seen, created_before = 0, -1, before << NUMBER_BITS
    while not ctx.stopping.is_set():
        numbers = [n for (n,) in execute(sql, (project_id, environment, seen, created_before, before, _BATCH)).fetchall()]
        if not numbers:
            break
        gone += remove_rows(numbers)
        seen = numbers[-1]
    return gone


def remove_rows(numbers: list[int]) -> int:
    """Remove the rows of files that are DELETED or FAILED and swept, those of `numbers` that still are; return how many went."""
    with write():
        found = list(File.select().where(File.number << numbers, File.status << ["DELETED", "FAILED"], File.sweep_at.is_null()))
        for file in found:
            quotas.remember_purged(file)
        swept = json.dumps([file.number for file in found])
        return execute("DELETE FROM file WHERE number IN (SELECT value FROM json_each(?))", (swept,)).rowcount
