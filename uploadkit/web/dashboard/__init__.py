"""The dashboard: pages for people over the same services as the API. One module per room; no view asks the database."""

from __future__ import annotations

from flask import Flask
from flask_bootstrap import Bootstrap5

from uploadkit.web.dashboard import accounts, audit, file_routes, gate, keys, projects, settings, shown

__all__ = ["install"]

_ROOMS = (accounts, projects, keys, file_routes, audit, settings)  # each has put its pages on the two blueprints
gate.dashboard.register_blueprint(gate.project)


def install(app: Flask) -> None:
    """Give `app` the pages under /dashboard, and Bootstrap out of its installed package."""
    app.config["BOOTSTRAP_SERVE_LOCAL"] = True
    Bootstrap5(app)
    app.jinja_env.filters.update(shown.FILTERS)
    app.register_blueprint(gate.dashboard)
