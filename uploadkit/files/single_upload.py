"""Uploads by one PUT: request it, then complete it.

No file becomes readable before its bytes have been looked at in the store. Rendering and parsing belong to `web/`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from uploadkit.auth.callers import Caller
from uploadkit.context import Context
from uploadkit.coordination.idempotency import Remember, forget
from uploadkit.core import clock
from uploadkit.core.errors import Conflict, FileTooLarge, UploadNotFound
from uploadkit.core.sizes import LARGEST_PUT_BYTES
from uploadkit.db.models import File
from uploadkit.files import admission, lifecycle, verification
from uploadkit.files.admission import UploadRequest as UploadRequest
from uploadkit.files.naming import disposition, merged_metadata
from uploadkit.objectstore.boto import RequestRefused
from uploadkit.objectstore.store import CopyRefused


@dataclass(frozen=True)
class UploadSlot:
    """Permission for one PUT: the URL, and the headers that must go with it."""

    file: File
    upload_url: str
    headers: Mapping[str, str]


def request_upload(ctx: Context, caller: Caller, request: UploadRequest, remember: Remember = forget) -> UploadSlot:
    """Reserve quota for one file and sign the PUT that brings it; `remember` gets its id in the same transaction.

    Raises NotFound (file route), FileTooLarge, FileTypeNotAllowed, TierLimitExceeded, StorageUnavailable.
    """
    if request.size_bytes > LARGEST_PUT_BYTES:
        raise FileTooLarge(
            f"File size {request.size_bytes} bytes exceeds the {LARGEST_PUT_BYTES} bytes that one PUT can carry",
            "Use multipart: POST /api/v1/upload/multipart/init",
        )
    file = admission.new_file(ctx, caller, request)
    slot = _sign(ctx, file, file.created_at)
    admission.insert(ctx, caller, file, remember)
    return slot


def request_again(ctx: Context, caller: Caller, file_id: str) -> UploadSlot:
    """Answer `request_upload` once more for the file it made then: the same file, a fresh URL, a new deadline.

    Raises UploadNotFound, UploadExpired, UploadNotVerified, and Conflict when the upload is complete.
    """
    with lifecycle.place_for(ctx, lifecycle.find(caller, file_id)), ctx.locks.held(file_id):
        file = lifecycle.find(caller, file_id)
        if file.status == "UPLOADED":
            raise Conflict("This upload is complete", "POST /api/v1/upload/complete answers the file")
        now = lifecycle.put_off_deadline(ctx, file)
    return _sign(ctx, file, now)


def _sign(ctx: Context, file: File, at_ms: int) -> UploadSlot:
    """A type that the client did not declare is not signed: whatever header its PUT has, or none, will do (docs/decisions/0015)."""
    declared = verification.declared_type(file) or None
    url = ctx.store.presign_put(file.pending_key, declared, file.size_bytes, at_ms, ctx.config.storage.presign_expires_seconds)
    length = {"Content-Length": str(file.size_bytes)}
    return UploadSlot(file, url, length if declared is None else {"Content-Type": declared, **length})


def complete_upload(ctx: Context, caller: Caller, file_id: str, metadata: Mapping[str, Any]) -> File:
    """Verify a single upload and make it a file: immutable, readable, counted. Repeating it answers the same file.

    Raises UploadNotFound, UploadNotVerified, UploadExpired, Conflict, StorageUnavailable.
    """
    file = lifecycle.find(caller, file_id)
    if file.is_multipart:
        raise UploadNotFound("This is a multipart upload", "POST /api/v1/upload/multipart/complete completes it")
    with lifecycle.place_for(ctx, file), ctx.locks.held(file_id):
        file = lifecycle.find(caller, file_id)  # whoever had the lock before may have completed it
        if file.status == "UPLOADED":
            return file
        if file.status != "UPLOADING":
            raise lifecycle.ended(file)
        merged_metadata(file.metadata, metadata)
        ctx.store.ensure_trusted()
        etag, content_type = _copy_verified(ctx, file)
        # The pending object is a second copy on the disk: the sweeper's next round takes it away, and looks again at the deadline.
        return lifecycle.finish(ctx, file, etag, content_type, metadata, sweep_at=clock.now_ms())


def abort_upload(ctx: Context, caller: Caller, file_id: str) -> None:
    """End a single upload: what it has in the store is gone, and its place is free. Repeating it is fine.

    The bytes it may have stay reserved until its deadline: its URL may still store them. Raises UploadNotFound, Conflict (it is complete),
    StorageUnavailable.
    """
    if lifecycle.find(caller, file_id).is_multipart:
        raise UploadNotFound("This is a multipart upload", "POST /api/v1/upload/multipart/abort ends it")
    lifecycle.abort(ctx, file_id)


def _copy_verified(ctx: Context, file: File) -> tuple[str, str]:
    """Look at what was uploaded and have the store copy exactly that to the final key. Returns the copy's ETag and its media type."""
    for _ in range(3):
        stored = verification.head(ctx, file.pending_key)
        content_type = lifecycle.require_as_declared(ctx, file, stored)
        assert stored is not None
        content_disposition = disposition(file.file_name, content_type)
        try:
            return ctx.store.copy(file.pending_key, stored, file.key, content_type, content_disposition), content_type
        except CopyRefused:
            continue
        except RequestRefused as error:
            if error.is_final:
                lifecycle.leave_uploading(ctx, file, "not_verified", error.message)
            raise
    raise Conflict("The uploaded object keeps changing while it is verified", "Upload once, then call complete")
