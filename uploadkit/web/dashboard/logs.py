"""The log of uploads, live."""

from __future__ import annotations

from typing import Annotated

from flask import g, render_template, request
from pydantic import AfterValidator

from uploadkit.auth import api_keys
from uploadkit.projects import file_routes
from uploadkit.schemas.files import FileListQuery
from uploadkit.web.dashboard import forms
from uploadkit.web.dashboard.files import STATUSES, WORDS, day_after
from uploadkit.web.dashboard.guard import caller, project
from uploadkit.webhooks import event_log

_MOST_ACTIVE, _MOST_REVOKED = 500, 100
_FILTERS = ("status", "event", "route", "key", "since", "until")


def _operation(name: str) -> str:
    if name not in event_log.STATUS_AFTER:
        raise ValueError(f"must be one of {', '.join(event_log.STATUS_AFTER)}")
    return name


class _LogQuery(FileListQuery):
    """What is asked for in the address."""

    event: Annotated[str, AfterValidator(_operation)] | None = None


@project.get("/logs")
def list_logs() -> tuple[str, int]:
    """List what happened to files, newest first; the newest page keeps itself up to date."""
    found = forms.listed(lambda cursor: event_log.list_events(caller(), _filter(), forms.MOST_ON_A_PAGE, cursor))
    own = [*api_keys.all_keys(g.project.id, most=_MOST_ACTIVE), *api_keys.all_keys(g.project.id, revoked=True, most=_MOST_REVOKED)]
    page = render_template(
        "dashboard/logs.html",
        page=found.page,
        refused=found.refused,
        statuses=STATUSES,
        operations=list(event_log.STATUS_AFTER),
        routes=file_routes.all_file_routes(g.project.id),
        keys=[key for key in own if key.environment == g.environment],
        is_filtered=any(request.args.get(name) for name in _FILTERS),
    )
    return page, found.status


def _filter() -> event_log.EventFilter:
    """What is asked for in the address. Raises ValidationFailed."""
    given = request.args
    wanted = {name: given.get(name) for name in ("status", "event", "since")} | {"until": day_after(given.get("until", ""))}
    query = forms.validated(_LogQuery, {name: value for name, value in wanted.items() if value}, WORDS)
    return event_log.EventFilter(query.status, query.since, query.until, query.event, given.get("route") or None, given.get("key") or None)
