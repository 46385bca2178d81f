"""What a project uses: now, by month, and whether the counters agree with the rows they count.

Counters are kept by quotas.py. Everything they say can be recomputed from the file rows, together with what the rows that are gone for
good had counted (the `purged_*` columns of a month, written in the transaction that removed the row). Live and test figures are apart.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from peewee import fn

from uploadkit.auth.callers import Caller
from uploadkit.config import Config, TierConfig, tier_limits
from uploadkit.core import clock
from uploadkit.db import read_places
from uploadkit.db.connection import execute, write
from uploadkit.db.models import File, Project, Usage, database

HISTORY_MONTHS = 12
_NO_QUOTA = {"max_storage": None, "max_uploads_per_month": None}


@dataclass(frozen=True)
class Now:
    """Use in the present month (`period`, such as 2026-04): bytes stored, bytes reserved by uploads under way, completed uploads."""

    period: str
    storage_used_bytes: int
    storage_reserved_bytes: int
    uploads: int
    limits: TierConfig


class Month(NamedTuple):
    """What happened in one month."""

    period: str
    uploads: int
    bytes_uploaded: int
    bytes_deleted: int


@dataclass(frozen=True)
class Difference:
    """A counter that does not say what the rows say. `period` is "" for what does not belong to a month."""

    project_id: str
    environment: str
    period: str
    counter: str
    counted: int
    recomputed: int


def present(config: Config, caller: Caller) -> Now:
    """Return what the caller's project uses now; for a test key, what its sandbox holds, which has no quota.

    The sandbox has no counters: its files are added up. Raises StorageUnavailable as `files.list_files` does.
    """
    period = clock.month_of(clock.now_ms())
    month: Usage | None = Usage.get_or_none(
        Usage.project == caller.project_id, Usage.environment == caller.environment, Usage.period == period
    )
    uploads = month.uploads if month else 0
    limits = tier_limits.limits_of(config, caller.tier, caller.limit_overrides)
    if caller.environment == "test":
        return Now(period, _stored_bytes(caller), 0, uploads, limits.model_copy(update=_NO_QUOTA))
    project = Project.get_by_id(caller.project_id)
    return Now(period, project.storage_used_bytes, project.storage_reserved_bytes, uploads, limits)


def _stored_bytes(caller: Caller) -> int:
    own = File.select(fn.sum(File.size_bytes)).where(File.project == caller.project_id, File.environment == caller.environment)
    with read_places.taken(caller.project_id):
        return int(own.where(File.status == "UPLOADED").scalar() or 0)


def history(caller: Caller) -> list[Month]:
    """Return the last twelve months, this one first; a month without use is all zeros."""
    return histories([caller.project_id], caller.environment)[caller.project_id]


def histories(project_ids: Collection[str], environment: str) -> dict[str, list[Month]]:
    """Return the last twelve months of each of these projects, as `history` does."""
    rows = Usage.select().where(Usage.project << list(project_ids), Usage.environment == environment)
    found = {(row.project_id, row.period): Month(row.period, row.uploads, row.bytes_uploaded, row.bytes_deleted) for row in rows}
    periods = list(last_periods())
    return {one: [found.get((one, period)) or Month(period, 0, 0, 0) for period in periods] for one in project_ids}


def last_periods() -> Iterator[str]:
    """Give the last twelve months, such as 2026-04, this one first."""
    year, month = map(int, clock.month_of(clock.now_ms()).split("-"))
    for _ in range(HISTORY_MONTHS):
        yield f"{year:04d}-{month:02d}"
        year, month = (year, month - 1) if month > 1 else (year - 1, 12)


def find_differences() -> list[Difference]:
    """Return every counter that differs from what the rows say. One snapshot, so it may run while the appliance works."""
    with database.atomic("DEFERRED"):
        return _differences()


def repair() -> list[Difference]:
    """Set every counter that differs to what the rows say, in one write transaction; return what was set right."""
    with write():
        found = _differences()
        for difference in found:
            _set(difference)
        return found


def _differences() -> list[Difference]:
    return [Difference(*row) for sql in (_PROJECTS, _MONTHS) for row in execute(sql).fetchall()]


def _set(wrong: Difference) -> None:
    # The names of the counters come from the statements below, never from outside.
    if wrong.period:
        where: tuple[Any, ...] = (wrong.project_id, wrong.environment, wrong.period)
        execute("INSERT INTO usage (project_id, environment, period) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", where)
        sql = f"UPDATE usage SET {wrong.counter} = ? WHERE project_id = ? AND environment = ? AND period = ?"  # noqa: S608
    else:
        where, sql = (wrong.project_id,), f"UPDATE project SET {wrong.counter} = ? WHERE id = ?"  # noqa: S608
    execute(sql, (wrong.recomputed, *where))


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
