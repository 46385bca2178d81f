"""File routes: the rules an upload must follow, and the check of one upload against them.

A file keeps what it got from its file route when it was requested; changing or deleting the file route touches no file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from uploadkit.auth import audit
from uploadkit.auth.callers import Caller, find_project, require_live
from uploadkit.config import Config, TierConfig
from uploadkit.coordination.idempotency import Remember, forget
from uploadkit.core import clock
from uploadkit.core.errors import Conflict, DuplicateSlug, FileTooLarge, FileTypeNotAllowed, NotFound, ValidationFailed
from uploadkit.core.ids import new_id
from uploadkit.core.media_types import UNKNOWN, in_words, is_allowed
from uploadkit.db import key_value
from uploadkit.db.connection import write
from uploadkit.db.models import File, FileRoute, Project
from uploadkit.db.paging import Page
from uploadkit.net import url_policy
from uploadkit.projects.queries import file_routes as queries

DEFAULT_SLUG = "default"
MOST_OF_A_PROJECT = 500
RESERVED_SLUGS = frozenset({"p", "t", "tus"})
# Other people's webhook URLs are often secrets in themselves.
_SECRET = frozenset({"webhook_url"})
_FIRST_PROJECT = "first_project"


def add_default(project: Project) -> FileRoute:
    """Give a new project its file route `default` (any type, any size its tier allows), in the caller's write transaction."""
    return queries.insert(new_id(), project, {"slug": DEFAULT_SLUG}, clock.now_ms())


def create_file_route(config: Config, caller: Caller, project_id: str, rules: Mapping[str, Any], remember: Remember = forget) -> FileRoute:
    """Make a file route of a project from `rules`: columns of FileRoute, already validated, `slug` among them.

    `remember` gets its id in that transaction.
    Raises Forbidden (a test key asks), ValidationFailed (webhook_url, slug), NotFound (project), DuplicateSlug, and Conflict when the
    project has `MOST_OF_A_PROJECT`.
    """
    require_live(caller)
    _check_webhook_url(config, rules)
    _check_slug(rules["slug"])
    now = clock.now_ms()
    with write():
        project = find_project(caller, project_id)
        _require_free(project.id, rules["slug"])
        _require_room(project.id)
        route = queries.insert(new_id(), project, rules, now)
        audit.record(caller.actor, "created", "file_route", route.id, project.id, {"slug": route.slug})
        remember(route.id)
    return route


def _require_room(project_id: str) -> None:
    """Pages of the dashboard offer all file routes of a project to choose from. Raises Conflict."""
    if queries.count(project_id) >= MOST_OF_A_PROJECT:
        raise Conflict(
            f"A project has at most {MOST_OF_A_PROJECT} file routes, and this one has as many",
            "Delete one that is no longer used: its files stay. What differs from file to file belongs into metadata",
        )


def list_file_routes(caller: Caller, project_id: str, limit: int, cursor: str | None) -> Page[FileRoute]:
    """Return up to `limit` of a project's file routes, newest first. Raises NotFound (project), ValidationFailed (cursor)."""
    return queries.page(find_project(caller, project_id).id, limit, cursor)


def all_file_routes(project_id: str) -> list[FileRoute]:
    """Return all file routes of a project, oldest first, for the command line."""
    return queries.oldest_first(project_id)


def find_by_id(caller: Caller, route_id: str) -> FileRoute:
    """Return the file route with this id, if it is in a project that the caller may know of. Raises NotFound."""
    route = queries.find(route_id, None if caller.access == "account" else caller.project_id)
    if route is None:
        raise NotFound(f"There is no file route {route_id!r}", "GET /api/v1/projects/{id}/file-routes shows the ids of file routes")
    return route


def update_file_route(config: Config, caller: Caller, route_id: str, changes: Mapping[str, Any]) -> FileRoute:
    """Change the columns in `changes`, already validated, for uploads from now on.

    Raises Forbidden (a test key asks), ValidationFailed (webhook_url, slug), NotFound, DuplicateSlug, and Conflict for another slug on
    `default`.
    """
    require_live(caller)
    _check_webhook_url(config, changes)
    with write():
        route = find_by_id(caller, route_id)
        different = audit.differences(route.__data__, changes, _SECRET)
        if "slug" in different:
            _check_slug(changes["slug"])
            _keep_default(route)
            _require_free(route.project_id, changes["slug"])
        if different:
            # Under its new slug another one may have the short address.
            moved: dict[str, Any] = {"short_origins": []} if "slug" in different else {}
            queries.update(route.id, {**changes, **moved, "updated_at": clock.now_ms()})
            audit.record(caller.actor, "changed", "file_route", route.id, route.project_id, different)
            route = queries.get(route.id)
    return route


def delete_file_route(caller: Caller, route_id: str) -> None:
    """Delete a file route; its files stay. Raises Forbidden (a test key asks), NotFound, and Conflict for `default`."""
    require_live(caller)
    with write():
        route = find_by_id(caller, route_id)
        _keep_default(route)
        queries.delete(route.id)
        audit.record(caller.actor, "deleted", "file_route", route.id, route.project_id, {"slug": route.slug})


def _check_webhook_url(config: Config, rules: Mapping[str, Any]) -> None:
    """Refuse a URL that will not be called; what its name stands for is looked at at each delivery. Raises ValidationFailed."""
    if rules.get("webhook_url") is None:
        return
    try:
        url_policy.require_allowed(url_policy.parse(rules["webhook_url"]), config.webhooks.allowed_private_cidrs)
    except url_policy.Refused as refusal:
        words = f"can't be called: {refusal}"
        raise ValidationFailed(f"webhookUrl {words}", refusal.suggestion, details={"webhookUrl": [words]}) from None


def _require_free(project_id: str, slug: str) -> None:
    if queries.slug_is_taken(project_id, slug):
        raise DuplicateSlug(f"This project has a file route {slug!r} already", "Choose another slug, or PATCH the file route that is there")


def _check_slug(slug: str) -> None:
    """Refuse slugs that stand for something else in the paths of `/api/uploadkit`. Raises ValidationFailed."""
    if slug.lower() in RESERVED_SLUGS:
        words = f"is reserved: {', '.join(sorted(RESERVED_SLUGS))} stand for something else in addresses; choose another one"
        raise ValidationFailed(f"slug {words}", details={"slug": [words]})


def reserved_in_use() -> list[FileRoute]:
    """Return the file routes whose slugs were taken before they were reserved."""
    return queries.with_slugs(sorted(RESERVED_SLUGS))


def short_of_others() -> list[FileRoute]:
    """Return the anonymous file routes that have the short address from before it was the first project's alone."""
    return queries.all_with_short_origins(but_of=first_project_id())


def first_project_id() -> str | None:
    """Return the id of the first project, also after it was deleted: no other one takes its place."""
    return key_value.get(_FIRST_PROJECT)


def note_first_project(project_id: str) -> None:
    """Remember which project was the first, unless one is known already."""
    with write():
        key_value.put_first(_FIRST_PROJECT, project_id)


def has_short_address(route: FileRoute) -> bool:
    """Say whether pages reach an anonymous file route without its project in the address, too: docs/decisions/0028."""
    return bool(route.anonymous_uploads) and (route.project_id == first_project_id() or bool(route.short_origins))


def _keep_default(route: FileRoute) -> None:
    """Every project has a file route `default`: clients and documentation rely on it."""
    if route.slug == DEFAULT_SLUG:
        raise Conflict(
            "The file route 'default' stays: every project has one",
            "Change its rules instead: by types and sizes it can be as narrow as you like",
        )


def blank() -> FileRoute:
    """Return a file route as a form begins with: no slug, and the default rules."""
    return queries.blank()


def find_file_route(project_id: str, slug: str) -> FileRoute:
    """Return the file route `slug` of a project. Raises NotFound."""
    route = queries.find_by_slug(project_id, slug)
    if route is None:
        raise NotFound(f"This project has no file route {slug!r}", "Use 'default', which every project has")
    return route


def route_of(file: File) -> FileRoute | None:
    """Return the file route of a file as it is right now; None where it is gone."""
    return queries.find_by_slug(file.project_id, file.route_slug)


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
