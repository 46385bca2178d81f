"""Where pages of the dashboard upload: the actions of `/api/uploadkit`, for the session in the place of an upload token."""

from __future__ import annotations

from flask import Response, g

from uploadkit.auth.callers import Browser
from uploadkit.projects import file_routes
from uploadkit.schemas.browser import UploadRules
from uploadkit.web import browser
from uploadkit.web.dashboard.guard import caller, project
from uploadkit.web.requests import json_answer


@project.get("/upload/<route_slug>")
def upload_rules(route_slug: str) -> Response:
    """Answer what may be uploaded by a file route."""
    route = file_routes.find_file_route(g.project.id, route_slug)
    return json_answer(UploadRules.of(route, caller().limits, None))


@project.post("/upload/<route_slug>")
def act_on_upload(route_slug: str) -> Response:
    """Do what `action` in the body says."""
    return browser.perform(caller(), Browser(route_slug))
