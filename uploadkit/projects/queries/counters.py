"""What is counted of a project: storage and uploads (columns of `project`, rows of `usage`), and its requests by day.

The rules are in `quotas.py` and `usage.py`. What changes a counter runs in the caller's write transaction.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from peewee import fn

from uploadkit.db.connection import execute
from uploadkit.db.models import File, Project, RequestCount, Usage

# Quota.

_RESERVE = """
UPDATE project SET storage_reserved_bytes = storage_reserved_bytes + :size, uploads_reserved = uploads_reserved + 1
 WHERE id = :project
   AND (:max_storage IS NULL OR storage_used_bytes + storage_reserved_bytes + :size <= :max_storage)
   AND (:max_uploads IS NULL OR uploads_reserved < :max_uploads - coalesce(
     (SELECT uploads FROM usage WHERE project_id = :project AND environment = 'live' AND period = :period), 0))
"""
_SETTLE = """
UPDATE project SET storage_reserved_bytes = storage_reserved_bytes - ?, storage_used_bytes = storage_used_bytes + ?,
  uploads_reserved = uploads_reserved - 1, files_stored = files_stored + 1 WHERE id = ?
"""
_COUNT = """
INSERT INTO usage (project_id, environment, period, uploads, bytes_uploaded, bytes_deleted) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET uploads = uploads + excluded.uploads, bytes_uploaded = bytes_uploaded + excluded.bytes_uploaded,
  bytes_deleted = bytes_deleted + excluded.bytes_deleted
"""
_COUNT_PURGED = """
UPDATE usage SET purged_uploads = purged_uploads + ?, purged_bytes_uploaded = purged_bytes_uploaded + ?,
  purged_bytes_deleted = purged_bytes_deleted + ? WHERE project_id = ? AND environment = ? AND period = ?
"""
_FREE = "UPDATE project SET storage_used_bytes = storage_used_bytes - ?, files_stored = files_stored - 1 WHERE id = ?"
# Everything it needs stands in the index.
_SANDBOX = """
SELECT count(*), count(*) FILTER (WHERE status IN ('UPLOADING', 'UPLOADED')),
       coalesce(sum(size_bytes) FILTER (WHERE status IN ('UPLOADING', 'UPLOADED')), 0)
  FROM file INDEXED BY file_held_by_sandbox WHERE project_id = ? AND environment = 'test'
"""
_COME_TO_NOTHING = """
SELECT 1 FROM file INDEXED BY file_come_to_nothing
 WHERE project_id = ? AND environment = ? AND uploaded_at IS NULL AND status IN ('FAILED', 'DELETED') AND api_key_id IS NOT NULL
 ORDER BY number DESC LIMIT 1 OFFSET ?
"""


def reserve(project_id: str, period: str, size_bytes: int, *, max_storage: int | None, max_uploads: int | None) -> bool:
    """Set `size_bytes` and one upload aside, if both fit: of storage what is used and reserved up to `max_storage`, of uploads those of
    the month `period` and those reserved up to `max_uploads` (None: any number). Return whether they did; else nothing is changed.
    """
    asked = {"project": project_id, "size": size_bytes, "max_storage": max_storage, "max_uploads": max_uploads, "period": period}
    return execute(_RESERVE, asked).rowcount == 1


def settle(project_id: str, *, reserved_bytes: int, size_bytes: int) -> None:
    """Turn the reservation of one upload into use."""
    execute(_SETTLE, (reserved_bytes, size_bytes, project_id))


def release_upload(project_id: str) -> None:
    """Give one reserved upload back."""
    execute("UPDATE project SET uploads_reserved = uploads_reserved - 1 WHERE id = ?", (project_id,))


def release_bytes(project_id: str, file_id: str, reserved_bytes: int) -> None:
    """Give `reserved_bytes` back; the row of the file that held them holds none from then on."""
    execute("UPDATE project SET storage_reserved_bytes = storage_reserved_bytes - ? WHERE id = ?", (reserved_bytes, project_id))
    execute("UPDATE file SET reserved_bytes = 0 WHERE id = ?", (file_id,))


def free_storage(project_id: str, size_bytes: int) -> None:
    """Count one stored file of `size_bytes` less."""
    execute(_FREE, (size_bytes, project_id))


def count_in_month(
    project_id: str, environment: str, period: str, *, uploads: int = 0, bytes_uploaded: int = 0, bytes_deleted: int = 0
) -> None:
    """Add to what happened in the month `period`, such as 2026-04."""
    execute(_COUNT, (project_id, environment, period, uploads, bytes_uploaded, bytes_deleted))


def count_purged(
    project_id: str, environment: str, period: str, *, uploads: int = 0, bytes_uploaded: int = 0, bytes_deleted: int = 0
) -> None:
    """Add to what the rows that are gone for good had counted in the month `period`."""
    execute(_COUNT_PURGED, (uploads, bytes_uploaded, bytes_deleted, project_id, environment, period))


class Sandbox(NamedTuple):
    """What is in the test environment of a project: all rows; files that are there or being uploaded, and their bytes."""

    rows: int
    files: int
    held_bytes: int


def sandbox(project_id: str) -> Sandbox:
    """Return what is in the test environment of a project now."""
    return Sandbox(*execute(_SANDBOX, (project_id,)).fetchone())


def more_came_to_nothing_than(most: int, project_id: str, environment: str) -> bool:
    """Say whether more than `most` rows are of uploads that API keys or upload tokens began, and that failed or were deleted unfinished."""
    return execute(_COME_TO_NOTHING, (project_id, environment, most)).fetchone() is not None


# Use.

_UPLOADS_BY_DAY = """
SELECT at / 86400000, at < :settled, count(*) FROM event
 WHERE project_id = :project AND environment = :environment AND at >= :since AND status = 'UPLOADED' GROUP BY 1, 2
"""


def uploads_in(project_id: str, environment: str, period: str) -> int:
    """Return how many uploads were completed in the month `period`."""
    month: Usage | None = Usage.get_or_none(Usage.project == project_id, Usage.environment == environment, Usage.period == period)
    return month.uploads if month else 0


def storage_of(project_id: str) -> tuple[int, int]:
    """Return the bytes that a project stores, and those that uploads under way have reserved. Raises peewee.DoesNotExist."""
    project: Project = Project.get_by_id(project_id)
    return project.storage_used_bytes, project.storage_reserved_bytes


def stored_bytes(project_id: str, environment: str) -> int:
    """Add up the files of an environment that has no counter, row by row."""
    own = File.select(fn.sum(File.size_bytes)).where(File.project == project_id, File.environment == environment)
    return int(own.where(File.status == "UPLOADED").scalar() or 0)


def months(project_ids: Collection[str], environment: str) -> list[Usage]:
    """Return what is counted of these projects by month, in any order."""
    return list(Usage.select().where(Usage.project << list(project_ids), Usage.environment == environment))


def uploads_by_day(project_id: str, environment: str, since_ms: int, settled_ms: int) -> list[tuple[int, bool, int]]:
    """Count the uploads completed from `since_ms` on: by day (its number since the epoch), and whether they came before `settled_ms`."""
    values = {"project": project_id, "environment": environment, "since": since_ms, "settled": settled_ms}
    return [(day, bool(is_settled), count) for day, is_settled, count in execute(_UPLOADS_BY_DAY, values).fetchall()]


# Counters held against the rows they count.

# Project, environment, month ("" for what belongs to none), counter, what it says, and what the rows say.
_Difference = tuple[str, str, str, str, int, int]
_PROJECTS = """
WITH held AS (
  SELECT project_id, sum(iif(status = 'UPLOADED', size_bytes, 0)) AS used, sum(reserved_bytes) AS reserved,
         sum(status = 'UPLOADING') AS under_way, sum(status = 'UPLOADED') AS stored
    FROM file WHERE environment = 'live' GROUP BY project_id),
figures (project_id, counter, counted, recomputed) AS (
  SELECT p.id, 'storage_used_bytes', p.storage_used_bytes, coalesce(used, 0) FROM project p LEFT JOIN held ON project_id = p.id
  UNION ALL
  SELECT p.id, 'storage_reserved_bytes', p.storage_reserved_bytes, coalesce(reserved, 0) FROM project p LEFT JOIN held ON project_id = p.id
  UNION ALL
  SELECT p.id, 'uploads_reserved', p.uploads_reserved, coalesce(under_way, 0) FROM project p LEFT JOIN held ON project_id = p.id
  UNION ALL
  SELECT p.id, 'files_stored', p.files_stored, coalesce(stored, 0) FROM project p LEFT JOIN held ON project_id = p.id)
SELECT project_id, 'live', '', counter, counted, recomputed FROM figures JOIN project ON id = project_id AND deleted_at IS NULL
 WHERE counted <> recomputed ORDER BY project_id, counter
"""
_MONTHS = """
WITH happened AS (
  SELECT project_id, environment, strftime('%Y-%m', uploaded_at / 1000, 'unixepoch') AS period,
         1 AS uploads, size_bytes AS uploaded, 0 AS deleted FROM file WHERE uploaded_at IS NOT NULL
  UNION ALL
  SELECT project_id, environment, strftime('%Y-%m', deleted_at / 1000, 'unixepoch'), 0, 0, size_bytes
    FROM file WHERE uploaded_at IS NOT NULL AND deleted_at IS NOT NULL
  UNION ALL
  SELECT project_id, environment, period, purged_uploads, purged_bytes_uploaded, purged_bytes_deleted FROM usage),
sums AS (
  SELECT project_id, environment, period, sum(uploads) AS uploads, sum(uploaded) AS uploaded, sum(deleted) AS deleted
    FROM happened GROUP BY project_id, environment, period),
figures (project_id, environment, period, counter, counted, recomputed) AS (
  SELECT s.project_id, s.environment, s.period, 'uploads', coalesce(u.uploads, 0), s.uploads
    FROM sums s LEFT JOIN usage u USING (project_id, environment, period)
  UNION ALL
  SELECT s.project_id, s.environment, s.period, 'bytes_uploaded', coalesce(u.bytes_uploaded, 0), s.uploaded
    FROM sums s LEFT JOIN usage u USING (project_id, environment, period)
  UNION ALL
  SELECT s.project_id, s.environment, s.period, 'bytes_deleted', coalesce(u.bytes_deleted, 0), s.deleted
    FROM sums s LEFT JOIN usage u USING (project_id, environment, period))
SELECT figures.* FROM figures JOIN project ON id = project_id AND deleted_at IS NULL
 WHERE counted <> recomputed ORDER BY project_id, environment, period, counter
"""


def differences() -> list[_Difference]:
    """Return each counter of a project that is not deleted that does not say what the rows say."""
    return [row for sql in (_PROJECTS, _MONTHS) for row in execute(sql).fetchall()]


def set_in_project(project_id: str, counter: str, value: int) -> None:
    """Set a counter of a project. Its name is one that `differences` gave, never from outside."""
    execute(f"UPDATE project SET {counter} = ? WHERE id = ?", (value, project_id))  # noqa: S608


def set_in_month(project_id: str, environment: str, period: str, counter: str, value: int) -> None:
    """Set a counter of a month. Its name is one that `differences` gave, never from outside."""
    where = (project_id, environment, period)
    execute("INSERT INTO usage (project_id, environment, period) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", where)
    execute(f"UPDATE usage SET {counter} = ? WHERE project_id = ? AND environment = ? AND period = ?", (value, *where))  # noqa: S608


# Requests.

# A project that has gone meanwhile has nothing to be counted.
_ADD_REQUESTS = """
INSERT INTO request_count (project_id, environment, day, requests)
SELECT :project, :environment, :day, :requests WHERE EXISTS (SELECT 1 FROM project WHERE id = :project)
ON CONFLICT (project_id, environment, day) DO UPDATE SET requests = requests + excluded.requests
"""


def add_requests(project_id: str, environment: str, day: str, requests: int) -> None:
    """Count `requests` more on `day`, such as 2026-04-08, unless the project is gone."""
    execute(_ADD_REQUESTS, {"project": project_id, "environment": environment, "day": day, "requests": requests})


def requests_by_day(project_ids: Collection[str], environment: str, since_day: str) -> list[tuple[str, str, int]]:
    """Return project, day and number of requests, of these projects from `since_day` on."""
    rows = RequestCount.select().where(
        RequestCount.project << list(project_ids), RequestCount.environment == environment, RequestCount.day >= since_day
    )
    return [(row.project_id, row.day, row.requests) for row in rows]
