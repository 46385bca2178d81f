"""Rows of `project`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from peewee import ModelSelect

from uploadkit.db import paging
from uploadkit.db.models import Project
from uploadkit.db.paging import Page


def insert(project_id: str, *, name: str, slug: str, tier: str, at_ms: int) -> Project:
    """Insert a project made at `at_ms`, in the caller's write transaction, and return it."""
    project: Project = Project.create(id=project_id, name=name, slug=slug, tier=tier, created_at=at_ms, updated_at=at_ms)
    return project


def get(project_id: str) -> Project:
    """Return the project with this id. Raises peewee.DoesNotExist."""
    project: Project = Project.get_by_id(project_id)
    return project


def find(id_or_slug: str | None) -> Project | None:
    """Return the project with this id or slug (None: the oldest), if it is not deleted."""
    query = _present()
    if id_or_slug is not None:
        query = query.where((Project.id == id_or_slug) | (Project.slug == id_or_slug))
    project: Project | None = query.order_by(Project.created_at, Project.id).first()
    return project


def is_there_a_project() -> bool:
    """Say whether there is a project, be it one that is being deleted."""
    return bool(Project.select().exists())


def slug_is_taken(slug: str) -> bool:
    """Say whether a project has this slug."""
    return bool(Project.select().where(Project.slug == slug).exists())


def count() -> int:
    """Return how many projects there are that are not deleted."""
    return int(_present().count())


def oldest_first() -> list[Project]:
    """Return all projects that are not deleted."""
    return list(_present().order_by(Project.created_at, Project.id))


def newest_first(most: int) -> list[Project]:
    """Return up to `most` projects that are not deleted."""
    return list(_present().order_by(Project.created_at.desc(), Project.id.desc()).limit(most))


def biggest_first(most: int) -> list[Project]:
    """Return up to `most` projects that are not deleted, by the bytes they store."""
    return list(_present().order_by(Project.storage_used_bytes.desc(), Project.id).limit(most))


def page(limit: int, cursor: str | None) -> Page[Project]:
    """Return up to `limit` projects that are not deleted, newest first. Raises ValidationFailed (cursor)."""
    return paging.newest_first(_present(), Project.created_at, Project.id, limit, cursor)


def names(project_ids: Collection[str]) -> dict[str, str]:
    """Return the names, by id, of those of `project_ids` that are there and not deleted."""
    found = Project.select(Project.id, Project.name).where(Project.id << list(project_ids), Project.deleted_at.is_null())
    return {row.id: row.name for row in found}


def one_outside(tiers: Collection[str]) -> Project | None:
    """Return the name and tier of a project whose tier is none of `tiers`."""
    query = Project.select(Project.name, Project.tier).where(Project.tier.not_in(list(tiers)))
    project: Project | None = query.first()
    return project


def update(project_id: str, columns: Mapping[str, Any]) -> None:
    """Set `columns` of a project."""
    Project.update(**columns).where(Project.id == project_id).execute()


def mark_deleted(project_id: str, at_ms: int) -> None:
    """Set a project deleted. Its slug is free for another one from then on."""
    Project.update(deleted_at=at_ms, updated_at=at_ms, slug=project_id).where(Project.id == project_id).execute()


def _present() -> ModelSelect[Project]:
    return Project.select().where(Project.deleted_at.is_null())
