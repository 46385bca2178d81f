"""Lists, search and pages of the dashboard over HTTP with a thousand, a hundred thousand and a million files, each beside the thousand."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager

from bench.app import app
from bench.measure import Effort, Figure, figure, seconds_of
from tests.dashboard.visitors import new_admin
from tests.support.appliance import Appliance

ROUNDS = 21
LONGEST_MS = 150
_MONTH_MS = 30 * 86_400_000
# As many rare names in each stock: a list of forty rows can't cost what one of a single row does.
_FILL = """
WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < :files - 1)
INSERT INTO file (number, id, project_id, environment, route_slug, key, file_name, size_bytes, content_type, visibility, status,
                  expires_at, deadline_at, created_at, updated_at, uploaded_at)
SELECT (:since + i * :step) * 1048576, printf('%036d', i), :project, 'live', 'default', 'k/' || i,
       CASE WHEN i % (:files / 40) = 7 THEN 'lighthouse ' WHEN i % 5 = 0 THEN 'beach ' ELSE 'photo ' END || (i * 7919 % 1000003) || '.jpg',
       50000, CASE i % 3 WHEN 0 THEN 'image/jpeg' WHEN 1 THEN 'video/mp4' ELSE 'application/pdf' END, 'public', 'UPLOADED',
       0, 0, :since + i * :step, 0, 0 FROM n
"""
_FILL_EVENTS = """
WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < :files - 1)
INSERT INTO event (id, at, event, project_id, environment, file_id, key, file_name, route_slug, status)
SELECT printf('e%035d', i), :since + i * :step, 'upload.completed', :project, 'live', printf('%036d', i), 'k/' || i, 'photo', 'default',
       'UPLOADED' FROM n
"""
Call = Callable[[], object]


def measure(effort: Effort) -> list[Figure]:
    """Fill an appliance per stock, then load each page from all of them in turns."""
    with ExitStack() as stack:
        calls = [_calls(stack.enter_context(_stocked(files))) for files in effort.stocks]
        return [one for name in calls[0] for one in _figures(effort, name, [stocked[name] for stocked in calls])]


def _figures(effort: Effort, name: str, calls: list[Call]) -> Iterator[Figure]:
    for call in calls:
        call()
    rounds = [[seconds_of(call) * 1000 for call in calls] for _ in range(ROUNDS)]
    for place, files in list(enumerate(effort.stocks))[1:]:
        pairs = [(times[place], times[0]) for times in rounds]
        yield figure(f"{name}, {files:,} files", f"{effort.stocks[0]:,} files", "ms", pairs, at_most=2, ours_at_most=LONGEST_MS)


@contextmanager
def _stocked(files: int) -> Iterator[Appliance]:
    with app() as appliance:
        project = appliance.call("GET", "/projects").json["items"][0]["id"]
        appliance.stop()
        since = int(time.time() * 1000) - _MONTH_MS
        values = {"files": files, "since": since, "step": _MONTH_MS // files, "project": project}
        with closing(sqlite3.connect(appliance.data_dir / "uploadkit.db")) as connection, connection:
            connection.execute(_FILL, values)
            connection.execute(_FILL_EVENTS, values)
            connection.execute("UPDATE project SET files_stored = :files", values)
        yield appliance.start()


def _calls(appliance: Appliance) -> dict[str, Call]:
    """What is loaded, by its name: lists of the API, and pages of the dashboard."""
    long_ago = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 0.9 * _MONTH_MS / 1000))
    deep = appliance.call("GET", f"/files?limit=1&until={long_ago}").json["nextCursor"]
    lists = {
        "API list, first page": "/files?limit=20",
        "API list, page nine tenths down": f"/files?limit=20&cursor={deep}",
        "API search, one file in five": "/files?search=beach",
        "API search, forty files in all": "/files?search=lighthouse",
        "API search, no file": "/files?search=nothing-like-it",
        "API search, two letters, no file": "/files?search=zq",
        "API list of failed files, none": "/files?status=FAILED",
        "API list of one type": "/files?contentType=video/*",
    }
    pages = {
        "dashboard, overview": "overview",
        "dashboard, files": "files",
        "dashboard, files nine tenths down": f"files?cursor={deep}",
        "dashboard, search": "files?search=lighthouse",
        "dashboard, logs": "logs",
    }
    visitor = new_admin(appliance)

    def listed(path: str) -> Call:
        return lambda: _require(appliance.call("GET", path).status)

    def rendered(path: str) -> Call:
        return lambda: _require(visitor.get(f"/dashboard/p/default/live/{path}").status)

    return {name: listed(path) for name, path in lists.items()} | {name: rendered(path) for name, path in pages.items()}


def _require(status: int) -> None:
    assert status == 200, status
