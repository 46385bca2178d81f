"""How many requests each project gets, by day (UTC): counted in memory, written in batches, read with what is not written yet.

Nothing on a request's way waits for the database. A clean stop writes everything; a SIGKILL loses what came since the last batch.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass

from uploadkit.core import clock
from uploadkit.db.connection import write
from uploadkit.projects.queries import counters

WRITE_EVERY_SECONDS = 60
_Scope = tuple[str, str, int]


@dataclass(frozen=True)
class Requests:
    """Requests of one project and environment: today, and in each month (such as 2026-04) that had some."""

    today: int
    by_month: Counter[str]


class RequestCounts:
    """The counts of one appliance. Any thread may count; one at a time writes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._unwritten: Counter[_Scope] = Counter()

    def count(self, project_id: str, environment: str) -> None:
        """Count one request of a project."""
        scope = (project_id, environment, clock.now_ms() // clock.DAY_MS)
        with self._lock:
            self._unwritten[scope] += 1

    def write_down(self) -> int:
        """Write what was counted since the last time; return how many requests that were. A failure loses none of them."""
        with self._lock:
            counted = dict(self._unwritten)
        if not counted:
            return 0
        with write():
            for (project_id, environment, day), requests in counted.items():
                counters.add_requests(project_id, environment, _name_of(day), requests)
        with self._lock:
            self._unwritten -= Counter(counted)
        return sum(counted.values())

    def of(self, project_ids: Collection[str], environment: str, first_month: str) -> dict[str, Requests]:
        """Return the requests of each of these projects since the month `first_month`, those that are not written yet among them."""
        today = _name_of(clock.now_ms() // clock.DAY_MS)
        found = {project_id: Requests(0, Counter()) for project_id in project_ids}
        with self._lock:
            unwritten = [(scope[0], _name_of(scope[2]), count) for scope, count in self._unwritten.items() if scope[1] == environment]
        written = counters.requests_by_day(project_ids, environment, f"{first_month}-01")
        by_day = Counter[tuple[str, str]]()
        for project_id, day, count in [*written, *unwritten]:
            by_day[project_id, day] += count
        for (project_id, day), count in by_day.items():
            if project_id in found:
                found[project_id].by_month[day[:7]] += count
        return {one: Requests(by_day[one, today], requests.by_month) for one, requests in found.items()}


def _name_of(day: int) -> str:
    return clock.to_iso(day * clock.DAY_MS)[:10]
