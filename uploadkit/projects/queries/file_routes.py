"""Rows of `file_route`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from peewee import ModelSelect

from uploadkit.db import paging, statements
from uploadkit.db.models import FileRoute, Project
from uploadkit.db.paging import Page


def insert(route_id: str, project: Project, columns: Mapping[str, Any], at_ms: int) -> FileRoute:
    """Insert a file route made at `at_ms`, in the caller's write transaction, and return it. `columns` has its slug and its rules."""
    route: FileRoute = FileRoute.create(id=route_id, project=project, created_at=at_ms, updated_at=at_ms, **columns)
    return route


def blank() -> FileRoute:
    """Return a file route with no slug and the default rules, which is in no table."""
    return FileRoute(slug="")


def get(route_id: str) -> FileRoute:
    """Return the file route with this id. Raises peewee.DoesNotExist."""
    route: FileRoute = FileRoute.get_by_id(route_id)
    return route


def find(route_id: str, project_id: str | None) -> FileRoute | None:
    """Return the file route with this id, if it is of `project_id` (None: of any), and its project not deleted."""
    query = FileRoute.select().join(Project).where(FileRoute.id == route_id, Project.deleted_at.is_null())
    if project_id is not None:
        query = query.where(FileRoute.project == project_id)
    route: FileRoute | None = query.first()
    return route


def find_by_slug(project_id: str, slug: str) -> FileRoute | None:
    """Return the file route `slug` of a project: asked for in each upload, so that the statement is put together once."""
    return statements.find(FileRoute, "project_id = ? AND slug = ?", project_id, slug)


def slug_is_taken(project_id: str, slug: str) -> bool:
    """Say whether a project has a file route `slug`."""
    return bool(FileRoute.select().where(FileRoute.project == project_id, FileRoute.slug == slug).exists())


def count(project_id: str) -> int:
    """Return how many file routes a project has."""
    return int(FileRoute.select().where(FileRoute.project == project_id).count())


def page(project_id: str, limit: int, cursor: str | None) -> Page[FileRoute]:
    """Return up to `limit` of a project's file routes, newest first. Raises ValidationFailed (cursor)."""
    query = FileRoute.select().where(FileRoute.project == project_id)
    return paging.newest_first(query, FileRoute.created_at, FileRoute.id, limit, cursor)


def oldest_first(project_id: str) -> list[FileRoute]:
    """Return all file routes of a project."""
    return list(FileRoute.select().where(FileRoute.project == project_id).order_by(FileRoute.created_at, FileRoute.id))


def with_slugs(slugs: Collection[str]) -> list[FileRoute]:
    """Return the file routes that have one of `slugs`, with their projects, where these are not deleted."""
    return list(_with_project().where(FileRoute.slug << list(slugs)))


def anonymous_of(slug: str, project_id: str | None) -> list[FileRoute]:
    """Return the file route `slug` of a project, with the project, if it takes anonymous uploads."""
    return list(_anonymous(slug).where(FileRoute.project == project_id))


def anonymous_of_slug(slug: str, project_slug: str) -> list[FileRoute]:
    """Return what `anonymous_of` does, of the project with this slug."""
    return list(_anonymous(slug).where(Project.slug == project_slug))


def anonymous_with_short_origins(slug: str, but_of: str | None) -> list[FileRoute]:
    """Return the file routes `slug` of other projects than `but_of` that kept the short address, with their projects."""
    return list(_anonymous(slug).where(FileRoute.project != but_of, FileRoute.short_origins != []))


def all_with_short_origins(but_of: str | None) -> list[FileRoute]:
    """Return what `anonymous_with_short_origins` does, of any slug."""
    return list(_with_project().where(FileRoute.anonymous_uploads, FileRoute.short_origins != [], FileRoute.project != but_of))


def update(route_id: str, columns: Mapping[str, Any]) -> None:
    """Set `columns` of a file route."""
    FileRoute.update(**columns).where(FileRoute.id == route_id).execute()


def delete(route_id: str) -> None:
    """Delete a file route; upload tokens forget it."""
    FileRoute.delete().where(FileRoute.id == route_id).execute()


def _with_project() -> ModelSelect[FileRoute]:
    return FileRoute.select(FileRoute, Project).join(Project).where(Project.deleted_at.is_null())


def _anonymous(slug: str) -> ModelSelect[FileRoute]:
    return _with_project().where(FileRoute.slug == slug, FileRoute.anonymous_uploads)
