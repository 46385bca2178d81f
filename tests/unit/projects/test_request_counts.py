"""Requests are counted in memory, written in batches, and none is lost but by a SIGKILL."""

from __future__ import annotations

import threading

import pytest
from peewee import OperationalError

from tests.conftest import App
from tests.support.clock import travelled_to
from uploadkit.core.clock import DAY_MS
from uploadkit.db.models import Project, RequestCount
from uploadkit.maintenance.scheduler import Scheduler
from uploadkit.projects.queries import counters

NOON = 1_790_000_000_000  # in September 2026


def written(app: App) -> dict[tuple[str, str], int]:
    return {(row.environment, row.day): row.requests for row in RequestCount.select().where(RequestCount.project == app.project.id)}


def test_days_months_and_what_is_not_written_yet(app: App) -> None:
    counts, mine = app.ctx.request_counts, app.project.id
    with travelled_to(NOON) as advance:
        for _ in range(3):
            counts.count(mine, "live")
        assert counts.write_down() == 3
        assert counts.write_down() == 0
        counts.count(mine, "live")
        counts.count(mine, "test")
        advance(30 * DAY_MS)
        counts.count(mine, "live")
        found = counts.of([mine, "another"], "live", "2026-01")
        assert (found[mine].today, dict(found[mine].by_month)) == (1, {"2026-09": 4, "2026-10": 1})
        assert (found["another"].today, dict(found["another"].by_month)) == (0, {})
        assert counts.write_down() == 3
        assert counts.of([mine, "another"], "live", "2026-01") == found
        assert written(app) == {("live", "2026-09-21"): 4, ("test", "2026-09-21"): 1, ("live", "2026-10-21"): 1}


def test_a_failure_loses_nothing_and_a_project_that_has_gone_stops_nobody(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = app.ctx.request_counts
    counts.count("gone", "live")
    counts.count(app.project.id, "live")

    def locked(*_: object) -> None:
        raise OperationalError("database is locked")

    with monkeypatch.context() as patched:
        patched.setattr(counters, "add_requests", locked)
        with pytest.raises(OperationalError):
            counts.write_down()
    assert counts.write_down() == 2
    assert list(written(app).values()) == [1]


def test_threads_count_while_it_is_written(app: App) -> None:
    counts = app.ctx.request_counts
    threads = [threading.Thread(target=lambda: [counts.count(app.project.id, "live") for _ in range(5000)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        counts.write_down()
    counts.write_down()
    assert sum(written(app).values()) == 20_000


def test_what_counts_and_that_a_clean_stop_writes_it(app: App) -> None:
    surface = app.client()
    assert surface.get("/api/v1/usage").status_code == 200
    assert surface.get("/sdk/api/v1/files").status_code == 200
    assert surface.get("/api/v1/usage", headers={"x-api-key": "uk_live_" + "x" * 32}).status_code == 401
    assert surface.get("/healthz").status_code == 200
    scheduler = Scheduler()
    scheduler.start(app.ctx)
    scheduler.stop()
    assert sum(written(app).values()) == 2
    assert Project.select().count() == 1
