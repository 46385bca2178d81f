"""Answers of the documented API, `/api/v1`: the only place where camelCase goes out. Pure; knows no Flask."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from uploadkit.clock import to_iso
from uploadkit.errors import UploadKitError
from uploadkit.files import Page
from uploadkit.models import File
from uploadkit.uploads import MultipartSlot, UploadSlot

UrlOf = Callable[[File], str]
Json = dict[str, Any]


def error(failure: UploadKitError) -> Json:
    """The shape of every failure (api.md section 3)."""
    body: Json = {"code": failure.code, "message": failure.message}
    if failure.suggestion:
        body["suggestion"] = failure.suggestion
    if failure.details:
        body["details"] = {name: list(messages) for name, messages in failure.details.items()}
    return {"error": body}


def file(row: File, url_of: UrlOf) -> Json:
    """A file object (api.md section 6)."""
    return {
        "id": row.id,
        "key": row.key,
        "url": url_of(row),
        "fileName": row.file_name,
        "fileSize": row.size_bytes,
        "contentType": row.content_type,
        "status": row.status,
        "environment": row.environment,
        "routeSlug": row.route_slug,
        "etag": row.etag,
        "metadata": row.metadata,
        "createdAt": to_iso(row.created_at),
        "updatedAt": to_iso(row.updated_at),
        "uploadedAt": None if row.uploaded_at is None else to_iso(row.uploaded_at),
    }


def file_page(page: Page, url_of: UrlOf) -> Json:
    """A list of files (api.md section 5)."""
    return {"items": [file(row, url_of) for row in page.items], "nextCursor": page.next_cursor, "hasMore": page.next_cursor is not None}


def upload_requested(slot: UploadSlot, url_of: UrlOf) -> Json:
    """Answer of `POST /upload/request`."""
    return {
        "fileId": slot.file.id,
        "uploadUrl": slot.upload_url,
        "key": slot.file.key,
        "cdnUrl": url_of(slot.file),
        "expiresAt": to_iso(slot.file.expires_at),
        "headers": dict(slot.headers),
    }


def multipart_started(slot: MultipartSlot) -> Json:
    """Answer of `POST /upload/multipart/init`."""
    return {
        "fileId": slot.file.id,
        "uploadId": slot.file.upload_id,
        "key": slot.file.key,
        "partSize": slot.file.part_size_bytes,
        "parts": _part_urls(slot),
        "expiresAt": to_iso(slot.file.expires_at),
    }


def multipart_resumed(slot: MultipartSlot) -> Json:
    """Answer of `POST /upload/multipart/parts`."""
    return {
        "uploadId": slot.file.upload_id,
        "partSize": slot.file.part_size_bytes,
        "uploaded": [{"partNumber": part.number, "size": part.size_bytes, "etag": part.etag} for part in slot.arrived],
        "parts": _part_urls(slot),
        "expiresAt": to_iso(slot.file.expires_at),
    }


def _part_urls(slot: MultipartSlot) -> list[Json]:
    return [{"partNumber": part.number, "uploadUrl": part.upload_url} for part in slot.part_urls]
