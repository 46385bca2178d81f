"""File routes: the rules an upload must follow, and the check of one upload against them.

A file keeps what it got from its file route when it was requested; changing or deleting the file route touches no file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from uploadkit import audit, clock, paging, rows, targets
from uploadkit.access import Caller, find_project, require_live
from uploadkit.config import Config, TierConfig
from uploadkit.db import new_id, write
from uploadkit.errors import Conflict, DuplicateSlug, FileTooLarge, FileTypeNotAllowed, NotFound, ValidationFailed
from uploadkit.idempotency import Remember, forget
from uploadkit.media_types import UNKNOWN, in_words, is_allowed
from uploadkit.models import File, FileRoute, Project
from uploadkit.paging import Page

DEFAULT_SLUG = "default"
MOST_OF_A_PROJECT = 500
# Other people's webhook URLs are often secrets in themselves.
_SECRET = frozenset({"webhook_url"})


def add_default(project: Project) -> FileRoute:
    """Give a new project its file route `default` (any type, any size its tier allows), in the caller's write transaction."""
    now = clock.now_ms()
    route: FileRoute = FileRoute.create(id=new_id(), project=project, slug=DEFAULT_SLUG, created_at=now, updated_at=now)
    return route


def create_file_route(config: Config, caller: Caller, project_id: str, rules: Mapping[str, Any], remember: Remember = forget) -> FileRoute:
    """Make a file route of a project from `rules`: columns of FileRoute, already validated, `slug` among them.

    `remember` gets its id in that transaction.
    Raises Forbidden (a test key asks), ValidationFailed (webhook_url), NotFound (project), DuplicateSlug, and Conflict as
    `update_file_route` does, and when the project has `MOST_OF_A_PROJECT`.
    """
    require_live(caller)
    _check_webhook_url(config, rules)
    now = clock.now_ms()
    with write():
        project = find_project(caller, project_id)
        _require_free(project.id, rules["slug"])
        _require_room(project.id)
        route: FileRoute = FileRoute.create(id=new_id(), project=project, created_at=now, updated_at=now, **rules)
        _keep_origins_apart(route)
        audit.record(caller.key_id, "created", "file_route", route.id, project.id, {"slug": route.slug})
        remember(route.id)
    return route


def _require_room(project_id: str) -> None:
    """Pages of the dashboard offer all file routes of a project to choose from. Raises Conflict."""
    if FileRoute.select().where(FileRoute.project == project_id).count() >= MOST_OF_A_PROJECT:
        raise Conflict(
            f"A project has at most {MOST_OF_A_PROJECT} file routes, and this one has as many",
            "Delete one that is no longer used: its files stay. What differs from file to file belongs into metadata",
        )


def list_file_routes(caller: Caller, project_id: str, limit: int, cursor: str | None) -> Page[FileRoute]:
    """Return up to `limit` of a project's file routes, newest first. Raises NotFound (project), ValidationFailed (cursor)."""
    project = find_project(caller, project_id)
    query = FileRoute.select().where(FileRoute.project == project)
    return paging.newest_first(query, FileRoute.created_at, FileRoute.id, limit, cursor)


def all_file_routes(project_id: str) -> list[FileRoute]:
    """Return all file routes of a project, oldest first, for the command line."""
    return list(FileRoute.select().where(FileRoute.project == project_id).order_by(FileRoute.created_at, FileRoute.id))


def find_by_id(caller: Caller, route_id: str) -> FileRoute:
    """Return the file route with this id, if it is in a project that the caller may know of. Raises NotFound."""
    query = FileRoute.select().join(Project).where(FileRoute.id == route_id, Project.deleted_at.is_null())
    if caller.access != "account":
        query = query.where(FileRoute.project == caller.project_id)
    route: FileRoute | None = query.first()
    if route is None:
        raise NotFound(f"There is no file route {route_id!r}", "GET /api/v1/projects/{id}/file-routes shows the ids of file routes")
    return route


def update_file_route(config: Config, caller: Caller, route_id: str, changes: Mapping[str, Any]) -> FileRoute:
    """Change the columns in `changes`, already validated, for uploads from now on.

    Raises Forbidden (a test key asks), ValidationFailed (webhook_url), NotFound, DuplicateSlug, and Conflict for another slug on
    `default`, or for an origin that uploads anonymously to another project's file route of the same slug already.
    """
    require_live(caller)
    _check_webhook_url(config, changes)
    with write():
        route = find_by_id(caller, route_id)
        different = audit.differences(route.__data__, changes, _SECRET)
        if "slug" in different:
            _keep_default(route)
            _require_free(route.project_id, changes["slug"])
        if different:
            FileRoute.update(**changes, updated_at=clock.now_ms()).where(FileRoute.id == route.id).execute()
            audit.record(caller.key_id, "changed", "file_route", route.id, route.project_id, different)
            route = FileRoute.get_by_id(route.id)
            _keep_origins_apart(route)
    return route


def delete_file_route(caller: Caller, route_id: str) -> None:
    """Delete a file route; its files stay. Raises Forbidden (a test key asks), NotFound, and Conflict for `default`."""
    require_live(caller)
    with write():
        route = find_by_id(caller, route_id)
        _keep_default(route)
        FileRoute.delete().where(FileRoute.id == route.id).execute()
        audit.record(caller.key_id, "deleted", "file_route", route.id, route.project_id, {"slug": route.slug})


def _check_webhook_url(config: Config, rules: Mapping[str, Any]) -> None:
    """Refuse a URL that will not be called; what its name stands for is looked at at each delivery. Raises ValidationFailed."""
    if rules.get("webhook_url") is None:
        return
    try:
        targets.require_allowed(targets.parse(rules["webhook_url"]), config.webhooks.allowed_private_cidrs)
    except targets.Refused as refusal:
        words = f"can't be called: {refusal}"
        raise ValidationFailed(f"webhookUrl {words}", refusal.mend, details={"webhookUrl": [words]}) from None


def _require_free(project_id: str, slug: str) -> None:
    if FileRoute.select().where(FileRoute.project == project_id, FileRoute.slug == slug).exists():
        raise DuplicateSlug(f"This project has a file route {slug!r} already", "Choose another slug, or PATCH the file route that is there")


def _keep_origins_apart(route: FileRoute) -> None:
    """Anonymous uploads name no project: slug and origin together have to say which one is meant (docs/decisions/0015)."""
    if not route.anonymous_uploads:
        return
    others = FileRoute.select().join(Project).where(FileRoute.slug == route.slug, FileRoute.anonymous_uploads, Project.deleted_at.is_null())
    for other in others.where(FileRoute.id != route.id):
        if taken := set(route.allowed_origins) & set(other.allowed_origins):
            raise Conflict(
                f"Pages of {min(taken)} upload to a file route {route.slug!r} of another project on this appliance already",
                "Choose another slug for anonymous uploads, or use upload tokens, which say what project they are for",
            )


def _keep_default(route: FileRoute) -> None:
    """Every project has a file route `default`: clients and documentation rely on it."""
    if route.slug == DEFAULT_SLUG:
        raise Conflict(
            "The file route 'default' stays: every project has one",
            "Change its rules instead: by types and sizes it can be as narrow as you like",
        )


def find_file_route(project_id: str, slug: str) -> FileRoute:
    """Return the file route `slug` of a project. Raises NotFound."""
    route = rows.find(FileRoute, "project_id = ? AND slug = ?", project_id, slug)
    if route is None:
        raise NotFound(f"This project has no file route {slug!r}", "Use 'default', which every project has")
    return route


def route_of(file: File) -> FileRoute | None:
    """Return the file route of a file as it is right now; None where it is gone."""
    return rows.find(FileRoute, "project_id = ? AND slug = ?", file.project_id, file.route_slug)


def check_upload(route: FileRoute, limits: TierConfig, size_bytes: int, declared: str, recorded: str) -> None:
    """Hold an upload against its file route and the tier. Pure. Raises FileTooLarge, FileTypeNotAllowed.

    `declared` is the type as the client wrote it ("": none), `recorded` what is kept of it and of the name. Where nothing is known, the
    first bytes decide at complete.
    """
    if route.max_file_size_bytes is not None and size_bytes > route.max_file_size_bytes:
        raise FileTooLarge(
            f"File size {size_bytes} bytes exceeds the {route.max_file_size_bytes} byte limit",
            f"Raise maxFileSize on file route '{route.slug}'",
        )
    if limits.max_file_size is not None and size_bytes > limits.max_file_size:
        raise FileTooLarge(
            f"File size {size_bytes} bytes exceeds the {limits.max_file_size} byte limit",
            "Move the project to a larger tier, or raise max_file_size of its tier in config.toml",
        )
    if not any(is_allowed(kind, route.allowed_types) for kind in (recorded, declared or UNKNOWN)) and recorded != UNKNOWN:
        raise FileTypeNotAllowed(
            f"{in_words(recorded).capitalize()} can't be uploaded here: content type {recorded!r} is not allowed",
            f"File route '{route.slug}' takes {', '.join(route.allowed_types)}; send another type or change its allowedTypes",
        )
