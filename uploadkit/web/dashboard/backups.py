"""Backups: where they go, what became of the last ones, and one by button."""

from __future__ import annotations

from flask import redirect, render_template, url_for
from werkzeug.wrappers import Response

from uploadkit.maintenance.backups import schedule
from uploadkit.web.dashboard.guard import dashboard
from uploadkit.web.dashboard.notices import leave_notice
from uploadkit.web.requests import context


@dashboard.get("/backups")
def show_backups() -> str:
    """Show where backups go and what became of the last ones."""
    return render_template(
        "dashboard/backups.html", backup=context().config.backup, results=schedule.results(), is_at_work=schedule.is_requested()
    )


@dashboard.post("/backups")
def make_backup() -> Response:
    """Have a backup made; what became of it comes on the page."""
    if context().config.backup.to is None:
        leave_notice("No backup can be made: backup.to does not say where it should go.")
    else:
        schedule.request(context())
        leave_notice("A backup is being made. This page shows it once it is whole.")
    return redirect(url_for(".show_backups"))
