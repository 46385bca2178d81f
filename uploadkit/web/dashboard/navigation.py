"""Which pages there are, and where one is."""

from __future__ import annotations

from typing import Any, NamedTuple
from urllib.parse import urlencode

from flask import g, request, url_for

from uploadkit.core.errors import NotFound
from uploadkit.core.values import Environment
from uploadkit.db.models import Project
from uploadkit.projects import service as projects
from uploadkit.web.dashboard.cookies import cookie_name

# The navigation: what a page calls itself, by the endpoint that it leads to.
PAGES_OF_A_PROJECT = (
    ("show_overview", "Overview"),
    ("list_files", "Files"),
    ("list_keys", "API keys"),
    ("list_file_routes", "File routes"),
    ("list_deliveries", "Webhooks"),
    ("list_logs", "Logs"),
    ("show_usage", "Usage"),
    ("show_project", "Project settings"),
)
PAGES_OF_THE_APPLIANCE = (
    ("list_projects", "Projects"),
    ("list_usage", "All usage"),
    ("list_audit", "Audit"),
    ("show_storage", "Storage"),
    ("show_backups", "Backups"),
    ("show_settings", "Settings"),
)


class Place(NamedTuple):
    """Where in the dashboard somebody is: what the navigation leads around in."""

    project: Project
    environment: Environment


def place() -> Place | None:
    """Return the project and environment that this page lies in; for a page of the appliance, those that the browser was in last."""
    if "project" in g:
        return Place(g.project, g.environment)
    slug, _, environment = request.cookies.get(cookie_name("place"), "").rpartition("/")
    try:
        return Place(projects.find_by_id_or_slug(slug), "test" if environment == "test" else "live")
    except NotFound:
        return None


def url_with(**changes: str | None) -> str:
    """Return the address of this page with other arguments; None takes one away.

    What stands behind the question mark is anybody's: none of it is a word to `url_for`, which has several.
    """
    kept: dict[str, Any] = request.args.to_dict() | changes
    assert request.endpoint
    here = url_for(request.endpoint, **(request.view_args or {}))
    wanted = {name: value for name, value in kept.items() if value is not None}
    return f"{here}?{urlencode(wanted)}" if wanted else here
