"""Files: find, list, search, change metadata, delete. The URLs that read them are in links.py."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from uploadkit.auth import audit
from uploadkit.auth.callers import Caller
from uploadkit.context import Context
from uploadkit.core import clock
from uploadkit.core.errors import Conflict, NotFound, StorageUnavailable, UploadKitError, UploadNotFound, ValidationFailed
from uploadkit.db import paging, read_places
from uploadkit.db.connection import write
from uploadkit.db.models import File
from uploadkit.db.paging import Page
from uploadkit.files import lifecycle
from uploadkit.files.naming import merged_metadata
from uploadkit.files.queries import files as queries
from uploadkit.files.queries import uploads
from uploadkit.files.queries.files import FileFilter as FileFilter

_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True)
class Deletion:
    """What came of deleting several files: how many went, the bytes of storage that freed, and by key why others did not go."""

    deleted: int
    reclaimed_bytes: int
    failures: Mapping[str, UploadKitError]


def find_file(caller: Caller, key: str) -> File:
    """Return the file with this key, as far as the caller may know of it. Raises NotFound."""
    file = queries.find(caller.project_id, caller.environment, key)
    if file is None:
        raise NotFound(_no_such(key))
    return file


def _no_such(key: str) -> str:
    return f"There is no file with the key {key!r}"


def find_file_by_id(caller: Caller, file_id: str) -> File:
    """Return the file with this id, as far as the caller may know of it. Raises NotFound."""
    file = queries.find_by_id(caller.project_id, caller.environment, file_id)
    if file is None:
        raise NotFound(f"There is no file with the id {file_id!r}")
    return file


def deleted_name(caller: Caller, file_id: str) -> str | None:
    """Return the name of a file that was deleted, as long as its row is kept; None where there was none for the caller."""
    return queries.name_of_deleted(caller.project_id, caller.environment, file_id)


def list_files(caller: Caller, wanted: FileFilter, limit: int, cursor: str | None) -> Page[File]:
    """Return up to `limit` files of the caller's project and environment, newest first.

    Raises ValidationFailed for a bad cursor; StorageUnavailable when too many searches are under way, or for what takes the database too
    long.
    """
    if wanted.needs_a_place:
        with read_places.taken(caller.project_id):
            return queries.page(caller.project_id, caller.environment, wanted, limit, cursor)
    return queries.page(caller.project_id, caller.environment, wanted, limit, cursor)


def cursor_after(caller: Caller, cursor: str) -> str:
    """Return `cursor`, or what stands for it where it is the id of a file of the caller's: the page goes on after that one.

    That of a deleted file will do, as long as its row is kept. Raises ValidationFailed for the id of any other.
    """
    if not _ID.fullmatch(cursor):
        return cursor
    number = queries.number_of(caller.project_id, caller.environment, cursor)
    if number is None:
        raise ValidationFailed(
            f"There is no file {cursor!r} to go on after",
            "Pass nextCursor of the page before, or the id of its last file",
            details={"cursor": ["is the id of no file of this key's project"]},
        )
    return paging.after(number)


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
        queries.set_metadata(file.id, file.metadata, file.updated_at)
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
        found = queries.find_several(caller.project_id, caller.environment, keys)
        for key in dict.fromkeys(keys):
            file = found.get(key)
            if file is None:
                failures[key] = NotFound(_no_such(key))
                continue
            if file.status == "UPLOADING":
                under_way.append(file)
                continue
            reclaimed_bytes += lifecycle.mark_deleted(ctx, file)
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
        if uploads.get(file.id).status == "UPLOADING":
            raise
    with write():
        present = find_file(caller, file.key)
        lifecycle.mark_deleted(ctx, present)
        audit.record(caller.actor, "deleted", "file", file.id, file.project_id, {"key": file.key, "status": present.status})
    ctx.signals.wake_sweeper()
