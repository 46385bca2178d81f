"""Pages of the dashboard with a million files and as many events in the database, over HTTP."""

from __future__ import annotations

import sqlite3
import statistics
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from tests.appliance import running
from tests.dashboard.visitors import Visitor, new_admin

FILES = 1_000_000
ROUNDS = 21
TARGET_SECONDS = 0.15
_PAGES = ("overview", "files", "files?search=beach", "files?search=oto+99", "files?search=nothing-like-it", "files?type=video/*", "logs")
_MONTH_MS = 30 * 86_400_000
_FILL = """
WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < :files - 1)
INSERT INTO file (number, id, project_id, environment, route_slug, key, file_name, size_bytes, content_type, visibility, status,
                  expires_at, deadline_at, created_at, updated_at, uploaded_at)
SELECT (:since + i * :step) * 1048576, printf('%036d', i), :project, 'live', 'default', 'k/' || i,
       CASE WHEN i % 1000 = 7 THEN 'beach ' ELSE 'photo ' END || (i * 7919 % 1000003) || '.jpg', 50000,
       CASE i % 3 WHEN 0 THEN 'image/jpeg' WHEN 1 THEN 'video/mp4' ELSE 'application/pdf' END, 'public', 'UPLOADED',
       0, 0, :since + i * :step, 0, 0 FROM n
"""
_FILL_EVENTS = """
WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < :files - 1)
INSERT INTO event (id, at, event, project_id, environment, file_id, key, file_name, route_slug, status)
SELECT printf('e%035d', i), :since + i * :step, 'upload.completed', :project, 'live', printf('%036d', i), 'k/' || i, 'photo', 'default',
       'UPLOADED' FROM n
"""


@dataclass(frozen=True)
class PageTime:
    """Seconds until a page has come: the first time, and the median and the worst of the others."""

    path: str
    first_seconds: float
    median_seconds: float
    worst_seconds: float


def page_times() -> list[PageTime]:
    """Fill a database, start an appliance on it, and load each page several times."""
    with tempfile.TemporaryDirectory() as home:
        with running(Path(home)) as appliance:
            project = appliance.call("GET", "/projects").json["items"][0]["id"]
        _fill(appliance.data_dir / "uploadkit.db", project)
        try:
            visitor = new_admin(appliance.start())
            return [_time(visitor, page) for page in _PAGES]
        finally:
            appliance.stop()


def _fill(path: Path, project: str) -> None:
    since = int(time.time() * 1000) - _MONTH_MS
    values = {"files": FILES, "since": since, "step": _MONTH_MS // FILES, "project": project}
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(_FILL, values)
        connection.execute(_FILL_EVENTS, values)


def _time(visitor: Visitor, page: str) -> PageTime:
    seconds = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        assert visitor.get(f"/dashboard/p/default/live/{page}").status == 200
        seconds.append(time.perf_counter() - begun)
    return PageTime(page, seconds[0], statistics.median(seconds[1:]), max(seconds[1:]))
