"""The dashboard: pages for people over the same services as the API. One module per page; no view asks the database."""

from __future__ import annotations

from flask import Flask
from flask_bootstrap import Bootstrap5

from uploadkit.context import Context
from uploadkit.observability.diagnosis import Examiner
from uploadkit.web.dashboard import (
    audit,
    backups,
    file_routes,
    files,
    filters,
    guard,
    keys,
    logs,
    overview,
    projects,
    redirects,
    settings,
    sign_in,
    storage,
    uploads,
    usage,
    webhooks,
)

__all__ = ["install"]

# Each has put its pages on the two blueprints.
_PAGES = (
    *(sign_in, overview, files, uploads, keys, file_routes, webhooks, logs, usage),
    *(projects, audit, storage, backups, settings, redirects),
)
guard.dashboard.register_blueprint(guard.project)


def install(app: Flask, ctx: Context) -> None:
    """Give `app` the pages under /dashboard, and Bootstrap out of its installed package."""
    app.config["BOOTSTRAP_SERVE_LOCAL"] = True
    Bootstrap5(app)
    app.jinja_env.filters.update(filters.FILTERS)
    app.extensions["uploadkit.examiner"] = Examiner(ctx)
    app.register_blueprint(guard.dashboard)
