"""Projects: create, find, change, delete. Every project is born with a file route `default`.

Deleting one ends its keys at once; what it stored and its rows go in the background, see `maintenance/project_removal.py`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Mapping
from typing import Any

from uploadkit.auth import api_keys, audit
from uploadkit.auth.callers import Caller, find_project, require_account
from uploadkit.config import Config
from uploadkit.coordination.idempotency import Remember, forget
from uploadkit.core import clock
from uploadkit.core.errors import Conflict, NotFound, ValidationFailed
from uploadkit.core.ids import new_id
from uploadkit.core.packaged_files import PROGRAM
from uploadkit.db.connection import write
from uploadkit.db.models import Project
from uploadkit.db.paging import Page
from uploadkit.projects import file_routes
from uploadkit.projects.queries import projects as queries

_MAX_SLUG_LENGTH = 80


def create_project(config: Config, caller: Caller, name: str, tier: str | None = None, remember: Remember = forget) -> Project:
    """Make a project of `tier` (the default tier when None) and its file route `default`; `remember` gets its id in that transaction.

    Raises Forbidden (no account access), ValidationFailed (name, tier), Conflict when the appliance has `limits.max_projects` already.
    """
    require_account(caller)
    name = _checked_name(name)
    tier = _checked_tier(config, tier or config.limits.default_tier)
    now = clock.now_ms()
    with write():
        _require_room(config)
        project = queries.insert(new_id(), name=name, slug=_free_slug(name), tier=tier, at_ms=now)
        file_routes.add_default(project)
        audit.record(caller.actor, "created", "project", project.id, project.id, {"name": name, "tier": tier})
        remember(project.id)
    return project


def find_by_id_or_slug(id_or_slug: str | None = None) -> Project:
    """Return the project with this id or slug, for the command line; without one, the oldest. Raises NotFound."""
    project = queries.find(id_or_slug)
    if project is None:
        raise NotFound(
            f"There is no project {id_or_slug!r}" if id_or_slug else "There is no project yet",
            f"'{PROGRAM} projects list' shows them" if id_or_slug else f"'{PROGRAM} init' makes the first one",
        )
    return project


def all_projects() -> list[Project]:
    """Return all projects, oldest first, for the command line."""
    return queries.oldest_first()


def newest(most: int) -> list[Project]:
    """Return the newest `most` projects at most, the oldest of them first."""
    return queries.newest_first(most)[::-1]


def biggest(most: int) -> list[Project]:
    """Return up to `most` projects, those that store the most first."""
    return queries.biggest_first(most)


def names(project_ids: Collection[str]) -> dict[str, str]:
    """Return the names of those of `project_ids` that are there, by id."""
    return queries.names(project_ids)


def list_projects(caller: Caller, limit: int, cursor: str | None) -> Page[Project]:
    """Return up to `limit` projects, newest first. Raises Forbidden (no account access), ValidationFailed (cursor)."""
    require_account(caller)
    return queries.page(limit, cursor)


def update_project(config: Config, caller: Caller, project_id: str, changes: Mapping[str, Any]) -> Project:
    """Change the columns `name`, `tier`, `retention_days` and the project's own limits: those of the columns in `changes` alone.

    `limit_overrides` is laid over the present ones: per limit a number, "unlimited", or None for the tier's own again.
    They hold at the next request. A lower limit takes nothing away that is there already.
    Raises Forbidden (no account access), NotFound, ValidationFailed (name, tier).
    """
    require_account(caller)
    wanted = dict(changes)
    if "name" in wanted:
        wanted["name"] = _checked_name(wanted["name"])
    if "tier" in wanted:
        wanted["tier"] = _checked_tier(config, wanted["tier"])
    with write():
        project = find_project(caller, project_id)
        if "limit_overrides" in wanted:
            wanted["limit_overrides"] = _laid_over(project.limit_overrides, wanted["limit_overrides"])
        different = audit.differences(project.__data__, wanted)
        if different:
            queries.update(project.id, {**wanted, "updated_at": clock.now_ms()})
            audit.record(caller.actor, "changed", "project", project.id, project.id, different)
            project = queries.get(project.id)
    return project


def delete_project(caller: Caller, project_id: str) -> None:
    """Delete a project: it is not there any more and its keys are revoked at once; its files and rows go in the background.

    Raises Forbidden (no account access), NotFound, and Conflict when it holds the last key with account access.
    """
    require_account(caller)
    now = clock.now_ms()
    with write():
        project = find_project(caller, project_id)
        api_keys.revoke_keys_of(project, now)
        queries.mark_deleted(project.id, now)
        audit.record(caller.actor, "deleted", "project", project.id, project.id, {"name": project.name, "slug": project.slug})


def _laid_over(overrides: Mapping[str, int | None], changes: Mapping[str, int | str | None]) -> dict[str, int | None]:
    """Return a project's own limits as they are kept: None there is unlimited, and what is not there is the tier's."""
    kept = {name: value for name, value in overrides.items() if name not in changes}
    given = {name: value if isinstance(value, int) else None for name, value in changes.items() if value is not None}
    return kept | given


def _require_room(config: Config) -> None:
    most = config.limits.max_projects
    if most and queries.count() >= most:
        raise Conflict(
            f"This appliance is set to have at most {most} project{'' if most == 1 else 's'}",
            "Delete a project that is no longer used, or raise limits.max_projects in config.toml",
        )


def _checked_name(name: str) -> str:
    name = name.strip()
    if not 1 <= len(name) <= 100:
        raise ValidationFailed("A project needs a name of 1 to 100 characters", details={"name": ["must have 1 to 100 characters"]})
    return name


def _checked_tier(config: Config, tier: str) -> str:
    if tier not in config.tiers:
        names = ", ".join(config.tiers)
        raise ValidationFailed(f"There is no tier {tier!r}; tiers are {names}", details={"tier": [f"must be one of {names}"]})
    return tier


def _free_slug(name: str) -> str:
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    base = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:_MAX_SLUG_LENGTH] or "project"
    slug, number = base, 1
    while queries.slug_is_taken(slug):
        number += 1
        slug = f"{base}-{number}"
    return slug
