"""Usage: twelve months of a project, and all projects beside each other, as tables and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from flask import Response, g, render_template, stream_with_context

from uploadkit.auth import admins
from uploadkit.auth.callers import Caller
from uploadkit.db.models import Project
from uploadkit.projects import service as projects
from uploadkit.projects import usage
from uploadkit.projects.request_counts import Requests
from uploadkit.web.dashboard import forms
from uploadkit.web.dashboard.guard import caller, dashboard, project
from uploadkit.web.requests import context

_AT_A_TIME = 100
_OF_A_MONTH = ("period", "uploads", "bytes_uploaded", "bytes_deleted", "requests")


def _requests(project_ids: list[str], environment: str) -> dict[str, Requests]:
    return context().request_counts.of(project_ids, environment, list(usage.last_periods())[-1])


@project.get("/usage")
def show_usage() -> str:
    """Show what is used now and what happened in each of the last twelve months."""
    return render_template(
        "dashboard/usage.html",
        now=usage.present(caller()),
        months=usage.history(caller()),
        requests=_requests([g.project.id], g.environment)[g.project.id],
    )


@project.get("/usage.csv")
def download_usage() -> Response:
    """Answer the same months as CSV, sizes in bytes."""
    requests = _requests([g.project.id], g.environment)[g.project.id]
    rows = ((*month, requests.by_month[month.period]) for month in usage.history(caller()))
    return _csv(f"usage-{g.project.slug}-{g.environment}.csv", _OF_A_MONTH, [rows])


@dashboard.get("/usage")
def list_usage() -> tuple[str, int]:
    """List projects, newest first, with what each one's live environment uses now and did this month."""
    found = forms.listed(lambda cursor: projects.list_projects(admins.everywhere(g.admin), forms.MOST_ON_A_PAGE, cursor))
    ids = [row.id for row in found.page.items]
    page = render_template(
        "dashboard/all_usage.html",
        page=found.page,
        refused=found.refused,
        months=usage.histories(ids, "live"),
        requests=_requests(ids, "live"),
    )
    return page, found.status


@dashboard.get("/usage.csv")
def download_all_usage() -> Response:
    """Answer twelve months of all projects (live) as CSV; files and bytes stored are known for now alone, so for this month's line."""
    heads = ("project_id", "slug", *_OF_A_MONTH, "bytes_stored", "files")
    return _csv("usage-all-projects.csv", heads, map(_lines_of, _all_projects(admins.everywhere(g.admin))))


def _all_projects(asking: Caller) -> Iterator[Sequence[Project]]:
    """All projects, some at a time, newest first."""
    cursor: str | None = None
    while True:
        page = projects.list_projects(asking, _AT_A_TIME, cursor)
        yield page.items
        if (cursor := page.next_cursor) is None:
            return


def _lines_of(rows: Sequence[Project]) -> Iterator[tuple[object, ...]]:
    ids = [row.id for row in rows]
    months, requests = usage.histories(ids, "live"), _requests(ids, "live")
    for row in rows:
        held: tuple[object, ...] = (row.storage_used_bytes, row.files_stored)
        for month in months[row.id]:
            # Without the name: a program for tables might take it for a formula.
            yield (row.id, row.slug, *month, requests[row.id].by_month[month.period], *held)
            held = ("", "")


def _csv(name: str, heads: tuple[str, ...], pages: Iterable[Iterable[tuple[object, ...]]]) -> Response:
    """A CSV that is made while it is sent, some lines at a time."""
    answer = Response(stream_with_context(map(_written, chain([[heads]], pages))), mimetype="text/csv")
    answer.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return answer


def _written(rows: Iterable[tuple[object, ...]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()
