"""The store: where the bytes go, how much there is, and the doctor. Credentials are never shown."""

from __future__ import annotations

from flask import current_app, redirect, render_template, url_for
from werkzeug.wrappers import Response

from uploadkit.observability import health
from uploadkit.observability.diagnosis import Examiner
from uploadkit.projects import service as projects
from uploadkit.web.dashboard.guard import dashboard
from uploadkit.web.dashboard.notices import leave_notice
from uploadkit.web.requests import context

_MOST_PROJECTS = 20


def examiner() -> Examiner:
    """Return the doctor of this appliance."""
    found: Examiner = current_app.extensions["uploadkit.examiner"]
    return found


@dashboard.get("/storage")
def show_storage() -> str:
    """Show the store, the disk, what each project stores, and what the doctor has found."""
    ctx = context()
    return render_template(
        "dashboard/storage.html",
        config=ctx.config,
        address=ctx.store.address,
        disk=health.disk_space(ctx),
        checks=health.check(ctx),
        biggest=projects.biggest(_MOST_PROJECTS),
        doctor=examiner(),
        trust=ctx.store_trust,
    )


@dashboard.post("/storage/doctor")
def run_doctor() -> Response:
    """Have the doctor look; what it finds comes on the page while it does."""
    if not examiner().start():
        leave_notice("The doctor is already running.")
    return redirect(url_for(".show_storage", _anchor="doctor"))
