"""What a project uses: now, by month, by day, and whether the counters agree with the rows they count.

Counters are kept by quotas.py. Everything they say can be recomputed from the file rows, together with what the rows that are gone for
good had counted (the `purged_*` columns of a month, written in the transaction that removed the row). Live and test figures are apart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from uploadkit.auth.callers import Caller
from uploadkit.config import TierConfig
from uploadkit.core import clock
from uploadkit.db import read_places
from uploadkit.db.connection import snapshot, write
from uploadkit.projects.queries import counters

HISTORY_MONTHS = 12
_NO_QUOTA = {"max_storage": None, "max_uploads_per_month": None}
# An event gets its time before it is committed: what is younger is counted again the next time.
_SETTLED_AFTER_MS = 60_000
_MOST_KEPT = 1_000


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


class Day(NamedTuple):
    """One day (UTC): when it began (milliseconds since the epoch) and how many uploads were completed on it."""

    began_at: int
    uploads: int


class _Counted(NamedTuple):
    """Uploads by day (its number since the epoch) from the day `first` on, as far as they came before `until` (milliseconds)."""

    first: int
    until: int
    uploads: Counter[int]


# What was counted once stays counted, in memory, so that a page costs what came in since the last one and not what came in today.
_counted: dict[tuple[str, str], _Counted] = {}


@dataclass(frozen=True)
class Difference:
    """A counter that does not say what the rows say. `period` is "" for what does not belong to a month."""

    project_id: str
    environment: str
    period: str
    counter: str
    counted: int
    recomputed: int


def present(caller: Caller) -> Now:
    """Return what the caller's project uses now; for a test key, what its sandbox holds, which has no quota.

    The sandbox has no counters: its files are added up. Raises StorageUnavailable as `files.list_files` does.
    """
    period = clock.month_of(clock.now_ms())
    uploads = counters.uploads_in(caller.project_id, caller.environment, period)
    if caller.environment == "test":
        with read_places.taken(caller.project_id):
            stored = counters.stored_bytes(caller.project_id, caller.environment)
        return Now(period, stored, 0, uploads, caller.limits.model_copy(update=_NO_QUOTA))
    used, reserved = counters.storage_of(caller.project_id)
    return Now(period, used, reserved, uploads, caller.limits)


def history(caller: Caller) -> list[Month]:
    """Return the last twelve months, this one first; a month without use is all zeros."""
    return histories([caller.project_id], caller.environment)[caller.project_id]


def histories(project_ids: Collection[str], environment: str) -> dict[str, list[Month]]:
    """Return the last twelve months of each of these projects, as `history` does."""
    rows = counters.months(project_ids, environment)
    found = {(row.project_id, row.period): Month(row.period, row.uploads, row.bytes_uploaded, row.bytes_deleted) for row in rows}
    periods = list(last_periods())
    return {one: [found.get((one, period)) or Month(period, 0, 0, 0) for period in periods] for one in project_ids}


def last_periods() -> Iterator[str]:
    """Give the last twelve months, such as 2026-04, this one first."""
    year, month = map(int, clock.month_of(clock.now_ms()).split("-"))
    for _ in range(HISTORY_MONTHS):
        yield f"{year:04d}-{month:02d}"
        year, month = (year, month - 1) if month > 1 else (year - 1, 12)


def last_days(caller: Caller, days: int) -> list[Day]:
    """Return the last `days` days (UTC) of the caller's project and environment, today last, for a chart."""
    now = clock.now_ms()
    today, settled = now // clock.DAY_MS, now - _SETTLED_AFTER_MS
    first, scope = today - days + 1, (caller.project_id, caller.environment)
    known = _counted.get(scope)
    if known is None or known.first > first or known.until > settled:  # the last: the clock was put back
        known = _Counted(first, first * clock.DAY_MS, Counter())
    found = counters.uploads_by_day(*scope, known.until, settled)
    kept = known.uploads + Counter({day: count for day, is_settled, count in found if is_settled})
    fresh = Counter({day: count for day, is_settled, count in found if not is_settled})
    if len(_counted) > _MOST_KEPT:
        _counted.clear()
    _counted[scope] = _Counted(first, max(settled, known.until), Counter({day: count for day, count in kept.items() if day >= first}))
    return [Day(day * clock.DAY_MS, kept[day] + fresh[day]) for day in range(first, today + 1)]


def find_differences() -> list[Difference]:
    """Return every counter that differs from what the rows say. One snapshot, so it may run while the appliance works."""
    with snapshot():
        return _differences()


def repair() -> list[Difference]:
    """Set every counter that differs to what the rows say, in one write transaction; return what was set right."""
    with write():
        found = _differences()
        for wrong in found:
            if wrong.period:
                counters.set_in_month(wrong.project_id, wrong.environment, wrong.period, wrong.counter, wrong.recomputed)
            else:
                counters.set_in_project(wrong.project_id, wrong.counter, wrong.recomputed)
        return found


def _differences() -> list[Difference]:
    return [Difference(*found) for found in counters.differences()]
