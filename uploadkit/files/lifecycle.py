"""The row of an upload: how it begins, how it leaves UPLOADING, and what has to go from the store then.

Every change of state is a conditional update, with its quota and its event in the same transaction. The network is never called
inside one. `single_upload.py` and `multipart_upload.py` decide when; the states are changed here alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from typing import Any

import orjson

from uploadkit.auth import audit
from uploadkit.auth.actors import Actor
from uploadkit.auth.callers import Browser, Caller
from uploadkit.context import Context
from uploadkit.coordination.idempotency import Remember
from uploadkit.core import clock, media_types
from uploadkit.core.errors import (
    Conflict,
    FileTypeNotAllowed,
    Forbidden,
    RateLimited,
    StorageUnavailable,
    TierLimitExceeded,
    UploadExpired,
    UploadKitError,
    UploadNotFound,
    UploadNotVerified,
)
from uploadkit.core.ids import new_id
from uploadkit.core.sizes import SLOWEST_BYTES_PER_SECOND
from uploadkit.db import statements
from uploadkit.db.connection import execute, write
from uploadkit.db.models import NUMBER_BITS, File
from uploadkit.files import anonymous_uploads, upload_tokens, verification
from uploadkit.files.naming import merged_metadata, safe_name
from uploadkit.objectstore.boto import AccessDenied
from uploadkit.objectstore.objects import StoredObject
from uploadkit.projects import file_routes, quotas
from uploadkit.webhooks import event_log

_JOINED_UNSEEN_MS = 60_000
"""How long bytes may stand under their final key before somebody looks at them."""
_JOINING_MS = 15 * 60_000
"""How long a store may take to put parts together that it was asked for; the appliance waits for its answer a third of that."""
_FINISH = """
UPDATE file SET status = 'UPLOADED', etag = ?, content_type = ?, metadata = ?, uploaded_at = ?, updated_at = ?, reserved_bytes = 0,
       sweep_at = ?, sweep_attempts = 0, joining_at = NULL
 WHERE id = ? AND status = 'UPLOADING'
"""
_EXPECT_JOINED = """
UPDATE file SET joining_at = :now, metadata = :metadata, updated_at = :now, sweep_at = :look_at, sweep_attempts = 0
 WHERE id = :id AND status = 'UPLOADING'
"""
# One whose parts the store was asked to join is looked at when that was to be, whatever becomes of its deadline.
_PUT_OFF = """
UPDATE file SET expires_at = :expires, deadline_at = :deadline, sweep_at = iif(joining_at IS NULL, :deadline, sweep_at), updated_at = :now
 WHERE id = :id AND status = 'UPLOADING'
"""
_CLEARED = "UPDATE file SET sweep_at = ?, sweep_attempts = 0 WHERE id = ? AND status = ?"
# Who sends two files of one name and size in one go does not try again.
_SECOND_TRY_AFTER_MS = 5_000
# The newest of those under way are looked at, no more: whoever is refused may ask again and again.
_FIRST_TRY = """
SELECT id FROM (
  SELECT id, created_at, joining_at, route_slug, file_name, size_bytes, content_type, upload_token_id, client_network, api_key_id, metadata
    FROM file
   WHERE project_id = :project AND environment = :environment AND status = 'UPLOADING' ORDER BY number DESC LIMIT 1000)
 WHERE created_at <= :before AND joining_at IS NULL
   AND size_bytes = :size AND file_name = :name AND route_slug = :route AND content_type = :type
   AND (upload_token_id = :token OR client_network = :network
        OR (upload_token_id IS NOT NULL AND :token IS NOT NULL AND api_key_id = :key AND metadata = :vouched))
 LIMIT 1
"""
_EVENT_OF_FAILURE = {"aborted": "upload.aborted", "expired": "upload.expired", "not_verified": "upload.failed"}


@dataclass(frozen=True)
class UploadRequest:
    """What a client wants to upload. `size_bytes` is a promise that the store holds it to, and its PUT repeats `content_type` as it is.

    A `content_type` of "" is none: the client does not know. What is recorded and served is what media_types.py makes of it.
    `client_metadata` is what a browser says, whom nobody vouches for.
    """

    file_name: str
    size_bytes: int
    content_type: str
    route_slug: str
    metadata: Mapping[str, Any]
    client_metadata: Mapping[str, Any] = field(default_factory=dict)


def new_file(ctx: Context, caller: Caller, request: UploadRequest) -> File:
    """The row to be, checked against the file route and the tier; nothing is written yet."""
    ctx.store.ensure_available()
    ctx.database_disk.require_room()
    _require_few_failed(ctx, caller)
    route = file_routes.find_file_route(caller.project_id, request.route_slug)
    content_type = media_types.recorded(request.content_type, request.file_name)
    file_routes.check_upload(route, caller.limits, request.size_bytes, request.content_type, content_type)
    now, file_id = clock.now_ms(), new_id()
    expires_at, deadline_at = _expiry(ctx, now, request.size_bytes)
    sandbox = "test/" if caller.environment == "test" else ""
    return statements.new(
        File,
        id=file_id,
        project=caller.project_id,
        environment=caller.environment,
        route_slug=route.slug,
        api_key=caller.api_key_id,
        key=f"{sandbox}{caller.project_id}/{route.slug}/{file_id}/{safe_name(request.file_name)}",
        file_name=request.file_name,
        size_bytes=request.size_bytes,
        content_type=content_type,
        type_declared=bool(request.content_type),
        declared_type=None if request.content_type in ("", content_type) else request.content_type,
        visibility=route.visibility,
        metadata=merged_metadata({}, request.metadata),
        client_metadata=merged_metadata({}, request.client_metadata),
        upload_token_id=caller.browser.upload_token_id if caller.browser else None,
        client_network=caller.browser.network if caller.browser else None,
        status="UPLOADING",
        expires_at=expires_at,
        deadline_at=deadline_at,
        sweep_at=deadline_at,
        created_at=now,
        updated_at=now,
    )


def _require_few_failed(ctx: Context, caller: Caller) -> None:
    if caller.api_key_id is None:
        return
    try:
        quotas.require_few_failed(caller.project_id, caller.environment)
    except RateLimited:
        ctx.signals.wake_forgetting()
        raise


def insert(ctx: Context, caller: Caller, file: File, remember: Remember) -> None:
    """Reserve quota and insert the row; `remember` gets its id in the same transaction.

    A browser's second try takes the place of its first where there is no room for both. Raises TierLimitExceeded; for a browser also
    what its upload token or address is refused with.
    """
    try:
        _insert(ctx, caller, file, remember)
    except (Forbidden, RateLimited, TierLimitExceeded):
        earlier = _first_try(caller, file)
        if earlier is None or not _would_make_room(ctx, caller, file, earlier) or not _replaced(ctx, earlier):
            raise
        _insert(ctx, caller, file, remember)


def _first_try(caller: Caller, file: File) -> str | None:
    """Return the id of the unfinished upload that a browser sends once more, after a reload perhaps: the same file by the same user.

    The same user is the same upload token, another one of the same key with the same metadata, or the same address without a token.
    """
    browser = caller.browser
    if browser is None or (browser.upload_token_id is None and browser.network is None):
        return None
    mine = {"token": browser.upload_token_id, "network": browser.network, "key": caller.api_key_id}
    vouched = orjson.dumps(file.metadata).decode() if file.metadata else None
    before = clock.now_ms() - _SECOND_TRY_AFTER_MS
    same = {
        "before": before,
        "route": file.route_slug,
        "name": file.file_name,
        "size": file.size_bytes,
        "type": file.content_type,
        "vouched": vouched,
    }
    row = execute(_FIRST_TRY, {"project": caller.project_id, "environment": caller.environment, **mine, **same}).fetchone()
    return None if row is None else str(row[0])


class _TriedOut(Exception):
    """All would go well; but it was not meant."""


def _would_make_room(ctx: Context, caller: Caller, file: File, earlier_id: str) -> bool:
    """Say whether there would be room for `file` if the earlier upload had ended: tried out in a transaction that is taken back.

    Where another limit is the reason, nobody's upload is to end for nothing, least of all that of somebody who only looks like the same
    user. What a single upload holds, its URL holds until the deadline.
    """
    try:
        with write():
            earlier = statements.find(File, "id = ? AND status = 'UPLOADING'", earlier_id)
            if earlier is None:
                return False
            File.update(status="FAILED", failure="aborted").where(File.id == earlier_id).execute()
            quotas.release_upload(earlier)
            if earlier.is_multipart:
                quotas.release_bytes(earlier)
            _take_room(ctx, caller, file)
            raise _TriedOut
    except _TriedOut:
        return True
    except (Forbidden, RateLimited, TierLimitExceeded):
        return False


def _replaced(ctx: Context, file_id: str) -> bool:
    """End an upload for the sake of its second try; say whether it was under way."""
    try:
        return abort(ctx, file_id)
    except (Conflict, StorageUnavailable, UploadNotFound):
        return False


def _insert(ctx: Context, caller: Caller, file: File, remember: Remember) -> None:
    with write():
        file.reserved_bytes = _take_room(ctx, caller, file)
        file.number = _next_number(file.created_at)
        statements.insert(file)
        remember(file.id)
        event_log.record(ctx, file, "upload.requested", "UPLOADING")


def _take_room(ctx: Context, caller: Caller, file: File) -> int:
    """Set room aside for a new upload, inside a transaction; return the bytes reserved. Raises whatever it is refused with."""
    if caller.browser is not None:
        _require_room(ctx, caller, caller.browser, file.size_bytes)
    if caller.environment == "test":
        quotas.require_room_in_sandbox(caller.project_id, file.size_bytes, ctx.config.sandbox)
    return quotas.reserve(caller.project_id, caller.environment, file.size_bytes, caller.limits)


def _require_room(ctx: Context, caller: Caller, browser: Browser, size_bytes: int) -> None:
    if browser.upload_token_id is not None:
        upload_tokens.require_room(browser, size_bytes)
    else:
        anonymous_uploads.require_room(ctx.config, caller, browser, size_bytes)


def _next_number(created_at: int) -> int:
    """Return the place in all lists of a file made at `created_at`: after every other one of that millisecond."""
    first = created_at << NUMBER_BITS
    (newest,) = execute("SELECT max(number) FROM file WHERE number < ?", ((created_at + 1) << NUMBER_BITS,)).fetchone()
    return first if newest is None else max(first, int(newest) + 1)


def find(caller: Caller, file_id: str) -> File:
    """Return the upload with this id, as far as the caller may know of it. Raises UploadNotFound."""
    mine = "id = ? AND project_id = ? AND environment = ? AND status <> 'DELETED'"
    file = statements.find(File, mine, file_id, caller.project_id, caller.environment)
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
    file.expires_at, file.deadline_at = _expiry(ctx, now, file.size_bytes)
    new = {"expires": file.expires_at, "deadline": file.deadline_at, "now": now, "id": file.id}
    with write():
        extended = execute(_PUT_OFF, new).rowcount
    if not extended:
        raise ended(statements.get(File, file.id))
    return now


def _expiry(ctx: Context, now: int, size_bytes: int) -> tuple[int, int]:
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
        tidy(ctx, statements.get(File, file.id))
    raise judged.error


def finish(ctx: Context, file: File, etag: str, content_type: str, metadata: Mapping[str, Any], *, sweep_at: int | None) -> File:
    """UPLOADING → UPLOADED, with all that goes with it, in one transaction, once the store has the bytes on its disk.

    `content_type` is what its bytes are of. Raises StorageUnavailable when they don't get to the disk; then the upload is as it was.
    """
    ctx.store.sync()
    now = clock.now_ms()
    with write():
        present = statements.get(File, file.id)
        merged = merged_metadata(present.metadata, metadata)
        done = execute(_FINISH, (etag, content_type, orjson.dumps(merged).decode(), now, now, sweep_at, file.id)).rowcount
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
        present = statements.get(File, file.id)
        merged = orjson.dumps(merged_metadata(present.metadata, metadata)).decode()
        new = {"now": now, "metadata": merged, "look_at": now + _JOINED_UNSEEN_MS, "id": file.id}
        expected = execute(_EXPECT_JOINED, new).rowcount
    if not expected:
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
        failed = (
            File.update(status="FAILED", failure=failure, failure_message=message, updated_at=now, sweep_at=now, **_joined_or_not(failure))
            .where(File.id == file.id, File.status == "UPLOADING")
            .execute()
        )
        if failed:
            quotas.release_upload(file)
            event_log.record(ctx, file, _EVENT_OF_FAILURE[failure], "FAILED", verification.told(message))
            if deleted_by is not None:
                audit.record(deleted_by, "deleted", "file", file.id, file.project_id, {"key": file.key, "status": "UPLOADING"})


def _joined_or_not(failure: str) -> dict[str, None]:
    """What was looked at was put together, or will not be; otherwise the store may still be at it."""
    return {"joining_at": None} if failure == "not_verified" else {}


def abort(ctx: Context, file_id: str, *, deleted_by: Actor | None = None) -> bool:
    """End an upload that is not complete; say whether it was under way until now.

    `deleted_by` is who deleted its file, for the audit trail.

    Raises Conflict when it is, UploadNotFound when its file has been deleted, StorageUnavailable when the store can't be cleared yet
    (a job goes on).
    """
    with place_for(ctx, statements.get(File, file_id)), ctx.locks.held(file_id):
        file = statements.get(File, file_id)
        if file.status == "DELETED":
            raise ended(file)
        if file.status == "UPLOADED":
            raise Conflict("This upload is complete; aborting changes nothing", "DELETE /api/v1/files/{key} deletes the file")
        was_under_way: bool = file.status == "UPLOADING"
        if was_under_way:
            leave_uploading(ctx, file, "aborted", "The upload was aborted", deleted_by)
        tidy(ctx, statements.get(File, file_id))
    return was_under_way


def expire(ctx: Context, file: File) -> None:
    """End an upload whose deadline has passed, unless parts of it still arrive; one that the store has joined becomes a file.

    Raises StorageUnavailable, and Conflict while somebody else completes or aborts it.
    """
    with ctx.locks.held(file.id, wait_seconds=0):
        file = statements.get(File, file.id)  # it may have been put off, or completed, since the sweeper read it
        if file.status != "UPLOADING" or (file.joining_at is not None and _sees_to_joined(ctx, file)):
            return
        deadline_at = file.deadline_at
        if file.upload_id and deadline_at <= clock.cautious_ms() and (newest := _last_arrival(ctx, file.key, file.upload_id)):
            deadline_at = max(deadline_at, newest + ctx.config.housekeeping.abandoned_upload_seconds * 1000)
        if deadline_at > clock.cautious_ms():
            with write():
                later = File.update(deadline_at=deadline_at, sweep_at=clock.shown_at(deadline_at))
                later.where(File.id == file.id, File.status == "UPLOADING").execute()
            return
        leave_uploading(ctx, file, "expired", "The upload was not completed before its deadline")
        tidy(ctx, statements.get(File, file.id))


def _sees_to_joined(ctx: Context, file: File) -> bool:
    """Finish or end an upload whose parts the store has put together; say whether that is done, or may still come.

    Whoever asked for it has got no answer, as when an answer is lost: asking again answers the file. Parts that the store has not put
    together stay as they are, until the deadline.
    """
    assert file.joining_at is not None
    try:
        stored = ctx.store.look_at(file.key)
    except AccessDenied:  # AWS says so of a missing object, too
        stored = None
    if stored is not None and not ctx.store.distrust:
        with suppress(UploadNotVerified, FileTypeNotAllowed):
            finish_joined(ctx, file, stored, {})
        return True
    if not _may_be_joining(file):
        return False
    with write():
        File.update(sweep_at=clock.now_ms() + _JOINED_UNSEEN_MS).where(File.id == file.id, File.status == "UPLOADING").execute()
    return True


def _may_be_joining(file: File) -> bool:
    return file.joining_at is not None and file.joining_at <= clock.now_ms() < file.joining_at + _JOINING_MS


def _last_arrival(ctx: Context, key: str, upload_id: str) -> int:
    try:
        parts = ctx.store.list_parts(key, upload_id)
    except AccessDenied:
        return 0
    # A store whose clock is ahead, or that says anything, puts no deadline off further than what has come just now does.
    return min(max((part.arrived_at for part in parts or ()), default=0), clock.now_ms())


@dataclass(frozen=True)
class Cleared:
    """A row that the store was cleared for; `over`: nothing can come back any more."""

    file: File
    over: bool


def tidy(ctx: Context, file: File) -> None:
    """Clear the store for a row and note it at once. Raises StorageUnavailable."""
    note([clear(ctx, file)])


def clear(ctx: Context, file: File) -> Cleared:
    """Remove from the store whatever a row that is no longer UPLOADING should not have there; what is left to do is for `note`.

    Safe to repeat at any point. Until the deadline a still valid URL may store bytes again, so a single upload is looked at once more
    then, and a failed one keeps its reservation until then. Raises StorageUnavailable.
    """
    # Asked before the first deletion: what a PUT brings between that and the deadline must still be found.
    over = clock.cautious_ms() >= file.deadline_at
    if file.status != "UPLOADED":
        ctx.store.delete(file.key)
    if not file.is_multipart:
        ctx.store.delete(file.pending_key)
    elif file.upload_id:
        ctx.store.abort_multipart(file.key, file.upload_id)
    else:
        with suppress(AccessDenied):
            ctx.store.abort_all_multiparts(file.key)
    return Cleared(file, over)


def note(cleared: Sequence[Cleared]) -> None:
    """Note, in one transaction, for which rows the store was cleared, and when to look at them again."""
    with write():
        for one in cleared:
            file = one.file
            if file.status != "UPLOADED" and (one.over or file.is_multipart) and (present := statements.find(File, "id = ?", file.id)):
                quotas.release_bytes(present)
            look_at = None if one.over else clock.shown_at(file.deadline_at)
            if file.status != "UPLOADED" and _may_be_joining(file):  # what the store puts together now comes after the deletion
                look_at = clock.now_ms() + _JOINED_UNSEEN_MS
            execute(_CLEARED, (look_at, file.id, file.status))
