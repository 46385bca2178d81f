"""`/projects/{id}/file-routes` and `/file-routes/{id}`: list, make, change and delete file routes."""

from __future__ import annotations

from flask import Response, g

from uploadkit.core.errors import Conflict, DuplicateSlug, IdempotencyConflict, NotFound
from uploadkit.db.models import FileRoute
from uploadkit.projects import file_routes
from uploadkit.schemas.base import DELETED, Deleted, PageQuery
from uploadkit.schemas.file_routes import FileRouteBody, FileRouteChangesBody, FileRouteObject, FileRoutePage, FileRoutePath
from uploadkit.schemas.projects import ProjectPath
from uploadkit.web.api.blueprint import api, once
from uploadkit.web.openapi import answers
from uploadkit.web.requests import context, json_answer


def _shown(route: FileRoute) -> FileRouteObject:
    return FileRouteObject.of(route, context().config.server.base_url)


@api.get("/projects/<projectId>/file-routes", **answers(FileRoutePage, NotFound))
def list_file_routes(path: ProjectPath, query: PageQuery) -> Response:
    """List a project's file routes, newest first."""
    page = file_routes.list_file_routes(g.caller, path.project_id, query.limit, query.cursor)
    return json_answer(FileRoutePage.of(page, _shown))


@api.post(
    "/projects/<projectId>/file-routes",
    **answers(FileRouteObject, NotFound, Conflict, DuplicateSlug, IdempotencyConflict, status=201, body=True),
)
def create_file_route(path: ProjectPath, body: FileRouteBody) -> Response:
    """Make a file route."""
    route = once(
        lambda remember: file_routes.create_file_route(context().config, g.caller, path.project_id, body.to_columns(), remember),
        lambda route_id: file_routes.find_by_id(g.caller, route_id),
    )
    return json_answer(_shown(route), 201)


@api.get("/file-routes/<fileRouteId>", **answers(FileRouteObject, NotFound))
def get_file_route(path: FileRoutePath) -> Response:
    """Get one file route."""
    return json_answer(_shown(file_routes.find_by_id(g.caller, path.file_route_id)))


@api.patch("/file-routes/<fileRouteId>", **answers(FileRouteObject, NotFound, Conflict, DuplicateSlug, body=True))
def update_file_route(path: FileRoutePath, body: FileRouteChangesBody) -> Response:
    """Change a file route, for uploads from now on."""
    route = file_routes.update_file_route(context().config, g.caller, path.file_route_id, body.to_columns())
    return json_answer(_shown(route))


@api.delete("/file-routes/<fileRouteId>", **answers(Deleted, NotFound, Conflict))
def delete_file_route(path: FileRoutePath) -> Response:
    """Delete a file route; its files stay."""
    file_routes.delete_file_route(g.caller, path.file_route_id)
    return json_answer(DELETED)
