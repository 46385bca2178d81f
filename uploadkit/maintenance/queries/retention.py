"""What is forgotten: events, deliveries, audit entries, rows of files. All of it runs in the caller's write transaction.

What is deleted of events is noted in `event_forgotten`: readers of the feed by sequence have to see the gap.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from uploadkit.db.connection import execute
from uploadkit.db.models import NUMBER_BITS, File

# Events lie in the order of their sequence, so the oldest stand together at its beginning.
_OLDEST_EVENTS = "FROM event WHERE sequence IN (SELECT sequence FROM event ORDER BY sequence LIMIT :most) AND at < :before"
_EVENTS_OF = "FROM event WHERE file_id IN (SELECT id FROM file WHERE number IN (SELECT value FROM json_each(:numbers)))"
_IN_SANDBOX = """
FROM event WHERE sequence IN (
  SELECT sequence FROM event WHERE project_id = :project AND environment = 'test' AND at <= :until ORDER BY at, id LIMIT :most)
"""
_NOTE_GAP = """
INSERT INTO event_forgotten (project_id, environment, sequence)
SELECT project_id, environment, max(sequence) {events} AND status <> 'UPLOADING' GROUP BY project_id, environment
ON CONFLICT (project_id, environment) DO UPDATE SET sequence = max(sequence, excluded.sequence)
"""
_FORGET_DELIVERIES = """
DELETE FROM webhook_delivery WHERE id IN (
  SELECT id FROM webhook_delivery WHERE project_id = :project AND environment = :environment AND created_at < :before
   AND status IN ('delivered', 'dead') AND ended_at < :before LIMIT :most)
"""
_FORGET_DELIVERIES_OF = """
DELETE FROM webhook_delivery WHERE status IN ('delivered', 'dead')
   AND file_id IN (SELECT id FROM file WHERE number IN (SELECT value FROM json_each(:numbers)))
"""
_FORGET_DELIVERIES_IN_SANDBOX = """
DELETE FROM webhook_delivery WHERE id IN (
  SELECT id FROM webhook_delivery WHERE project_id = :project AND environment = 'test' AND created_at <= :until
   AND status IN ('delivered', 'dead') LIMIT :most)
"""
_FORGET_TEST_EVENTS = """
DELETE FROM webhook_delivery WHERE id IN (
  SELECT id FROM webhook_delivery WHERE file_id IS NULL AND status IN ('delivered', 'dead') AND ended_at < :before LIMIT :most)
"""
_FORGET_DESTINATIONS = """
DELETE FROM webhook_destination WHERE id IN (
  SELECT t.id FROM webhook_destination t
   WHERE NOT EXISTS (SELECT 1 FROM webhook_delivery d WHERE d.destination_id = t.id)
     AND NOT EXISTS (SELECT 1 FROM file_route r WHERE r.project_id = t.project_id AND r.webhook_url = t.url)
   LIMIT :most)
"""
_FORGET_AUDIT = """
DELETE FROM audit WHERE id IN (
  SELECT id FROM audit WHERE project_id = :project ORDER BY at DESC, id DESC LIMIT :most OFFSET :kept)
"""
_NEWEST_IN_SANDBOX_BEYOND = """
SELECT at FROM event WHERE project_id = ? AND environment = 'test' ORDER BY at DESC, id DESC LIMIT 1 OFFSET ?
"""
# The conditions on status are written so that SQLite finds the partial indexes of `file`; a row with a sweep_at has still to be swept.
_DELETED_FILES = """
SELECT number FROM file WHERE project_id = ? AND environment = ? AND status = 'DELETED'
   AND number > ? AND number < ? AND sweep_at IS NULL AND deleted_at < ? ORDER BY number LIMIT ?
"""
_FAILED_FILES = """
SELECT number FROM file WHERE project_id = ? AND environment = ? AND status <> 'DELETED' AND status = 'FAILED'
   AND number > ? AND number < ? AND sweep_at IS NULL AND updated_at < ? ORDER BY number LIMIT ?
"""
_FAILED_OF_BROWSERS = """
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


def all_projects() -> list[str]:
    """Return the ids of all projects, those that are being deleted included."""
    return [project_id for (project_id,) in execute("SELECT id FROM project").fetchall()]


def present_projects() -> list[str]:
    """Return the ids of the projects that are not deleted."""
    return [project_id for (project_id,) in execute("SELECT id FROM project WHERE deleted_at IS NULL").fetchall()]


# Events, deliveries, audit entries.


def forget_events(before_ms: int, most: int) -> int:
    """Delete those of the `most` oldest events that happened before then; return how many."""
    return _forget_events(_OLDEST_EVENTS, {"before": before_ms, "most": most})


def forget_events_in_sandbox(project_id: str, until_ms: int, most: int) -> int:
    """Delete up to `most` events of a project's test environment up to then, the oldest first; return how many."""
    return _forget_events(_IN_SANDBOX, {"project": project_id, "until": until_ms, "most": most})


def _forget_events(which: str, values: dict[str, str | int]) -> int:
    execute(_NOTE_GAP.format(events=which), values)
    return execute(f"DELETE {which}", values).rowcount


def newest_in_sandbox_beyond(kept: int, project_id: str) -> int | None:
    """Return when the newest event in a project's test environment happened that is not among the `kept` newest."""
    row = execute(_NEWEST_IN_SANDBOX_BEYOND, (project_id, kept)).fetchone()
    return None if row is None else int(row[0])


def forget_deliveries(project_id: str, environment: str, before_ms: int, most: int) -> int:
    """Delete up to `most` deliveries that were made and ended before then; return how many."""
    values = {"project": project_id, "environment": environment, "before": before_ms, "most": most}
    return execute(_FORGET_DELIVERIES, values).rowcount


def forget_deliveries_in_sandbox(project_id: str, until_ms: int, most: int) -> int:
    """Delete up to `most` deliveries of a project's test environment that were made up to then and have ended; return how many."""
    return execute(_FORGET_DELIVERIES_IN_SANDBOX, {"project": project_id, "until": until_ms, "most": most}).rowcount


def forget_test_events(before_ms: int, most: int) -> int:
    """Delete up to `most` deliveries of test events that ended before then; return how many."""
    return execute(_FORGET_TEST_EVENTS, {"before": before_ms, "most": most}).rowcount


def forget_destinations(most: int) -> int:
    """Delete up to `most` destinations that neither a delivery nor a file route refers to; return how many."""
    return execute(_FORGET_DESTINATIONS, {"most": most}).rowcount


def forget_audit(project_id: str, kept: int, most: int) -> int:
    """Delete up to `most` entries of a project that are not among the `kept` newest; return how many."""
    return execute(_FORGET_AUDIT, {"project": project_id, "kept": kept, "most": most}).rowcount


# Files, by their numbers.


def deleted_files(project_id: str, environment: str, before_ms: int, after_number: int, most: int) -> list[int]:
    """Return up to `most` files made and DELETED before then, and swept, after a number, oldest first."""
    return _numbers(_DELETED_FILES, project_id, environment, after_number, before_ms << NUMBER_BITS, before_ms, most)


def failed_files(project_id: str, environment: str, before_ms: int, after_number: int, most: int) -> list[int]:
    """Return up to `most` files made and FAILED before then, and swept, after a number, oldest first."""
    return _numbers(_FAILED_FILES, project_id, environment, after_number, before_ms << NUMBER_BITS, before_ms, most)


def failed_of_browsers(before_ms: int, most: int) -> list[int]:
    """Return up to `most` uploads without an API key that FAILED before then and are swept."""
    return _numbers(_FAILED_OF_BROWSERS, before_ms, most)


def newest_failed_beyond(kept: int, project_id: str, environment: str) -> int | None:
    """Return the newest upload that failed, or was deleted unfinished, and is not among the `kept` newest."""
    return next(iter(_numbers(_NEWEST_FAILED_BEYOND, project_id, environment, kept)), None)


def failed_until(project_id: str, environment: str, until_number: int, after_number: int, most: int) -> list[int]:
    """Return up to `most` uploads between two numbers that failed, or were deleted unfinished, and are swept, oldest first."""
    return _numbers(_FAILED_UNTIL, project_id, environment, after_number, until_number, most)


def forget_events_and_deliveries_of(numbers: Sequence[int]) -> None:
    """Delete what tells of files, but for deliveries that are still on their way."""
    named: dict[str, str | int] = {"numbers": json.dumps(numbers)}
    execute(_FORGET_DELIVERIES_OF, named)
    _forget_events(_EVENTS_OF, named)


def removable(numbers: Sequence[int]) -> list[File]:
    """Return those of these files that are DELETED or FAILED, and swept."""
    return list(File.select().where(File.number << list(numbers), File.status << ["DELETED", "FAILED"], File.sweep_at.is_null()))


def remove_files(numbers: Sequence[int]) -> int:
    """Delete the rows of files; return how many."""
    return execute("DELETE FROM file WHERE number IN (SELECT value FROM json_each(?))", (json.dumps(numbers),)).rowcount


def _numbers(sql: str, *values: str | int) -> list[int]:
    return [number for (number,) in execute(sql, values).fetchall()]
