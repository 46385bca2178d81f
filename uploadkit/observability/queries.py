"""What the doctor and `/readyz` ask the database."""

from __future__ import annotations

from uploadkit.db.connection import execute
from uploadkit.db.models import File, FileRoute, Project


def answer() -> None:
    """Have the database answer something. Raises what a statement raises."""
    execute("SELECT 1 FROM project LIMIT 1").fetchone()


def newest_private_key() -> str | None:
    """Return the key of the newest private file of any project that has not been deleted."""
    of_living_projects = File.select().join(Project).where(File.status == "UPLOADED", Project.deleted_at.is_null())
    newest: File | None = of_living_projects.where(File.visibility == "private").order_by(File.number.desc()).first()
    return None if newest is None else newest.key


def is_there_a_private_route() -> bool:
    """Say whether there is a private file route."""
    return bool(FileRoute.select().where(FileRoute.visibility == "private").exists())
