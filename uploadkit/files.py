"""Files: find, list, change metadata, delete, and the URL that reads one (api.md section 7, storage.md section 4)."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from peewee import Tuple

from uploadkit import clock, quotas, uploads
from uploadkit.content import disposition, merged_metadata
from uploadkit.context import Context
from uploadkit.db import write
from uploadkit.errors import NotFound, ValidationFailed
from uploadkit.keys import Caller
from uploadkit.models import File
from uploadkit.storage.s3 import object_url


@dataclass(frozen=True)
class Page:
    """Some of a list, newest first, and where the next page starts (None: this was the last)."""

    items: Sequence[File]
    next_cursor: str | None


@dataclass(frozen=True)
class FileFilter:
    """What to list; None means any. `status` None means all but DELETED."""

    status: str | None = None
    route_slug: str | None = None


def find_file(caller: Caller, key: str) -> File:
    """Return the file with this key, as far as the caller may know of it. Raises NotFound."""
    return _found(caller, File.key == key, f"There is no file with the key {key!r}")


def find_file_by_id(caller: Caller, file_id: str) -> File:
    """Return the file with this id, as far as the caller may know of it. Raises NotFound."""
    return _found(caller, File.id == file_id, f"There is no file with the id {file_id!r}")


def _found(caller: Caller, condition: Any, message: str) -> File:
    file: File | None = File.get_or_none(
        condition, File.project == caller.project_id, File.environment == caller.environment, File.status != "DELETED"
    )
    if file is None:
        raise NotFound(message)
    return file


def list_files(caller: Caller, wanted: FileFilter, limit: int, cursor: str | None) -> Page:
    """Return up to `limit` files of the caller's project and environment, newest first. Raises ValidationFailed for a bad cursor."""
    query = File.select().where(File.project == caller.project_id, File.environment == caller.environment)
    query = query.where(File.status == wanted.status if wanted.status else File.status != "DELETED")
    if wanted.route_slug is not None:
        query = query.where(File.route_slug == wanted.route_slug)
    if cursor is not None:
        query = query.where(Tuple(File.created_at, File.id) < Tuple(*_read_cursor(cursor)))
    rows = list(query.order_by(File.created_at.desc(), File.id.desc()).limit(limit + 1))
    return Page(rows[:limit], _make_cursor(rows[limit - 1]) if len(rows) > limit else None)


def _make_cursor(file: File) -> str:
    return base64.urlsafe_b64encode(json.dumps([file.created_at, file.id]).encode()).decode().rstrip("=")


def _read_cursor(cursor: str) -> tuple[int, str]:
    try:
        at, file_id = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
        if type(at) is not int or not isinstance(file_id, str) or not -(2**63) <= at < 2**63:
            raise ValueError
    except (ValueError, TypeError, RecursionError, binascii.Error):
        raise ValidationFailed(
            "The cursor is not one that this API gave out",
            "Pass nextCursor of the page before, unchanged",
            details={"cursor": ["is not valid"]},
        ) from None
    return at, file_id


def merge_metadata(caller: Caller, key: str, changes: Mapping[str, Any]) -> File:
    """Lay `changes` over a file's metadata. Raises NotFound, and ValidationFailed when the result is over 8 KiB."""
    with write():
        file = find_file(caller, key)
        file.metadata = merged_metadata(file.metadata, changes)
        file.updated_at = clock.now_ms()
        File.update(metadata=file.metadata, updated_at=file.updated_at).where(File.id == file.id).execute()
    return file


def delete_file(ctx: Context, caller: Caller, key: str) -> None:
    """Delete a file: its row and quota at once, its object by a job that tries until the store confirms. An upload under way is aborted.

    Raises NotFound; for an upload under way, StorageUnavailable too.
    """
    file = find_file(caller, key)
    if file.status == "UPLOADING":
        uploads.abort(ctx, file.id)
        return
    now = clock.now_ms()
    with write():
        deleted = (
            File.update(status="DELETED", deleted_at=now, updated_at=now, sweep_at=now, sweep_attempts=0)
            .where(File.id == file.id, File.status == file.status)
            .execute()
        )
        if deleted and file.status == "UPLOADED":
            quotas.forget(file)
    if not deleted:
        raise NotFound(f"There is no file with the key {key!r}")
    ctx.wake_sweeper()


def public_url(ctx: Context, file: File) -> str:
    """Return the lasting URL of a file: on the bucket's own domain if there is one and the file is public, else under `/f/`."""
    if ctx.config.storage.public_url and file.visibility == "public":
        return object_url(ctx.config.storage.public_url, file.key)
    return object_url(f"{ctx.config.server.base_url}/f", file.key)


def read_url(ctx: Context, key: str, method: Literal["GET", "HEAD"]) -> str:
    """Return a presigned URL for reading a public file that is UPLOADED. Raises NotFound, also for private files."""
    file: File | None = File.get_or_none(File.key == key, File.status == "UPLOADED", File.visibility == "public")
    if file is None:
        raise NotFound("There is no such file, or it is not public")
    return ctx.store.presign_read(
        method, file.key, file.content_type, disposition(file.file_name, file.content_type), ctx.config.storage.presign_expires_seconds
    )
