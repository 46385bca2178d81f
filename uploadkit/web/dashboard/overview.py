"""How a project is doing: what it uses, what came in lately, and whether all works."""

from __future__ import annotations

from flask import g, render_template

from uploadkit.auth import api_keys
from uploadkit.files import service as files
from uploadkit.observability import health
from uploadkit.projects import usage
from uploadkit.web.dashboard.files import thumbnail
from uploadkit.web.dashboard.guard import caller, project
from uploadkit.web.requests import context

_DAYS = 30
_NEWEST = 10


@project.get("/overview")
def show_overview() -> str:
    """Show figures, a chart of uploads per day, the newest files, and the appliance's health."""
    days = usage.last_days(caller(), _DAYS)
    now = usage.present(caller())
    return render_template(
        "dashboard/overview.html",
        now=now,
        requests=context().request_counts.of([g.project.id], g.environment, now.period)[g.project.id],
        active_keys=api_keys.count_active(g.project.id),
        days=days,
        highest=max(day.uploads for day in days),
        newest=files.list_files(caller(), files.FileFilter(), _NEWEST, None).items,
        thumbnail=thumbnail,
        checks=health.check(context()),
    )
