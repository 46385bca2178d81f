"""Rows of `file` as files: found, listed, described. How they change their state is in `uploads.py`."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from peewee import SQL, Expression, ModelSelect

from uploadkit.db import paging
from uploadkit.db.models import NUMBER_BITS, File, Project
from uploadkit.db.paging import Page
from uploadkit.files.queries import search

# Literal, not bound: SQLite uses a partial index only where it can see that the condition is the same one.
_PRESENT = SQL("status <> 'DELETED'")
_DELETED = SQL("status = 'DELETED'")
_LAST_MS = (1 << 63 - NUMBER_BITS) - 1


@dataclass(frozen=True)
class FileFilter:
    """What to list; None means any. `status` None means all but DELETED.

    `content_type` is a media type without parameters, or `image/*`; `search` is a part of the file name, in any case of letters;
    `since` (included) and `until` (excluded) bound the time of creation, in milliseconds.
    """

    status: str | None = None
    route_slug: str | None = None
    content_type: str | None = None
    search: str | None = None
    since: int | None = None
    until: int | None = None

    @property
    def needs_a_place(self) -> bool:
        """Whether many files may have to be looked at to find a few: no index leads to them alone."""
        return bool(self.search or self.content_type is not None or self.route_slug is not None)


def find(project_id: str, environment: str, key: str) -> File | None:
    """Return the file with this key if it is of this project and environment, and not DELETED."""
    file: File | None = _present(project_id, environment, File.key == key).first()
    return file


def find_by_id(project_id: str, environment: str, file_id: str) -> File | None:
    """Return the file with this id if it is of this project and environment, and not DELETED."""
    file: File | None = _present(project_id, environment, File.id == file_id).first()
    return file


def find_several(project_id: str, environment: str, keys: Collection[str]) -> dict[str, File]:
    """Return, by key, those of `keys` that `find` would, in one query: who names 100 that are not there makes all writers wait.

    By the keys alone: of three on, SQLite would take the index by project and environment, and go through all files that a project has.
    """
    found = File.select().where(File.key << list(keys))
    mine = (project_id, environment)
    return {file.key: file for file in found if (file.project_id, file.environment) == mine and file.status != "DELETED"}


def find_readable(key: str) -> File | None:
    """Return the file with this key if it is UPLOADED, and its project is not deleted: even before the job has come to its files."""
    present = File.select().join(Project).where(File.key == key, File.status == "UPLOADED", Project.deleted_at.is_null())
    file: File | None = present.first()
    return file


def name_of_deleted(project_id: str, environment: str, file_id: str) -> str | None:
    """Return the name of a file that is DELETED, while its row is kept."""
    name: str | None = File.select(File.file_name).where(*_own(project_id, environment, file_id), File.status == "DELETED").scalar()
    return name


def number_of(project_id: str, environment: str, file_id: str) -> int | None:
    """Return the place in lists of a file, deleted or not."""
    number: int | None = File.select(File.number).where(*_own(project_id, environment, file_id)).scalar()
    return number


def page(project_id: str, environment: str, wanted: FileFilter, limit: int, cursor: str | None) -> Page[File]:
    """Return up to `limit` files, newest first. Raises ValidationFailed (cursor), ReadTookTooLong."""
    query, place = search.matching(project_id, environment, wanted.search or "")
    query = query.where(File.project == project_id, File.environment == environment)
    query = query.where(_DELETED if wanted.status == "DELETED" else _PRESENT)
    if wanted.status not in (None, "DELETED"):
        query = query.where(File.status == wanted.status)
    if wanted.route_slug is not None:
        query = query.where(File.route_slug == wanted.route_slug)
    if wanted.content_type is not None:
        query = query.where(*search.of_type(wanted.content_type))
    if wanted.since is not None:
        query = query.where(place >= _first_number(wanted.since))
    if wanted.until is not None:
        query = query.where(place < _first_number(wanted.until))
    return paging.highest_first(query, place, lambda file: file.number, limit, cursor)


def set_metadata(file_id: str, metadata: dict[str, Any], now_ms: int) -> None:
    """Set the metadata of a file."""
    File.update(metadata=metadata, updated_at=now_ms).where(File.id == file_id).execute()


def _present(project_id: str, environment: str, condition: Expression) -> ModelSelect[File]:
    return File.select().where(condition, File.project == project_id, File.environment == environment, File.status != "DELETED")


def _own(project_id: str, environment: str, file_id: str) -> tuple[Expression, ...]:
    return File.id == file_id, File.project == project_id, File.environment == environment


def _first_number(at_ms: int) -> int:
    """Return the lowest number that a file made at `at_ms` can have, within what the database can hold."""
    return min(max(at_ms, 0), _LAST_MS) << NUMBER_BITS
