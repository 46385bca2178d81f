"""The log of uploads, live."""

from __future__ import annotations

from flask import g, render_template, request

from uploadkit import events, file_routes, keys
from uploadkit.errors import ValidationFailed
from uploadkit.web import schemas
from uploadkit.web.dashboard import forms
from uploadkit.web.dashboard.files import STATUSES, day_after
from uploadkit.web.dashboard.gate import caller, project

_FILTERS = ("status", "event", "route", "key", "since", "until")


@project.get("/logs")
def list_logs() -> str:
    """List what happened to files, newest first; the newest page keeps itself up to date."""
    page = events.list_events(caller(), _filter(), forms.MOST_ON_A_PAGE, forms.cursor())
    own = [*keys.all_keys(g.project.id), *keys.all_keys(g.project.id, revoked=True)]
    return render_template(
        "dashboard/logs.html",
        page=page,
        statuses=STATUSES,
        operations=list(events.STATUS_AFTER),
        routes=file_routes.all_file_routes(g.project.id),
        keys=[key for key in own if key.environment == g.environment],
        is_filtered=any(request.args.get(name) for name in _FILTERS),
    )


def _filter() -> events.EventFilter:
    """What is asked for in the address. Raises ValidationFailed."""
    given = request.args
    wanted = {"status": given.get("status"), "since": given.get("since"), "until": day_after(given.get("until", ""))}
    query = forms.validated(schemas.FileListQuery, {name: value for name, value in wanted.items() if value})
    event = given.get("event") or None
    if event is not None and event not in events.STATUS_AFTER:
        raise ValidationFailed(f"There is no operation {event!r}", f"Choose one of {', '.join(events.STATUS_AFTER)}")
    return events.EventFilter(query.status, query.since, query.until, event, given.get("route") or None, given.get("key") or None)
