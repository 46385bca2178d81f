"""Projects: create and find. Every project is born with a file route `default`."""

from __future__ import annotations

import re
import unicodedata

from uploadkit import clock, file_routes
from uploadkit.config import Config
from uploadkit.db import new_id, write
from uploadkit.errors import NotFound, ValidationFailed
from uploadkit.models import Project


def create_project(config: Config, name: str) -> Project:
    """Make a project with the default tier and a file route `default`. Raises ValidationFailed for an empty or overlong name."""
    name = name.strip()
    if not 1 <= len(name) <= 100:
        raise ValidationFailed("A project needs a name of 1 to 100 characters", details={"name": ["must have 1 to 100 characters"]})
    now = clock.now_ms()
    with write():
        project = Project.create(
            id=new_id(), name=name, slug=_free_slug(name), tier=config.limits.default_tier, created_at=now, updated_at=now
        )
        file_routes.add_default(project)
    return project


def find_project(id_or_slug: str | None = None) -> Project:
    """Return the project with this id or slug; without one, the oldest. Raises NotFound."""
    query = Project.select().where(Project.deleted_at.is_null())
    if id_or_slug is not None:
        query = query.where((Project.id == id_or_slug) | (Project.slug == id_or_slug))
    project: Project | None = query.order_by(Project.created_at, Project.id).first()
    if project is None:
        raise NotFound(
            f"There is no project {id_or_slug!r}" if id_or_slug else "There is no project yet",
            "'python app.py init' makes the first one",
        )
    return project


def list_projects() -> list[Project]:
    """Return all projects, oldest first."""
    return list(Project.select().where(Project.deleted_at.is_null()).order_by(Project.created_at, Project.id))


def _free_slug(name: str) -> str:
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    base = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:80] or "project"
    slug, number = base, 1
    while Project.select().where(Project.slug == slug).exists():
        number += 1
        slug = f"{base}-{number}"
    return slug
