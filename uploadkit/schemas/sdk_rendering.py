"""Answers of the cloud-SDK door, `/sdk/api/v1`, as the official packages read them. Pure; knows no Flask.

Same things underneath as `documented.py`, under other names: files enveloped, errors with a `type`, some codes the cloud's own.
"""

from __future__ import annotations

from collections.abc import Sequence

from uploadkit.core.clock import to_iso
from uploadkit.core.errors import UploadKitError
from uploadkit.core.media_types import strict
from uploadkit.db.models import File, Project
from uploadkit.db.paging import Page
from uploadkit.files.multipart_upload import MultipartSlot
from uploadkit.files.service import Deletion
from uploadkit.files.single_upload import UploadSlot
from uploadkit.schemas import uploads as documented
from uploadkit.schemas.uploads import Json, UrlOf

_RENAMED: dict[str, tuple[str, int]] = {
    "FILE_TYPE_NOT_ALLOWED": ("INVALID_FILE_TYPE", 400),
    "FILE_TOO_LARGE": ("TIER_LIMIT_EXCEEDED", 403),
    "UPLOAD_NOT_VERIFIED": ("FILE_NOT_IN_STORAGE", 422),
    "UPLOAD_NOT_FOUND": ("NOT_FOUND", 404),
    "INTERNAL_SERVER_ERROR": ("INTERNAL_ERROR", 500),
}
_TYPES = {401: "authentication_error", 429: "rate_limit_error"}


def code(failure: UploadKitError) -> str:
    """The cloud's own code for a failure."""
    return _RENAMED.get(failure.code, (failure.code, 0))[0]


def error(failure: UploadKitError) -> tuple[Json, int]:
    """The shape of every failure at this door, and its HTTP status."""
    code, status = _RENAMED.get(failure.code, (failure.code, failure.status))
    body = documented.error(failure)
    body["error"] |= {"code": code, "type": _TYPES.get(status, "invalid_request" if status < 500 else "api_error")}
    return body, status


def file(row: File, url_of: UrlOf) -> Json:
    """A file object."""
    return {
        "id": row.id,
        "_id": row.id,
        "key": row.key,
        "name": row.file_name,
        "size": row.size_bytes,
        "type": strict(row.content_type),
        "url": url_of(row),
        "status": row.status,
        "metadata": row.metadata,
        "createdAt": to_iso(row.created_at),
        "updatedAt": to_iso(row.updated_at),
    }


def one_file(row: File, url_of: UrlOf) -> Json:
    """A file object in its envelope."""
    return {"file": file(row, url_of)}


def file_page(page: Page[File], url_of: UrlOf) -> Json:
    """Answer of `GET /files`."""
    return {
        "files": [file(row, url_of) for row in page.items],
        "nextCursor": page.next_cursor,
        "hasMore": page.next_cursor is not None,
    }


def deletion(done: Deletion) -> Json:
    """Answer of `DELETE /files`, its codes in the words of this door."""
    body = documented.deletion(done)
    body["failures"] = [_deletion_failure(key, failure) for key, failure in done.failures.items()]
    if "error" in body:
        body["error"]["type"] = "invalid_request"
    return body


def _deletion_failure(key: str, failure: UploadKitError) -> Json:
    told = error(failure)[0]["error"]
    return {"key": key, "code": told["code"], "message": told["message"]}


def upload_requested(slot: UploadSlot, url_of: UrlOf) -> Json:
    """Answer of `POST /upload/request`."""
    return {"fileId": slot.file.id, "uploadUrl": slot.upload_url, "key": slot.file.key, "cdnUrl": url_of(slot.file)}


def multipart_started(slot: MultipartSlot) -> Json:
    """Answer of `POST /upload/multipart/init`."""
    parts: Sequence[Json] = [{"partNumber": part.number, "uploadUrl": part.upload_url} for part in slot.part_urls]
    return {"fileId": slot.file.id, "uploadId": slot.file.upload_id, "key": slot.file.key, "parts": parts}


def own_project(row: Project) -> Json:
    """Answer of `GET /projects/me`."""
    return {"project": {"_id": row.id, "id": row.id, "name": row.name, "slug": row.slug, "tier": row.tier}, "tier": row.tier}
