"""`/projects…`: find, make, change and delete projects."""

from __future__ import annotations

from flask import Response, g

from uploadkit.auth import callers
from uploadkit.config import tier_limits
from uploadkit.core.errors import Conflict, IdempotencyConflict, NotFound
from uploadkit.db.models import Project
from uploadkit.projects import service as projects
from uploadkit.schemas import base as schemas
from uploadkit.schemas import file_routes as schemas_admin
from uploadkit.schemas import files as shapes
from uploadkit.schemas import projects as shapes_admin
from uploadkit.schemas import uploads as documented
from uploadkit.web.api.blueprint import api, once
from uploadkit.web.openapi import answers
from uploadkit.web.requests import context, json_answer


@api.get("/projects", **answers(shapes_admin.ProjectPage))
def list_projects(query: schemas.PageQuery) -> Response:
    """List projects, newest first."""
    return json_answer(documented.page_of(projects.list_projects(g.caller, query.limit, query.cursor), _rendered))


@api.post("/projects", **answers(shapes_admin.ProjectObject, NotFound, Conflict, IdempotencyConflict, status=201, body=True))
def create_project(body: schemas_admin.ProjectBody) -> Response:
    """Make a project, with its file route `default`."""
    project = once(
        lambda remember: projects.create_project(context().config, g.caller, body.name, body.tier, remember),
        lambda project_id: callers.find_project(g.caller, project_id),
    )
    return json_answer(_rendered(project), 201)


@api.get("/projects/<projectId>", **answers(shapes_admin.ProjectObject, NotFound))
def get_project(path: schemas_admin.ProjectPath) -> Response:
    """Get one project; any key may get its own."""
    return json_answer(_rendered(callers.find_project(g.caller, path.project_id)))


@api.patch("/projects/<projectId>", **answers(shapes_admin.ProjectObject, NotFound, body=True))
def update_project(path: schemas_admin.ProjectPath, body: schemas_admin.ProjectChangesBody) -> Response:
    """Change a project's name, tier, own limits or retention; limits hold at the next request."""
    return json_answer(_rendered(projects.update_project(context().config, g.caller, path.project_id, body.to_columns())))


@api.delete("/projects/<projectId>", **answers(shapes.Deleted, NotFound, Conflict))
def delete_project(path: schemas_admin.ProjectPath) -> Response:
    """Delete a project: its keys stop working at once, its files go in the background."""
    projects.delete_project(g.caller, path.project_id)
    context().signals.wake_removals()
    return json_answer({"deleted": True})


def _rendered(project: Project) -> documented.Json:
    return documented.project(project, tier_limits.limits_of(context().config, project.tier, project.limit_overrides))
