"""The upload life cycle: request, complete, multipart, abort, expire (api.md section 6).

Every change of state is a conditional update; the network is never called inside a transaction; and no file becomes readable
before its bytes have been looked at in the store. Rendering and parsing belong to `web/`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from uploadkit import audit, clock, events, file_routes, quotas, tiers
from uploadkit.access import Caller
from uploadkit.claims import claimed
from uploadkit.content import disposition, merged_metadata, safe_name, same_type
from uploadkit.context import Context
from uploadkit.db import execute, new_id, write
from uploadkit.errors import (
    Conflict,
    FileTooLarge,
    FileTooSmallForMultipart,
    InvalidParts,
    StorageUnavailable,
    UploadExpired,
    UploadKitError,
    UploadNotFound,
    UploadNotVerified,
)
from uploadkit.idempotency import Remember, forget
from uploadkit.models import NUMBER_BITS, File
from uploadkit.storage.s3 import AccessDenied, CopyRefused, StoredObject, StoredPart

MIB = 1024**2
MAX_SINGLE_PUT_BYTES = 5 * 1024**3
MAX_OBJECT_BYTES = 5 * 1024**4
MULTIPART_ABOVE_BYTES = 10 * MIB
SMALLEST_PART_BYTES = 5 * MIB
COMFORTABLE_PARTS = 1_000
SLOWEST_BYTES_PER_SECOND = 256 * 1024
_EVENT_OF_FAILURE = {"aborted": "upload.aborted", "expired": "upload.expired", "not_verified": "upload.failed"}


@dataclass(frozen=True)
class UploadRequest:
    """What a client wants to upload. `size_bytes` and `content_type` are promises that the store holds it to."""

    file_name: str
    size_bytes: int
    content_type: str
    route_slug: str
    metadata: Mapping[str, Any]


@dataclass(frozen=True)
class UploadSlot:
    """Permission for one PUT: the URL, and the headers that must go with it."""

    file: File
    upload_url: str
    headers: Mapping[str, str]


@dataclass(frozen=True)
class PartUrl:
    """Permission for the PUT of one part."""

    number: int
    upload_url: str


@dataclass(frozen=True)
class MultipartSlot:
    """A multipart upload under way: the parts that have arrived, and URLs for others."""

    file: File
    part_urls: Sequence[PartUrl]
    arrived: Sequence[StoredPart] = ()


def request_upload(ctx: Context, caller: Caller, request: UploadRequest, remember: Remember = forget) -> UploadSlot:
    """Reserve quota for one file and sign the PUT that brings it; `remember` gets its id in the same transaction.

    Raises NotFound (file route), FileTooLarge, FileTypeNotAllowed, TierLimitExceeded, StorageUnavailable.
    """
    if request.size_bytes > MAX_SINGLE_PUT_BYTES:
        raise FileTooLarge(
            f"File size {request.size_bytes} bytes exceeds the {MAX_SINGLE_PUT_BYTES} bytes that one PUT can carry",
            "Use multipart: POST /api/v1/upload/multipart/init",
        )
    file = _new_file(ctx, caller, request)
    expires_seconds = ctx.config.storage.presign_expires_seconds
    url = ctx.store.presign_put(file.pending_key, file.content_type, file.size_bytes, file.created_at, expires_seconds)
    _insert(ctx, caller, file, remember)
    return _slot(file, url)


def request_again(ctx: Context, caller: Caller, file_id: str) -> UploadSlot:
    """Answer `request_upload` once more for the file it made then: the same file, a fresh URL, a new deadline.

    Raises UploadNotFound, UploadExpired, UploadNotVerified, and Conflict when the upload is complete.
    """
    with claimed(file_id):
        file = _find(caller, file_id)
        if file.status == "UPLOADED":
            raise Conflict("This upload is complete", "POST /api/v1/upload/complete answers the file")
        now = _put_off_deadline(ctx, file)
    expires_seconds = ctx.config.storage.presign_expires_seconds
    return _slot(file, ctx.store.presign_put(file.pending_key, file.content_type, file.size_bytes, now, expires_seconds))


def _slot(file: File, url: str) -> UploadSlot:
    return UploadSlot(file, url, {"Content-Type": file.content_type, "Content-Length": str(file.size_bytes)})


def start_multipart(ctx: Context, caller: Caller, request: UploadRequest, remember: Remember = forget) -> MultipartSlot:
    """Reserve quota for a file over 10 MiB, begin its multipart upload at the store, and sign all its parts.

    `remember` gets the file's id in the transaction that ends the beginning, so that half a beginning is never answered again.
    Raises as `request_upload` does, and FileTooSmallForMultipart.
    """
    if request.size_bytes <= MULTIPART_ABOVE_BYTES:
        raise FileTooSmallForMultipart(f"Multipart is for files over {MULTIPART_ABOVE_BYTES} bytes; this one has {request.size_bytes}")
    if request.size_bytes > MAX_OBJECT_BYTES:
        raise FileTooLarge(f"File size {request.size_bytes} bytes exceeds the {MAX_OBJECT_BYTES} bytes that an object can have")
    file = _new_file(ctx, caller, request)
    file.part_size_bytes = part_size(request.size_bytes)
    _insert(ctx, caller, file, forget)
    try:
        file.upload_id = ctx.store.create_multipart(file.key, file.content_type, disposition(file.file_name, file.content_type))
    except StorageUnavailable:
        _leave_uploading(file, "aborted", "The store could not begin the upload")
        raise
    with write():
        saved = File.update(upload_id=file.upload_id).where(File.id == file.id, File.status == "UPLOADING").execute()
        if saved:
            remember(file.id)
    if not saved:
        # Nobody else knows this upload id, and the sweeper may not be allowed to list what it does not know.
        ctx.store.abort_multipart(file.key, file.upload_id)
        raise UploadNotFound("This upload was aborted while it began")
    return MultipartSlot(file, _sign_parts(ctx, file, range(1, part_count(file) + 1)))


def start_multipart_again(ctx: Context, caller: Caller, file_id: str) -> MultipartSlot:
    """Answer `start_multipart` once more for the file it made then: the same upload, fresh URLs for all parts, a new deadline.

    Raises UploadNotFound, UploadExpired, UploadNotVerified, and Conflict when the upload is complete.
    """
    with claimed(file_id):
        file = _find(caller, file_id)
        if file.status == "UPLOADED":
            raise _all_arrived()
        _put_off_deadline(ctx, file)
    return MultipartSlot(file, _sign_parts(ctx, file, range(1, part_count(file) + 1)))


def resume_multipart(ctx: Context, caller: Caller, file_id: str, upload_id: str, numbers: Sequence[int] | None) -> MultipartSlot:
    """Say which parts have arrived, sign URLs for the rest (or for `numbers`), and put the upload's deadline off.

    Raises UploadNotFound, UploadExpired, UploadNotVerified, InvalidParts (a number the file does not have), and Conflict when
    nothing is left to send: then `complete_multipart` answers the file.
    """
    ctx.store.ensure_available()
    file = _find_multipart(caller, file_id, upload_id)
    if file.status == "UPLOADED":
        raise _all_arrived()
    if file.status != "UPLOADING":
        raise _ended(file)
    count = part_count(file)
    if wrong := sorted({number for number in numbers or () if not 1 <= number <= count}):
        raise InvalidParts(f"This upload has parts 1 to {count}; there is no part {wrong[0]}")
    arrived = ctx.store.list_parts(file.key, upload_id)
    if arrived is None:
        raise _all_arrived()
    with claimed(file_id):  # so that the sweeper, which may be looking at this very row, goes by the new deadline
        _put_off_deadline(ctx, file)
    there = {part.number for part in arrived}
    wanted = sorted(set(numbers)) if numbers is not None else [n for n in range(1, count + 1) if n not in there]
    return MultipartSlot(file, _sign_parts(ctx, file, wanted), arrived)


def complete_upload(ctx: Context, caller: Caller, file_id: str, metadata: Mapping[str, Any]) -> File:
    """Verify a single upload and make it a file: immutable, readable, counted. Repeating it answers the same file.

    Raises UploadNotFound, UploadNotVerified, UploadExpired, Conflict, StorageUnavailable.
    """
    if _find(caller, file_id).is_multipart:
        raise UploadNotFound("This is a multipart upload", "POST /api/v1/upload/multipart/complete completes it")
    with claimed(file_id):
        file = _find(caller, file_id)
        if file.status == "UPLOADED":
            return file
        if file.status != "UPLOADING":
            raise _ended(file)
        merged_metadata(file.metadata, metadata)
        etag = _copy_verified(ctx, file)
        # The pending object is a second copy on the disk: the sweeper's next round takes it away, and looks again at the deadline.
        return _finish(file, etag, metadata, sweep_at=clock.now_ms())


def complete_multipart(
    ctx: Context, caller: Caller, file_id: str, upload_id: str, parts: Sequence[tuple[int, str]] | None, metadata: Mapping[str, Any]
) -> File:
    """Have the store put the parts together, verify the object, and make it a file. Repeating it answers the same file.

    `parts` (number, ETag) may be left out; then the store's own list counts.
    Raises UploadNotFound, InvalidParts, UploadNotVerified, UploadExpired, Conflict, StorageUnavailable.
    """
    _find_multipart(caller, file_id, upload_id)
    with claimed(file_id):
        file = _find_multipart(caller, file_id, upload_id)
        if file.status == "UPLOADED":
            return file
        if file.status != "UPLOADING":
            raise _ended(file)
        merged_metadata(file.metadata, metadata)
        listed = _parts_to_join(ctx, file, upload_id, parts)
        if listed is not None:
            ctx.store.complete_multipart(file.key, upload_id, listed)
        # When the store knows no such upload, it may have put the parts together before a crash took the answer.
        stored = _look_at(ctx, file.key)
        _require_as_declared(ctx, file, stored)
        assert stored is not None
        return _finish(file, stored.etag, metadata, sweep_at=None)


def abort_multipart(ctx: Context, caller: Caller, file_id: str, upload_id: str) -> None:
    """End a multipart upload: its parts are gone and its quota is free. Repeating it is fine.

    Raises UploadNotFound, Conflict, StorageUnavailable.
    """
    _find_multipart(caller, file_id, upload_id)
    abort(ctx, file_id)


def abort(ctx: Context, file_id: str, *, deleted_by: str | None = None) -> None:
    """End an upload that is not complete; `deleted_by` is the id of the API key that deleted its file, for the audit trail.

    Raises Conflict when it is, StorageUnavailable when the store can't be cleared yet (a job goes on).
    """
    with claimed(file_id):
        file = File.get_by_id(file_id)
        if file.status == "UPLOADED":
            raise Conflict("This upload is complete; aborting changes nothing", "DELETE /api/v1/files/{key} deletes the file")
        if file.status == "UPLOADING":
            _leave_uploading(file, "aborted", "The upload was aborted", deleted_by)
        tidy(ctx, File.get_by_id(file_id))


def expire(ctx: Context, file: File) -> None:
    """End an upload whose deadline has passed, unless parts of it still arrive. Raises StorageUnavailable."""
    with claimed(file.id, wait_seconds=0):
        if File.get_by_id(file.id).deadline_at > clock.now_ms():
            return  # put off since the sweeper read the row
        if file.upload_id and (newest := _last_arrival(ctx, file.key, file.upload_id)):
            again_at = newest + ctx.config.housekeeping.abandoned_upload_seconds * 1000
            if again_at > clock.now_ms():
                with write():
                    File.update(deadline_at=again_at, sweep_at=again_at).where(File.id == file.id, File.status == "UPLOADING").execute()
                return
        _leave_uploading(file, "expired", "The upload was not completed before its deadline")
        tidy(ctx, File.get_by_id(file.id))


def tidy(ctx: Context, file: File) -> None:
    """Remove from the store whatever a row that is no longer UPLOADING should not have there, then note what is left to do.

    Safe to repeat at any point. Until the deadline a still valid URL may store bytes again, so a single upload is looked at once more
    then, and a failed one keeps its reservation until then. Raises StorageUnavailable.
    """
    # Asked before the first deletion: what a PUT brings between that and the deadline must still be found.
    over = clock.now_ms() >= file.deadline_at
    if file.status != "UPLOADED":
        ctx.store.delete(file.key)
    if not file.is_multipart:
        ctx.store.delete(file.pending_key)
    elif file.upload_id:
        ctx.store.abort_multipart(file.key, file.upload_id)
    else:
        with suppress(AccessDenied):
            ctx.store.abort_all_multiparts(file.key)
    with write():
        present = File.get_by_id(file.id)
        if present.status != "UPLOADED" and (over or file.is_multipart):
            quotas.release_bytes(present)
        File.update(sweep_at=None if over else file.deadline_at, sweep_attempts=0).where(
            File.id == file.id, File.status == file.status
        ).execute()


def part_size(size_bytes: int) -> int:
    """Return the bytes of every part but the last: 5 MiB while that gives at most 1,000 parts, then the smallest whole MiB that does."""
    smallest_whole_mib = -(-size_bytes // (COMFORTABLE_PARTS * MIB)) * MIB
    return max(SMALLEST_PART_BYTES, smallest_whole_mib)


def part_count(file: File) -> int:
    """Return how many parts a multipart upload has."""
    assert file.part_size_bytes is not None
    return int(-(-file.size_bytes // file.part_size_bytes))


def _expiry(ctx: Context, now: int, size_bytes: int) -> tuple[int, int]:
    """Return when URLs signed at `now` expire, and the deadline after which a slow PUT begun in time must have ended."""
    expires_at = now + ctx.config.storage.presign_expires_seconds * 1000
    slow_ms = size_bytes * 1000 // SLOWEST_BYTES_PER_SECOND
    return expires_at, expires_at + max(ctx.config.housekeeping.abandoned_upload_seconds * 1000, slow_ms)


def _put_off_deadline(ctx: Context, file: File) -> int:
    """Give an upload under way the time that URLs signed now are good for; return now. Raises what `_ended` says of one that has ended."""
    now = clock.now_ms()
    file.expires_at, file.deadline_at = _expiry(ctx, now, file.size_bytes)
    with write():
        extended = (
            File.update(expires_at=file.expires_at, deadline_at=file.deadline_at, sweep_at=file.deadline_at, updated_at=now)
            .where(File.id == file.id, File.status == "UPLOADING")
            .execute()
        )
    if not extended:
        raise _ended(File.get_by_id(file.id))
    return now


def _new_file(ctx: Context, caller: Caller, request: UploadRequest) -> File:
    """The row to be, checked against the file route and the tier; nothing is written yet."""
    ctx.store.ensure_available()
    route = file_routes.find_file_route(caller.project_id, request.route_slug)
    limits = tiers.limits_of(ctx.config, caller.tier, caller.limit_overrides)
    file_routes.check_upload(route, limits, request.size_bytes, request.content_type)
    now, file_id = clock.now_ms(), new_id()
    expires_at, deadline_at = _expiry(ctx, now, request.size_bytes)
    sandbox = "test/" if caller.environment == "test" else ""
    return File(
        id=file_id,
        project=caller.project_id,
        environment=caller.environment,
        route_slug=route.slug,
        api_key=caller.key_id,
        key=f"{sandbox}{caller.project_id}/{route.slug}/{file_id}/{safe_name(request.file_name)}",
        file_name=request.file_name,
        size_bytes=request.size_bytes,
        content_type=request.content_type,
        visibility=route.visibility,
        metadata=merged_metadata({}, request.metadata),
        status="UPLOADING",
        expires_at=expires_at,
        deadline_at=deadline_at,
        sweep_at=deadline_at,
        created_at=now,
        updated_at=now,
    )


def _insert(ctx: Context, caller: Caller, file: File, remember: Remember) -> None:
    limits = tiers.limits_of(ctx.config, caller.tier, caller.limit_overrides)
    with write():
        file.reserved_bytes = quotas.reserve(caller.project_id, caller.environment, file.size_bytes, limits)
        file.number = _next_number(file.created_at)
        file.save(force_insert=True)
        remember(file.id)
        events.record(file, "upload.requested", "UPLOADING")


def _next_number(created_at: int) -> int:
    """Return the place in all lists of a file made at `created_at`: after every other one of that millisecond."""
    first = created_at << NUMBER_BITS
    (newest,) = execute("SELECT max(number) FROM file WHERE number < ?", ((created_at + 1) << NUMBER_BITS,)).fetchone()
    return first if newest is None else max(first, int(newest) + 1)


def _find(caller: Caller, file_id: str) -> File:
    file: File | None = File.get_or_none(
        File.id == file_id, File.project == caller.project_id, File.environment == caller.environment, File.status != "DELETED"
    )
    if file is None:
        raise UploadNotFound(f"There is no upload {file_id!r}")
    return file


def _find_multipart(caller: Caller, file_id: str, upload_id: str) -> File:
    file = _find(caller, file_id)
    if file.upload_id != upload_id:
        raise UploadNotFound(f"There is no multipart upload {file_id!r} with that uploadId")
    return file


def _ended(file: File) -> UploadKitError:
    """What to tell somebody who wants to go on with an upload that is FAILED or DELETED."""
    if file.failure == "not_verified" and file.status == "FAILED":
        return UploadNotVerified(file.failure_message or "", "Start again with POST /api/v1/upload/request")
    if file.failure == "expired" and file.status == "FAILED":
        return UploadExpired("This upload was not completed before its deadline")
    return UploadNotFound("This upload was aborted or its file deleted")


def _all_arrived() -> Conflict:
    return Conflict("Nothing is left to send for this upload", "POST /api/v1/upload/multipart/complete answers the file")


def _sign_parts(ctx: Context, file: File, numbers: Sequence[int]) -> list[PartUrl]:
    assert file.part_size_bytes is not None
    assert file.upload_id is not None
    now, seconds, count = clock.now_ms(), ctx.config.storage.presign_expires_seconds, part_count(file)
    sizes = {count: file.size_bytes - (count - 1) * file.part_size_bytes}
    return [
        PartUrl(n, ctx.store.presign_part(file.key, file.upload_id, n, sizes.get(n, file.part_size_bytes), now, seconds)) for n in numbers
    ]


def _copy_verified(ctx: Context, file: File) -> str:
    """Look at what was uploaded and have the store copy exactly that to the final key. Returns the copy's ETag."""
    for _ in range(3):
        stored = _look_at(ctx, file.pending_key)
        _require_as_declared(ctx, file, stored)
        assert stored is not None
        try:
            return ctx.store.copy(
                file.pending_key, stored.etag, file.key, file.content_type, disposition(file.file_name, file.content_type)
            )
        except CopyRefused:
            continue
    raise Conflict("The uploaded object keeps changing while it is verified", "Upload once, then call complete")


def _look_at(ctx: Context, key: str) -> StoredObject | None:
    """Return what is in storage.

    Raises UploadNotVerified where we may not look, and leaves the upload as it is: permissions can be mended.
    """
    try:
        return ctx.store.look_at(key)
    except AccessDenied:
        raise UploadNotVerified(
            "The store answers 403 for the object: it is not there, or the appliance may not read it",
            "PUT the bytes first, then complete again; if that was done, give the appliance's credentials s3:GetObject",
        ) from None


def _require_as_declared(ctx: Context, file: File, stored: StoredObject | None) -> None:
    """Hold what the store has against what was declared; a difference ends the upload. Raises UploadNotVerified."""
    if stored is None:
        sent = "its parts are gone" if file.is_multipart else "the PUT to uploadUrl did not happen or did not succeed"
        message = f"The object is not in storage: {sent}"
    elif stored.size_bytes != file.size_bytes:
        message = f"The object in storage has {stored.size_bytes} bytes, {file.size_bytes} were declared"
    elif not same_type(stored.content_type, file.content_type):
        message = f"The object in storage has the type {stored.content_type!r}, {file.content_type!r} was declared"
    else:
        return
    _leave_uploading(file, "not_verified", message)
    with suppress(StorageUnavailable):  # the sweeper comes back to it
        tidy(ctx, File.get_by_id(file.id))
    raise UploadNotVerified(message, "Start again with POST /api/v1/upload/request")


def _parts_to_join(ctx: Context, file: File, upload_id: str, given: Sequence[tuple[int, str]] | None) -> list[tuple[int, str]] | None:
    """Return all parts (number, ETag) of a complete upload; None when the store knows no such upload. Raises InvalidParts."""
    wanted = range(1, part_count(file) + 1)
    if given is not None:
        numbers = [number for number, _ in given]
        if sorted(numbers) != list(wanted):
            raise InvalidParts(_parts_message(numbers, wanted))
    try:
        arrived = ctx.store.list_parts(file.key, upload_id)
    except AccessDenied:
        if given is None:
            raise
        return sorted(given)  # without ListMultipartUploadParts, the store itself has to check the ETags
    if arrived is None:
        return None
    if [part.number for part in arrived] != list(wanted):
        raise InvalidParts(_parts_message([part.number for part in arrived], wanted))
    etags = {part.number: part.etag for part in arrived}
    for number, etag in given or ():
        if etag.strip('"') != etags[number]:
            raise InvalidParts(f"Part {number} has another ETag in storage than the one given")
    return sorted(etags.items())


def _parts_message(numbers: Sequence[int], wanted: range) -> str:
    if twice := [number for number, count in Counter(numbers).items() if count > 1]:
        return f"Part {min(twice)} is listed twice"
    if missing := set(wanted) - set(numbers):
        return f"{len(missing)} of {len(wanted)} parts are missing, the first is part {min(missing)}"
    return f"This upload has parts 1 to {len(wanted)}, no others"


def _last_arrival(ctx: Context, key: str, upload_id: str) -> int:
    try:
        parts = ctx.store.list_parts(key, upload_id)
    except AccessDenied:
        return 0
    return max((part.arrived_at for part in parts or ()), default=0)


def _finish(file: File, etag: str, metadata: Mapping[str, Any], *, sweep_at: int | None) -> File:
    """UPLOADING → UPLOADED, with all that goes with it, in one transaction."""
    now = clock.now_ms()
    with write():
        present = File.get_by_id(file.id)
        merged = merged_metadata(present.metadata, metadata)
        done = (
            File.update(
                status="UPLOADED",
                etag=etag,
                metadata=merged,
                uploaded_at=now,
                updated_at=now,
                reserved_bytes=0,
                sweep_at=sweep_at,
                sweep_attempts=0,
            )
            .where(File.id == file.id, File.status == "UPLOADING")
            .execute()
        )
        if done:
            quotas.settle(present, now)
            present.metadata = merged
            events.record(present, "upload.completed", "UPLOADED")
    if not done:
        raise _ended(File.get_by_id(file.id))
    completed: File = File.get_by_id(file.id)
    return completed


def _leave_uploading(file: File, failure: str, message: str, deleted_by: str | None = None) -> None:
    """UPLOADING → FAILED; the sweeper takes it from there."""
    now = clock.now_ms()
    with write():
        failed = (
            File.update(status="FAILED", failure=failure, failure_message=message, updated_at=now, sweep_at=now)
            .where(File.id == file.id, File.status == "UPLOADING")
            .execute()
        )
        if failed:
            quotas.release_upload(file)
            events.record(file, _EVENT_OF_FAILURE[failure], "FAILED", message)
            if deleted_by is not None:
                audit.record(deleted_by, "deleted", "file", file.id, file.project_id, {"key": file.key, "status": "UPLOADING"})
