"""The states of an upload and its file, which are one row:

    (new)      → UPLOADING   admission.py
    UPLOADING  → UPLOADED    `finish`, `finish_joined`
    UPLOADING  → FAILED      `leave_uploading`: aborted (`abort`), expired (`expire`), or not verified (`require_as_declared`)
    UPLOADED   → DELETED     `mark_deleted`
    FAILED     → DELETED     `mark_deleted`

Every change is a conditional update, with its quota and its event in the same transaction. The network is never called inside one.
`single_upload.py`, `multipart_upload.py` and `service.py` decide when; what then has to go from the store, `clearing.py` takes away.
Only a deleted project's files go without any of it (`maintenance/project_removal.py`): its quota and its events go, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, suppress
from typing import Any

import orjson

from uploadkit.auth import audit
from uploadkit.auth.actors import Actor
from uploadkit.auth.callers import Browser, Caller
from uploadkit.context import Context
from uploadkit.core import clock
from uploadkit.core.errors import (
    Conflict,
    FileTypeNotAllowed,
    StorageUnavailable,
    UploadExpired,
    UploadKitError,
    UploadNotFound,
    UploadNotVerified,
)
from uploadkit.core.sizes import SLOWEST_BYTES_PER_SECOND
from uploadkit.db.connection import write
from uploadkit.db.models import File
from uploadkit.files import clearing, verification
from uploadkit.files.naming import merged_metadata
from uploadkit.files.queries import uploads as queries
from uploadkit.objectstore.boto import AccessDenied
from uploadkit.objectstore.objects import StoredObject
from uploadkit.projects import quotas
from uploadkit.webhooks import event_log

_EVENT_OF_FAILURE = {"aborted": "upload.aborted", "expired": "upload.expired", "not_verified": "upload.failed"}


def find(caller: Caller, file_id: str) -> File:
    """Return the upload with this id, as far as the caller may know of it. Raises UploadNotFound."""
    file = queries.find_present(file_id, caller.project_id, caller.environment)
    if file is None or (caller.browser is not None and not _began(caller.browser, file)):
        raise UploadNotFound(f"There is no upload {file_id!r}")
    return file


def _began(browser: Browser, file: File) -> bool:
    """Say whether a browser may know of an upload: with a token, of what was begun with that one.

    Without, of anonymous ones under way, whose ids nobody can guess; that of a finished file stands in its URL, so then the address counts.
    """
    if browser.upload_token_id is not None:
        return file.upload_token_id == browser.upload_token_id
    if file.client_network is None or file.route_slug != browser.route_slug:
        return False
    return file.status == "UPLOADING" or file.client_network == browser.network


def place_for(ctx: Context, file: File) -> AbstractContextManager[None]:
    """Return a place at the store for what is done with an upload. Raises StorageUnavailable."""
    return ctx.store_places.taken(file.project_id, file.upload_token_id or file.client_network)


def put_off_deadline(ctx: Context, file: File) -> int:
    """Give an upload under way the time that URLs signed now are good for; return now. Raises what `ended` says of one that has ended."""
    now = clock.now_ms()
    file.expires_at, file.deadline_at = deadline(ctx, now, file.size_bytes)
    with write():
        is_under_way = queries.put_off(file.id, expires_at=file.expires_at, deadline_at=file.deadline_at, now_ms=now)
    if not is_under_way:
        raise ended(queries.get(file.id))
    return now


def deadline(ctx: Context, now: int, size_bytes: int) -> tuple[int, int]:
    """Return when URLs signed at `now` expire, and the deadline after which a slow PUT begun in time must have ended."""
    expires_at = now + ctx.config.storage.presign_expires_seconds * 1000
    slow_ms = size_bytes * 1000 // SLOWEST_BYTES_PER_SECOND
    return expires_at, expires_at + max(ctx.config.housekeeping.abandoned_upload_seconds * 1000, slow_ms)


def ended(file: File) -> UploadKitError:
    """What to tell somebody who wants to go on with an upload that is over."""
    if file.status == "UPLOADED":
        return Conflict("This upload is complete", "Calling complete again answers the file")
    if file.failure == "not_verified" and file.status == "FAILED":
        return verification.Refusal.read(file.failure_message).error
    if file.failure == "expired" and file.status == "FAILED":
        return UploadExpired("This upload was not completed before its deadline")
    return UploadNotFound("This upload was aborted or its file deleted")


def require_as_declared(ctx: Context, file: File, stored: StoredObject | None) -> str:
    """Hold what the store has against what was declared; return its media type. A difference ends the upload.

    Raises UploadNotVerified, and FileTypeNotAllowed where nobody could know the type before. What has not arrived yet ends nothing.
    """
    judged = verification.verdict(file, stored)
    if isinstance(judged, str):
        return judged
    leave_uploading(ctx, file, "not_verified", str(judged))
    with suppress(StorageUnavailable):  # the sweeper comes back to it
        clearing.tidy(ctx, queries.get(file.id))
    raise judged.error


def finish(ctx: Context, file: File, etag: str, content_type: str, metadata: Mapping[str, Any], *, sweep_at: int | None) -> File:
    """UPLOADING → UPLOADED, with all that goes with it, in one transaction, once the store has the bytes on its disk.

    `content_type` is what its bytes are of. Raises StorageUnavailable when they don't get to the disk; then the upload is as it was.
    """
    ctx.store.sync()
    now = clock.now_ms()
    with write():
        present = queries.get(file.id)  # its metadata may have been changed while the store was asked
        merged = merged_metadata(present.metadata, metadata)
        in_json = orjson.dumps(merged).decode()
        done = queries.finish(file.id, etag=etag, content_type=content_type, metadata=in_json, now_ms=now, sweep_at=sweep_at)
        if done:
            quotas.settle(present, now)
            present.status, present.etag, present.content_type, present.metadata = "UPLOADED", etag, content_type, merged
            present.uploaded_at = present.updated_at = now
            event_log.record(ctx, present, "upload.completed", "UPLOADED")
    if not done:
        raise ended(present)
    return present


def expect_joined(file: File, metadata: Mapping[str, Any]) -> None:
    """Note that the store is about to be asked to put the parts of `file` together, and with which `metadata`.

    From now on its bytes may stand under the final key, verified by nobody: the sweeper looks in a minute, if they are not by then.
    Raises what `ended` says of an upload that has ended.
    """
    now = clock.now_ms()
    with write():
        present = queries.get(file.id)
        merged = orjson.dumps(merged_metadata(present.metadata, metadata)).decode()
        is_under_way = queries.expect_joined(file.id, merged, now_ms=now, sweep_at_ms=now + clearing.JOINED_UNSEEN_MS)
    if not is_under_way:
        raise ended(present)


def finish_joined(ctx: Context, file: File, stored: StoredObject | None, metadata: Mapping[str, Any]) -> File:
    """Make what the store has put together a file, if `require_as_declared` agrees. Raises as that does."""
    content_type = require_as_declared(ctx, file, stored)
    assert stored is not None
    verification.require_readable(ctx, file, stored)
    return finish(ctx, file, stored.etag, content_type, metadata, sweep_at=None)


def leave_uploading(ctx: Context, file: File, failure: str, message: str, deleted_by: Actor | None = None) -> None:
    """UPLOADING → FAILED; the sweeper takes it from there."""
    now = clock.now_ms()
    with write():
        # What was looked at was put together, or will not be; otherwise the store may still be at it.
        if queries.fail(file.id, failure, message, now_ms=now, joining_is_over=failure == "not_verified"):
            quotas.release_upload(file)
            event_log.record(ctx, file, _EVENT_OF_FAILURE[failure], "FAILED", verification.for_history(message))
            if deleted_by is not None:
                audit.record(deleted_by, "deleted", "file", file.id, file.project_id, {"key": file.key, "status": "UPLOADING"})


def abort(ctx: Context, file_id: str, *, deleted_by: Actor | None = None) -> bool:
    """End an upload that is not complete; say whether it was under way until now.

    `deleted_by` is who deleted its file, for the audit trail.

    Raises Conflict when it is, UploadNotFound when its file has been deleted, StorageUnavailable when the store can't be cleared yet
    (a job goes on).
    """
    with place_for(ctx, queries.get(file_id)), ctx.locks.held(file_id):
        file = queries.get(file_id)
        if file.status == "DELETED":
            raise ended(file)
        if file.status == "UPLOADED":
            raise Conflict("This upload is complete; aborting changes nothing", "DELETE /api/v1/files/{key} deletes the file")
        was_under_way: bool = file.status == "UPLOADING"
        if was_under_way:
            leave_uploading(ctx, file, "aborted", "The upload was aborted", deleted_by)
        clearing.tidy(ctx, queries.get(file_id))
    return was_under_way


def expire(ctx: Context, file: File) -> None:
    """End an upload whose deadline has passed, unless parts of it still arrive; one that the store has joined becomes a file.

    Raises StorageUnavailable, and Conflict while somebody else completes or aborts it.
    """
    with ctx.locks.held(file.id, wait_seconds=0):
        file = queries.get(file.id)  # it may have been put off, or completed, since the sweeper read it
        if file.status != "UPLOADING" or (file.joining_at is not None and _sees_to_joined(ctx, file)):
            return
        deadline_at = file.deadline_at
        if file.upload_id and deadline_at <= clock.cautious_ms() and (newest := _last_arrival(ctx, file.key, file.upload_id)):
            deadline_at = max(deadline_at, newest + ctx.config.housekeeping.abandoned_upload_seconds * 1000)
        if deadline_at > clock.cautious_ms():
            with write():
                queries.put_off_sweep(file.id, deadline_at=deadline_at, sweep_at=clock.wall_clock_at(deadline_at))
            return
        leave_uploading(ctx, file, "expired", "The upload was not completed before its deadline")
        clearing.tidy(ctx, queries.get(file.id))


def _sees_to_joined(ctx: Context, file: File) -> bool:
    """Finish or end an upload whose parts the store has put together; say whether that is done, or may still come.

    Whoever asked for it has got no answer, as when an answer is lost: asking again answers the file. Parts that the store has not put
    together stay as they are, until the deadline.
    """
    assert file.joining_at is not None
    try:
        stored = ctx.store.head(file.key)
    except AccessDenied:  # AWS says so of a missing object, too
        stored = None
    if stored is not None and not ctx.store.distrust:
        with suppress(UploadNotVerified, FileTypeNotAllowed):
            finish_joined(ctx, file, stored, {})
        return True
    if not clearing.may_be_joining(file):
        return False
    with write():
        queries.sweep_again(file.id, clock.now_ms() + clearing.JOINED_UNSEEN_MS)
    return True


def _last_arrival(ctx: Context, key: str, upload_id: str) -> int:
    try:
        parts = ctx.store.list_parts(key, upload_id)
    except AccessDenied:
        return 0
    # A store whose clock is ahead, or that says anything, puts no deadline off further than what has come just now does.
    return min(max((part.arrived_at for part in parts or ()), default=0), clock.now_ms())


def mark_deleted(ctx: Context, file: File, reason: str | None = None) -> int:
    """UPLOADED or FAILED → DELETED, in the caller's write transaction; return the bytes of storage that this freed.

    `file` must have been read in that same transaction; one in another state stays as it is. The sweeper takes the object away.
    """
    now = clock.now_ms()
    if not queries.delete(file.id, now):
        return 0
    event_log.record(ctx, file, "file.deleted", "DELETED", reason)
    if file.status != "UPLOADED":
        return 0
    quotas.forget(file, now)
    return file.size_bytes
