"""What is forgotten, and when: events, finished webhook deliveries with their attempts, and the rows of deleted and failed files go
`housekeeping.history_days` after the fact, and destinations that nothing refers to. The monthly usage stays, and
so does the audit trail, but for the oldest entries of a project that has very many.

What anybody can make much of goes earlier (`forget_early`): what browsers began and nothing came of, uploads beyond the newest ones that
failed (and may have been deleted then), test events of webhooks, and what is told of the sandbox beyond the newest.

A batch at a time, each in a transaction of its own: an interruption costs nothing, and nobody waits long for the write lock.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from uploadkit.context import Context
from uploadkit.core import clock
from uploadkit.db.connection import execute, write
from uploadkit.db.models import NUMBER_BITS, File
from uploadkit.projects import quotas

_BATCH = 200
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

KEPT_OF_BROWSERS_MS = clock.DAY_MS
KEPT_TEST_EVENTS_MS = clock.DAY_MS
MOST_FAILED = 10_000
MOST_AUDITED = 200_000
MOST_IN_SANDBOX = 20_000
_OF_BROWSERS = """
SELECT number FROM file WHERE status = 'FAILED' AND (upload_token_id IS NOT NULL OR client_network IS NOT NULL)
   AND updated_at < ? AND sweep_at IS NULL ORDER BY updated_at LIMIT ?
"""
_NEWEST_FAILED_BEYOND = """
SELECT number FROM file INDEXED BY file_come_to_nothing
 WHERE project_id = ? AND environment = ? AND uploaded_at IS NULL AND status IN ('FAILED', 'DELETED') ORDER BY number DESC LIMIT 1 OFFSET ?
"""
_FAILED_UNTIL = """
SELECT number FROM file INDEXED BY file_come_to_nothing
 WHERE project_id = ? AND environment = ? AND uploaded_at IS NULL AND status IN ('FAILED', 'DELETED') AND number > ? AND number <= ?
   AND sweep_at IS NULL ORDER BY number LIMIT ?
"""
_EVENTS_OF = "FROM event WHERE file_id IN (SELECT id FROM file WHERE number IN (SELECT value FROM json_each(:numbers)))"
_NOTE_EVENTS_OF = f"""
INSERT INTO event_forgotten (project_id, environment, sequence)
SELECT project_id, environment, max(sequence) {_EVENTS_OF} AND status <> 'UPLOADING' GROUP BY project_id, environment
ON CONFLICT (project_id, environment) DO UPDATE SET sequence = max(sequence, excluded.sequence)
"""
_FORGET_DELIVERIES_OF = """
DELETE FROM webhook_delivery WHERE status IN ('delivered', 'dead')
   AND file_id IN (SELECT id FROM file WHERE number IN (SELECT value FROM json_each(:numbers)))
"""
_FORGET_TEST_EVENTS = """
DELETE FROM webhook_delivery WHERE id IN (
  SELECT id FROM webhook_delivery WHERE file_id IS NULL AND status IN ('delivered', 'dead') AND ended_at < :before LIMIT :batch)
"""
# What happened in the sandbox, by the time before which it is forgotten.
_NEWEST_IN_SANDBOX_BEYOND = """
SELECT at FROM event WHERE project_id = ? AND environment = 'test' ORDER BY at DESC, id DESC LIMIT 1 OFFSET ?
"""
_IN_SANDBOX = "FROM event WHERE project_id = :project AND environment = 'test' AND at <= :until ORDER BY at, id LIMIT :batch"
_NOTE_IN_SANDBOX = f"""
INSERT INTO event_forgotten (project_id, environment, sequence)
SELECT project_id, environment, max(sequence) FROM event WHERE sequence IN (SELECT sequence {_IN_SANDBOX}) AND status <> 'UPLOADING'
 GROUP BY project_id, environment
ON CONFLICT (project_id, environment) DO UPDATE SET sequence = max(sequence, excluded.sequence)
"""  # noqa: S608 (constants of this module)
_FORGET_IN_SANDBOX = f"DELETE FROM event WHERE sequence IN (SELECT sequence {_IN_SANDBOX})"  # noqa: S608
_FORGET_DELIVERIES_IN_SANDBOX = """
DELETE FROM webhook_delivery WHERE id IN (
  SELECT id FROM webhook_delivery WHERE project_id = :project AND environment = 'test' AND created_at <= :until
   AND status IN ('delivered', 'dead') LIMIT :batch)
"""
_FORGET_AUDIT = """
DELETE FROM audit WHERE id IN (
  SELECT id FROM audit WHERE project_id = :project ORDER BY at DESC, id DESC LIMIT :batch OFFSET :most)
"""


def forget_early(ctx: Context) -> int:
    """Remove what would pile up if it were kept as long as the rest; return how many rows went. Stops between steps when asked to."""
    now = clock.now_ms()
    gone = 0
    while not ctx.stopping.is_set() and (numbers := _numbers(_OF_BROWSERS, now - KEPT_OF_BROWSERS_MS, _BATCH)):
        gone += _forget_with_events(numbers)
    for project_id, environment in _scopes():
        gone += _forget_failed_beyond(ctx, project_id, environment)
    gone += _delete(ctx, {"before": now - KEPT_TEST_EVENTS_MS}, _FORGET_TEST_EVENTS)
    for (project_id,) in execute("SELECT id FROM project").fetchall():
        gone += _delete(ctx, {"project": project_id, "most": MOST_AUDITED}, _FORGET_AUDIT)
        gone += _forget_in_sandbox_beyond(ctx, project_id)
    return gone + _delete(ctx, {}, _FORGET_DESTINATIONS)


def _forget_in_sandbox_beyond(ctx: Context, project_id: str) -> int:
    """The sandbox is emptied each day, and may be filled anew: what its log and its webhooks tell of would be kept for all the days."""
    newest = execute(_NEWEST_IN_SANDBOX_BEYOND, (project_id, MOST_IN_SANDBOX)).fetchone()
    if newest is None:
        return 0
    named = {"project": project_id, "until": newest[0]}
    return _delete(ctx, named, _NOTE_IN_SANDBOX, _FORGET_IN_SANDBOX) + _delete(ctx, named, _FORGET_DELIVERIES_IN_SANDBOX)


def _forget_failed_beyond(ctx: Context, project_id: str, environment: str) -> int:
    newest = execute(_NEWEST_FAILED_BEYOND, (project_id, environment, MOST_FAILED)).fetchone()
    gone, seen = 0, -1
    while newest is not None and not ctx.stopping.is_set():
        numbers = _numbers(_FAILED_UNTIL, project_id, environment, seen, newest[0], _BATCH)
        if not numbers:
            break
        gone += _forget_with_events(numbers)
        seen = numbers[-1]
    return gone


def _numbers(sql: str, *values: str | int) -> list[int]:
    return [number for (number,) in execute(sql, values).fetchall()]


def _forget_with_events(numbers: list[int]) -> int:
    """Remove rows of failed uploads with all that tells of them, but for deliveries that are still on their way."""
    with write():
        named = {"numbers": json.dumps(numbers)}
        execute(_FORGET_DELIVERIES_OF, named)
        execute(_NOTE_EVENTS_OF, named)
        execute(f"DELETE {_EVENTS_OF}", named)
        return _remove_rows(numbers)


def forget(ctx: Context) -> int:
    """Remove what is older than the configuration wants it kept; return how many rows went. Stops between steps when asked to."""
    days = ctx.config.housekeeping.history_days
    if days is None:
        return 0
    before = clock.now_ms() - days * clock.DAY_MS
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
        return _remove_rows(numbers)


def _remove_rows(numbers: list[int]) -> int:
    found = list(File.select().where(File.number << numbers, File.status << ["DELETED", "FAILED"], File.sweep_at.is_null()))
    for file in found:
        quotas.remember_purged(file)
    swept = json.dumps([file.number for file in found])
    return execute("DELETE FROM file WHERE number IN (SELECT value FROM json_each(?))", (swept,)).rowcount
