"""The log of uploads, live."""

from __future__ import annotations

from flask import render_template, request

from uploadkit import events
from uploadkit.web import schemas
from uploadkit.web.dashboard import forms
from uploadkit.web.dashboard.files import STATUSES
from uploadkit.web.dashboard.gate import caller, project


@project.get("/logs")
def list_logs() -> str:
    """List what happened to files, newest first; the newest page keeps itself up to date."""
    given = {name: request.args[name] for name in ("status", "since") if request.args.get(name)}
    query = forms.validated(schemas.LogListQuery, given)
    page = events.list_events(caller(), query.status, query.since, forms.MOST_ON_A_PAGE, forms.cursor())
    return render_template("dashboard/logs.html", page=page, statuses=STATUSES)
