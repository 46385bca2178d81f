"""`/projects…`: find, make, change and delete projects."""

from __future__ import annotations

from flask import Response, g

from uploadkit.auth import callers
from uploadkit.config import tier_limits
from uploadkit.core.errors import Conflict, IdempotencyConflict, NotFound
from uploadkit.db.models import Project
from uploadkit.projects import service as projects
from uploadkit.schemas.base import DELETED, Deleted, PageQuery
from uploadkit.schemas.projects import ProjectBody, ProjectChangesBody, ProjectObject, ProjectPage, ProjectPath
from uploadkit.web.api.blueprint import api, once
from uploadkit.web.openapi import answers
from uploadkit.web.requests import context, json_answer


@api.get("/projects", **answers(ProjectPage))
def list_projects(query: PageQuery) -> Response:
    """List projects, newest first."""
    return json_answer(ProjectPage.of(projects.list_projects(g.caller, query.limit, query.cursor), _rendered))


@api.post("/projects", **answers(ProjectObject, NotFound, Conflict, IdempotencyConflict, status=201, body=True))
def create_project(body: ProjectBody) -> Response:
    """Make a project, with its file route `default`."""
    project = once(
        lambda remember: projects.create_project(context().config, g.caller, body.name, body.tier, remember),
        lambda project_id: callers.find_project(g.caller, project_id),
    )
    return json_answer(_rendered(project), 201)


@api.get("/projects/<projectId>", **answers(ProjectObject, NotFound))
def get_project(path: ProjectPath) -> Response:
    """Get one project; any key may get its own."""
    return json_answer(_rendered(callers.find_project(g.caller, path.project_id)))


@api.patch("/projects/<projectId>", **answers(ProjectObject, NotFound, body=True))
def update_project(path: ProjectPath, body: ProjectChangesBody) -> Response:
    """Change a project's name, tier, own limits or retention; limits hold at the next request."""
    return json_answer(_rendered(projects.update_project(context().config, g.caller, path.project_id, body.to_columns())))


@api.delete("/projects/<projectId>", **answers(Deleted, NotFound, Conflict))
def delete_project(path: ProjectPath) -> Response:
    """Delete a project: its keys stop working at once, its files go in the background."""
    projects.delete_project(g.caller, path.project_id)
    context().signals.wake_removals()
    return json_answer(DELETED)


def _rendered(project: Project) -> ProjectObject:
    return ProjectObject.of(project, tier_limits.limits_of(context().config, project.tier, project.limit_overrides))
