"""Rows of `file` whose time is over: test files, and live ones of projects that keep files for some days only."""

from __future__ import annotations

from typing import Literal

from peewee import SQL

from uploadkit.db.models import NUMBER_BITS, File, Project

# Literal, not bound, in all of these: SQLite uses a partial index only where it can see that the condition is the same one.
_PRESENT = SQL("status <> 'DELETED'")
_SWEPT = SQL("status = 'DELETED' AND sweep_at IS NULL")


def old_test_files(which: Literal["present", "swept"], made_until: int, after_number: int, most: int) -> list[File]:
    """Return up to `most` test files made until then, oldest first: those that are not DELETED, or those that are and are swept."""
    old = File.select().where(SQL("environment = 'test'"), File.number > after_number, File.number < (made_until + 1) << NUMBER_BITS)
    return list(old.where(_PRESENT if which == "present" else _SWEPT).order_by(File.number).limit(most))


def projects_with_retention() -> list[Project]:
    """Return the projects that keep their files for some days only, and are not deleted."""
    return list(Project.select().where(Project.retention_days.is_null(False), Project.deleted_at.is_null()))


def old_live_files(project_id: str, made_before: int, most: int) -> list[File]:
    """Return up to `most` UPLOADED live files of a project made before then, oldest first."""
    present = File.select().where(File.project == project_id, File.environment == "live", _PRESENT)
    return list(present.where(File.status == "UPLOADED", File.number < made_before << NUMBER_BITS).order_by(File.number).limit(most))
