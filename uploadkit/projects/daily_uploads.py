"""How many uploads were completed on each of the last days (UTC), for a chart.

What was counted once stays counted, in memory, so that a page costs what came in since the last one and not what came in today.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from uploadkit.auth.callers import Caller
from uploadkit.core import clock
from uploadkit.db.connection import execute

# An event gets its time before it is committed: what is younger is counted again the next time.
_SETTLED_AFTER_MS = 60_000
_MOST_KEPT = 1_000
_COUNT = """
SELECT at / 86400000, at < :settled, count(*) FROM event
 WHERE project_id = :project AND environment = :environment AND at >= :since AND status = 'UPLOADED' GROUP BY 1, 2
"""


class Day(NamedTuple):
    """One day: when it began (milliseconds since the epoch) and how many uploads were completed on it."""

    began_at: int
    uploads: int


class _Counted(NamedTuple):
    """Uploads by day (its number since the epoch) from the day `first` on, as far as they came before `until` (milliseconds)."""

    first: int
    until: int
    uploads: Counter[int]


_counted: dict[tuple[str, str], _Counted] = {}


def last_days(caller: Caller, days: int) -> list[Day]:
    """Return the last `days` days of the caller's project and environment, today last."""
    now = clock.now_ms()
    today, settled = now // clock.DAY_MS, now - _SETTLED_AFTER_MS
    first, scope = today - days + 1, (caller.project_id, caller.environment)
    known = _counted.get(scope)
    if known is None or known.first > first or known.until > settled:  # the last: the clock was put back
        known = _Counted(first, first * clock.DAY_MS, Counter())
    values = {"project": scope[0], "environment": scope[1], "since": known.until, "settled": settled}
    rows = execute(_COUNT, values).fetchall()
    kept = known.uploads + Counter({day: count for day, is_settled, count in rows if is_settled})
    fresh = Counter({day: count for day, is_settled, count in rows if not is_settled})
    if len(_counted) > _MOST_KEPT:
        _counted.clear()
    _counted[scope] = _Counted(first, max(settled, known.until), Counter({day: count for day, count in kept.items() if day >= first}))
    return [Day(day * clock.DAY_MS, kept[day] + fresh[day]) for day in range(first, today + 1)]
