"""Rows of `project`, as far as access asks for them."""

from __future__ import annotations

from uploadkit.db.models import Project


def find_project(project_id: str) -> Project | None:
    """Return the project with this id, unless it has been deleted."""
    found: Project | None = Project.get_or_none(Project.id == project_id, Project.deleted_at.is_null())
    return found
