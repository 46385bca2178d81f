"""The dashboard: pages for people over the same services as the API. One module per room; no view asks the database."""

from __future__ import annotations

from flask import Flask
from flask_bootstrap import Bootstrap5

from uploadkit.context import Context
from uploadkit.diagnosis import Examiner
from uploadkit.web.dashboard import (
    accounts,
    audit,
    elsewhere,
    file_routes,
    files,
    gate,
    keys,
    logs,
    overview,
    projects,
    settings,
    shown,
    storage,
    upload_door,
    usage,
    webhooks,
)

__all__ = ["install"]

# Each has put its pages on the two blueprints.
_ROOMS = (accounts, overview, files, upload_door, keys, file_routes, webhooks, logs, usage, projects, audit, storage, settings, elsewhere)
gate.dashboard.register_blueprint(gate.project)


def install(app: Flask, ctx: Context) -> None:
    """Give `app` the pages under /dashboard, and Bootstrap out of its installed package."""
    app.config["BOOTSTRAP_SERVE_LOCAL"] = True
    Bootstrap5(app)
    app.jinja_env.filters.update(shown.FILTERS)
    app.extensions["uploadkit.examiner"] = Examiner(ctx)
    app.register_blueprint(gate.dashboard)
