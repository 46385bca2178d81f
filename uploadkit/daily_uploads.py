"""How many uploads were completed on each of the last days (UTC), for a chart.

Days that are over do not change any more: each is counted once and kept in memory, so that a page costs what today's events cost.
"""

from __future__ import annotations

from typing import NamedTuple

from uploadkit import clock
from uploadkit.access import Caller
from uploadkit.db import execute

_DAY_MS = 86_400_000
_MOST_KEPT = 100_000
_COUNT = """
SELECT at / 86400000, count(*) FROM event
 WHERE project_id = ? AND environment = ? AND at >= ? AND status = 'UPLOADED' GROUP BY 1
"""
_over: dict[tuple[str, str, int], int] = {}


class Day(NamedTuple):
    """One day: when it began (milliseconds since the epoch) and how many uploads were completed on it."""

    began_at: int
    uploads: int


def last_days(caller: Caller, days: int) -> list[Day]:
    """Return the last `days` days of the caller's project and environment, today last."""
    today = clock.now_ms() // _DAY_MS
    wanted = range(today - days + 1, today + 1)
    scope = (caller.project_id, caller.environment)
    known = {day: _over[(*scope, day)] for day in wanted if (*scope, day) in _over}
    first_unknown = next(day for day in wanted if day not in known)
    counted: dict[int, int] = dict(execute(_COUNT, (*scope, first_unknown * _DAY_MS)).fetchall())
    counts = known | {day: counted.get(day, 0) for day in wanted if day >= first_unknown}
    if len(_over) > _MOST_KEPT:
        _over.clear()
    _over.update({(*scope, day): count for day, count in counts.items() if day < today})
    return [Day(day * _DAY_MS, counts[day]) for day in wanted]
