"""Files: find, list, search, change metadata, delete. The URLs that read them are in links.py."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from peewee import SQL, ModelSelect

from uploadkit.auth import audit
from uploadkit.auth.callers import Caller
from uploadkit.context import Context
from uploadkit.core import clock
from uploadkit.core.errors import Conflict, NotFound, StorageUnavailable, UploadKitError, UploadNotFound, ValidationFailed
from uploadkit.db import paging, read_places
from uploadkit.db.connection import write
from uploadkit.db.models import NUMBER_BITS, File
from uploadkit.db.paging import Page
from uploadkit.files import lifecycle
from uploadkit.files import search as file_search
from uploadkit.files.naming import merged_metadata
from uploadkit.projects import quotas
from uploadkit.webhooks import event_log

# Literal, not bound: SQLite uses a partial index only where it can see that the condition is the same one.
_PRESENT = SQL("status <> 'DELETED'")
_DELETED = SQL("status = 'DELETED'")
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
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


@dataclass(frozen=True)
class Deletion:
    """What came of deleting several files: how many went, the bytes of storage that freed, and by key why others did not go."""

    deleted: int
    reclaimed_bytes: int
    failures: Mapping[str, UploadKitError]


def find_file(caller: Caller, key: str) -> File:
    """Return the file with this key, as far as the caller may know of it. Raises NotFound."""
    return _found(caller, File.key == key, _no_such(key))


def _no_such(key: str) -> str:
    return f"There is no file with the key {key!r}"


def find_file_by_id(caller: Caller, file_id: str) -> File:
    """Return the file with this id, as far as the caller may know of it. Raises NotFound."""
    return _found(caller, File.id == file_id, f"There is no file with the id {file_id!r}")


def deleted_name(caller: Caller, file_id: str) -> str | None:
    """Return the name of a file that was deleted, as long as its row is kept; None where there was none for the caller."""
    known = (File.id == file_id, File.project == caller.project_id, File.environment == caller.environment)
    name: str | None = File.select(File.file_name).where(*known, File.status == "DELETED").scalar()
    return name


def _found(caller: Caller, condition: Any, message: str) -> File:
    file: File | None = _known_to(caller, condition).first()
    if file is None:
        raise NotFound(message)
    return file


def _known_to(caller: Caller, condition: Any) -> ModelSelect[File]:
    return File.select().where(
        condition, File.project == caller.project_id, File.environment == caller.environment, File.status != "DELETED"
    )


def _with_keys(caller: Caller, keys: Sequence[str]) -> list[File]:
    """Return those of the files with these keys that the caller may know of.

    By the keys alone: of three on, SQLite would take the index by project and environment, and go through all files that a project has.
    """
    mine = (caller.project_id, caller.environment)
    found = File.select().where(File.key << list(keys))
    return [file for file in found if (file.project_id, file.environment) == mine and file.status != "DELETED"]


def list_files(caller: Caller, wanted: FileFilter, limit: int, cursor: str | None) -> Page[File]:
    """Return up to `limit` files of the caller's project and environment, newest first.

    Raises ValidationFailed for a bad cursor; StorageUnavailable when too many searches are under way, or for what takes the database too
    long.
    """
    if wanted.needs_a_place:
        with read_places.taken(caller.project_id):
            return _list_files(caller, wanted, limit, cursor)
    return _list_files(caller, wanted, limit, cursor)


def cursor_after(caller: Caller, cursor: str) -> str:
    """Return `cursor`, or what stands for it where it is the id of a file of the caller's: the page goes on after that one.

    That of a deleted file will do, as long as its row is kept. Raises ValidationFailed for the id of any other.
    """
    if not _ID.fullmatch(cursor):
        return cursor
    place = File.select(File.number).where(File.id == cursor, File.project == caller.project_id, File.environment == caller.environment)
    number: int | None = place.scalar()
    if number is None:
        raise ValidationFailed(
            f"There is no file {cursor!r} to go on after",
            "Pass nextCursor of the page before, or the id of its last file",
            details={"cursor": ["is the id of no file of this key's project"]},
        )
    return paging.after(number)


def _list_files(caller: Caller, wanted: FileFilter, limit: int, cursor: str | None) -> Page[File]:
    query, place = file_search.matching(caller.project_id, caller.environment, wanted.search or "")
    query = query.where(File.project == caller.project_id, File.environment == caller.environment)
    query = query.where(_DELETED if wanted.status == "DELETED" else _PRESENT)
    if wanted.status not in (None, "DELETED"):
        query = query.where(File.status == wanted.status)
    if wanted.route_slug is not None:
        query = query.where(File.route_slug == wanted.route_slug)
    if wanted.content_type is not None:
        query = query.where(*file_search.of_type(wanted.content_type))
    if wanted.since is not None:
        query = query.where(place >= _first_number(wanted.since))
    if wanted.until is not None:
        query = query.where(place < _first_number(wanted.until))
    return paging.highest_first(query, place, lambda file: file.number, limit, cursor)


def _first_number(at_ms: int) -> int:
    """Return the lowest number that a file made at `at_ms` can have, within what the database can hold."""
    return min(max(at_ms, 0), _LAST_MS) << NUMBER_BITS


def merge_metadata(caller: Caller, key: str, changes: Mapping[str, Any]) -> File:
    """Lay `changes` over a file's metadata. Raises NotFound, and ValidationFailed when the result is over 8 KiB."""
    return _change_metadata(caller, key, lambda present: merged_metadata(present, changes))


def replace_metadata(caller: Caller, key: str, metadata: Mapping[str, Any]) -> File:
    """Put `metadata` in the place of what a file has. Raises as `merge_metadata` does."""
    return _change_metadata(caller, key, lambda _: merged_metadata({}, metadata))


def _change_metadata(caller: Caller, key: str, change: Callable[[dict[str, Any]], dict[str, Any]]) -> File:
    with write():
        file = find_file(caller, key)
        file.metadata = change(file.metadata)
        file.updated_at = clock.now_ms()
        File.update(metadata=file.metadata, updated_at=file.updated_at).where(File.id == file.id).execute()
    return file


def delete_file(ctx: Context, caller: Caller, key: str) -> None:
    """Delete a file: its row and quota at once, its object by a job that tries until the store confirms. An upload under way is aborted.

    Raises NotFound; for an upload under way, Conflict (it is being completed for long now) and StorageUnavailable too.
    """
    done = delete_files(ctx, caller, [key])
    for failure in done.failures.values():
        raise failure


def delete_files(ctx: Context, caller: Caller, keys: Sequence[str]) -> Deletion:
    """Delete files as `delete_file` does, each one whatever becomes of the others; a key that is named twice counts once."""
    failures: dict[str, UploadKitError] = {}
    under_way: list[File] = []
    reclaimed_bytes = 0
    with write():
        # In one query: who names 100 that are not there makes everybody wait who wants to write.
        found = {file.key: file for file in _with_keys(caller, keys)}
        for key in dict.fromkeys(keys):
            file = found.get(key)
            if file is None:
                failures[key] = NotFound(_no_such(key))
                continue
            if file.status == "UPLOADING":
                under_way.append(file)
                continue
            reclaimed_bytes += mark_deleted(ctx, file)
            audit.record(caller.actor, "deleted", "file", file.id, file.project_id, {"key": key, "status": file.status})
    ctx.signals.wake_sweeper()
    failures |= _abort_all(ctx, caller, under_way)
    return Deletion(len(set(keys)) - len(failures), reclaimed_bytes, failures)


def _abort_all(ctx: Context, caller: Caller, under_way: Sequence[File]) -> dict[str, UploadKitError]:
    """Abort uploads; return by key why some could not be. When the store is away, the rest is left as it is, not tried one by one."""
    failures: dict[str, UploadKitError] = {}
    away: StorageUnavailable | None = None
    for file in under_way:
        try:
            if away is not None:
                raise away
            _abort_or_delete(ctx, caller, file)
        except StorageUnavailable as failure:
            away = failures[file.key] = failure
        except UploadKitError as failure:
            failures[file.key] = failure
    return failures


def _abort_or_delete(ctx: Context, caller: Caller, file: File) -> None:
    """Abort an upload; if it ends in this very moment by somebody else, well or not, delete the file that came of it."""
    try:
        if lifecycle.abort(ctx, file.id, deleted_by=caller.actor):
            return
    except (Conflict, UploadNotFound):
        if File.get_by_id(file.id).status == "UPLOADING":
            raise
    with write():
        present = find_file(caller, file.key)
        mark_deleted(ctx, present)
        audit.record(caller.actor, "deleted", "file", file.id, file.project_id, {"key": file.key, "status": present.status})
    ctx.signals.wake_sweeper()


def mark_deleted(ctx: Context, file: File, reason: str | None = None) -> int:
    """UPLOADED or FAILED → DELETED, in the caller's write transaction; return the bytes of storage that this freed.

    `file` must have been read in that same transaction. The sweeper takes the object away.
    """
    now = clock.now_ms()
    File.update(status="DELETED", deleted_at=now, updated_at=now, sweep_at=now, sweep_attempts=0).where(File.id == file.id).execute()
    event_log.record(ctx, file, "file.deleted", "DELETED", reason)
    if file.status != "UPLOADED":
        return 0
    quotas.forget(file, now)
    return file.size_bytes
