"""`/healthz`, `/readyz` and the front page: how the appliance is."""

from __future__ import annotations

from flask import Blueprint, Response, render_template

from uploadkit import __version__
from uploadkit.observability import health
from uploadkit.schemas.setup import Readiness
from uploadkit.web.requests import context, json_answer

pages = Blueprint("health", __name__)


@pages.get("/healthz")
def healthz() -> Response:
    """Answer as long as the process is up."""
    return json_answer({"status": "ok", "version": __version__})


@pages.get("/readyz")
def readyz() -> Response:
    """Answer 200 when everything an upload needs works, else 503 with the reasons; with what each periodic job has done since the start."""
    ctx = context()
    answer = Readiness.of(health.check(ctx), ctx.signals.reports())
    return json_answer(answer, 200 if answer.status == "ready" else 503)


@pages.get("/")
def front() -> str:
    """Say to a person with a browser what this is and how to upload the first file."""
    ctx = context()
    return render_template(
        "front.html",
        base_url=ctx.config.server.base_url,
        checks=health.check(ctx),
        version=__version__,
        dashboard=ctx.config.dashboard.enabled,
    )
