"""Uploads in parts: begin, resume, complete, abort.

Parts go to the final key directly: once the store has put them together, their URLs are dead. Rendering and parsing belong to `web/`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from uploadkit.auth.callers import Caller
from uploadkit.context import Context
from uploadkit.coordination.idempotency import Remember, forget
from uploadkit.core import clock
from uploadkit.core.errors import Conflict, FileTooLarge, FileTooSmallForMultipart, InvalidParts, StorageUnavailable, UploadNotFound
from uploadkit.core.etags import plain_etag, same_etag
from uploadkit.core.sizes import LARGEST_OBJECT_BYTES, LARGEST_PUT_BYTES, MIB
from uploadkit.db.connection import write
from uploadkit.db.models import File
from uploadkit.files import admission, lifecycle, verification
from uploadkit.files.admission import UploadRequest
from uploadkit.files.naming import disposition, merged_metadata
from uploadkit.files.queries import uploads as queries
from uploadkit.objectstore.boto import AccessDenied
from uploadkit.objectstore.objects import StoredPart

MULTIPART_ABOVE_BYTES = 10 * MIB
SMALLEST_PART_BYTES = 5 * MIB
COMFORTABLE_PARTS = 1_000
MOST_PARTS = 10_000  # S3's limit


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


def start_multipart(
    ctx: Context, caller: Caller, request: UploadRequest, remember: Remember = forget, *, part_size_bytes: int | None = None
) -> MultipartSlot:
    """Reserve quota for a file over 10 MiB, begin its multipart upload at the store, and sign all its parts.

    All parts but the last have `part_size_bytes`; what `part_size` says, unless the client insists on its own.
    `remember` gets the file's id in the transaction that ends the beginning, so that half a beginning is never answered again.
    Raises as `request_upload` does, and FileTooSmallForMultipart.
    """
    if request.size_bytes <= MULTIPART_ABOVE_BYTES:
        raise FileTooSmallForMultipart(f"Multipart is for files over {MULTIPART_ABOVE_BYTES} bytes; this one has {request.size_bytes}")
    if request.size_bytes > LARGEST_OBJECT_BYTES:
        raise FileTooLarge(f"File size {request.size_bytes} bytes exceeds the {LARGEST_OBJECT_BYTES} bytes that an object can have")
    file = admission.new_file(ctx, caller, request)
    file.part_size_bytes = part_size_bytes or part_size(request.size_bytes)
    if part_count(file) > MOST_PARTS:
        raise FileTooLarge(
            f"File size {request.size_bytes} bytes would need more than {MOST_PARTS} parts of {file.part_size_bytes} bytes",
            "POST /api/v1/upload/multipart/init chooses larger parts",
        )
    admission.insert(ctx, caller, file, forget)
    try:
        with lifecycle.place_for(ctx, file):
            content_disposition = disposition(file.file_name, file.content_type)
            file.upload_id = ctx.store.create_multipart(file.key, file.content_type, content_disposition)
    except StorageUnavailable:
        lifecycle.leave_uploading(ctx, file, "aborted", "The store could not begin the upload")
        raise
    with write():
        saved = queries.keep_upload_id(file.id, file.upload_id)
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
    with lifecycle.place_for(ctx, lifecycle.find(caller, file_id)), ctx.locks.held(file_id):
        file = lifecycle.find(caller, file_id)
        if file.status == "UPLOADED":
            raise _all_arrived()
        lifecycle.put_off_deadline(ctx, file)
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
        raise lifecycle.ended(file)
    count = part_count(file)
    if wrong := sorted({number for number in numbers or () if not 1 <= number <= count}):
        raise InvalidParts(f"This upload has parts 1 to {count}; there is no part {wrong[0]}")
    with lifecycle.place_for(ctx, file):
        arrived = ctx.store.list_parts(file.key, upload_id)
        if arrived is None:
            raise _all_arrived()
        with ctx.locks.held(file_id):  # so that the sweeper, which may be looking at this very row, goes by the new deadline
            lifecycle.put_off_deadline(ctx, file)
    certain = [part for part in arrived if not part.rivals]  # the others have to be sent once more
    there = {part.number for part in certain}
    wanted = sorted(set(numbers)) if numbers is not None else [n for n in range(1, count + 1) if n not in there]
    return MultipartSlot(file, _sign_parts(ctx, file, wanted), certain)


def complete_multipart(
    ctx: Context, caller: Caller, file_id: str, upload_id: str, parts: Sequence[tuple[int, str]] | None, metadata: Mapping[str, Any]
) -> File:
    """Have the store put the parts together, verify the object, and make it a file. Repeating it answers the same file.

    `parts` (number, ETag in any spelling) may be left out; then the store's own list counts. Once the store is asked, `metadata` is
    kept, and the sweeper sees it through if nobody else does (docs/decisions/0029-joined-and-not-looked-at.md).
    Raises UploadNotFound, InvalidParts, UploadNotVerified, UploadExpired, Conflict, StorageUnavailable.
    """
    with lifecycle.place_for(ctx, _find_multipart(caller, file_id, upload_id)), ctx.locks.held(file_id):
        file = _find_multipart(caller, file_id, upload_id)
        if file.status == "UPLOADED":
            return file
        if file.status != "UPLOADING":
            raise lifecycle.ended(file)
        merged_metadata(file.metadata, metadata)
        ctx.store.ensure_trusted()
        listed = _parts_to_join(ctx, file, upload_id, parts)
        if listed is not None:
            lifecycle.expect_joined(file, metadata)
            ctx.store.complete_multipart(file.key, upload_id, file.size_bytes, listed)
        # When the store knows no such upload, it may have put the parts together before a crash took the answer.
        return lifecycle.finish_joined(ctx, file, verification.head(ctx, file.key), metadata)


def abort_multipart(ctx: Context, caller: Caller, file_id: str, upload_id: str) -> None:
    """End a multipart upload: its parts are gone and its quota is free. Repeating it is fine.

    Raises UploadNotFound, Conflict, StorageUnavailable.
    """
    _find_multipart(caller, file_id, upload_id)
    lifecycle.abort(ctx, file_id)


def part_size(size_bytes: int) -> int:
    """Return the bytes of every part but the last: 5 MiB while that gives at most 1,000 parts, then the smallest whole MiB that does.

    Never more than the 5 GiB that S3 takes in a part: over 4.88 TiB there are a few more parts than 1,000.
    """
    smallest_whole_mib = -(-size_bytes // (COMFORTABLE_PARTS * MIB)) * MIB
    return min(max(SMALLEST_PART_BYTES, smallest_whole_mib), LARGEST_PUT_BYTES)


def part_count(file: File) -> int:
    """Return how many parts a multipart upload has."""
    assert file.part_size_bytes is not None
    return int(-(-file.size_bytes // file.part_size_bytes))


def _find_multipart(caller: Caller, file_id: str, upload_id: str) -> File:
    file = lifecycle.find(caller, file_id)
    if file.upload_id != upload_id:
        raise UploadNotFound(f"There is no multipart upload {file_id!r} with that uploadId")
    return file


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
        # Without ListMultipartUploadParts, the store itself has to check the ETags.
        return sorted((number, plain_etag(etag)) for number, etag in given)
    if arrived is None:
        return None
    if [part.number for part in arrived] != list(wanted):
        raise InvalidParts(_parts_message([part.number for part in arrived], wanted))
    named = dict(given or ())
    return [(part.number, etag_to_join(part, named.get(part.number))) for part in arrived]


def etag_to_join(part: StoredPart, given: str | None) -> str:
    """Return the ETag, as the store has it, of the content that counts for a part: what was put last, which the client may have to say.

    `given` may be in any spelling. One of the store's form that differs names other content. One of another form was made by somebody
    on the way, a proxy say, and tells nothing of the content: then the store's own list counts, if that is sure. Raises InvalidParts.
    """
    etag = plain_etag(given or "")
    for known in (part.etag, *part.rivals):
        if same_etag(etag, known):
            return known
    if len(etag) == len(part.etag):
        raise InvalidParts(
            f"Part {part.number} has another ETag in storage than the one given",
            "Send that part once more, or leave `parts` out: then what is in storage counts",
        )
    if part.rivals:
        raise InvalidParts(
            f"Part {part.number} was sent more than once in the same second with different content; which came last is not known",
            "Send that part once more, or name the ETag of each part in `parts`",
        )
    return part.etag


def _parts_message(numbers: Sequence[int], wanted: range) -> str:
    if twice := [number for number, count in Counter(numbers).items() if count > 1]:
        return f"Part {min(twice)} is listed twice"
    if missing := set(wanted) - set(numbers):
        return f"{len(missing)} of {len(wanted)} parts are missing, the first is part {min(missing)}"
    return f"This upload has parts 1 to {len(wanted)}, no others"
