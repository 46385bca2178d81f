"""Answers of the documented API, `/api/v1`: with `documented_webhooks.py` the only place where camelCase goes out. Pure; knows no Flask."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from pydantic.alias_generators import to_camel

from uploadkit.auth.api_keys import IssuedKey
from uploadkit.config import TierConfig
from uploadkit.core.clock import to_iso
from uploadkit.core.errors import NotFound, UploadKitError
from uploadkit.core.media_types import strict
from uploadkit.db.models import ApiKey, Event, File, FileRoute, Project
from uploadkit.db.paging import Page
from uploadkit.files.links import Link
from uploadkit.files.multipart_upload import MultipartSlot
from uploadkit.files.service import Deletion
from uploadkit.files.single_upload import UploadSlot
from uploadkit.files.upload_tokens import IssuedToken
from uploadkit.projects import usage
from uploadkit.projects.service import UNLIMITED

UrlOf = Callable[[File], str]
Json = dict[str, Any]
Row = TypeVar("Row")


def error(failure: UploadKitError) -> Json:
    """The shape of every failure."""
    body: Json = {"code": failure.code, "message": failure.message}
    if failure.suggestion:
        body["suggestion"] = failure.suggestion
    if failure.details:
        body["details"] = {name: list(messages) for name, messages in failure.details.items()}
    return {"error": body}


def file(row: File, url_of: UrlOf) -> Json:
    """A file object."""
    return {
        "id": row.id,
        "key": row.key,
        "url": url_of(row),
        "fileName": row.file_name,
        "fileSize": row.size_bytes,
        "contentType": strict(row.content_type),
        "status": row.status,
        "environment": row.environment,
        "routeSlug": row.route_slug,
        "etag": row.etag,
        "metadata": row.metadata,
        "clientMetadata": row.client_metadata,
        "createdAt": to_iso(row.created_at),
        "updatedAt": to_iso(row.updated_at),
        "uploadedAt": None if row.uploaded_at is None else to_iso(row.uploaded_at),
    }


def page_of(page: Page[Row], render: Callable[[Row], Json]) -> Json:
    """A list of anything."""
    return {"items": [render(row) for row in page.items], "nextCursor": page.next_cursor, "hasMore": page.next_cursor is not None}


def file_page(page: Page[File], url_of: UrlOf) -> Json:
    """A list of files."""
    return page_of(page, lambda row: file(row, url_of))


def deletion(done: Deletion) -> Json:
    """Answer of `DELETE /files`."""
    failures = [{"key": key, "code": failure.code, "message": failure.message} for key, failure in done.failures.items()]
    body: Json = {"deleted": done.deleted, "failed": len(failures), "failures": failures, "reclaimedBytes": done.reclaimed_bytes}
    if done.deleted == 0:
        body |= error(NotFound("None of these files could be deleted", "failures says why, key by key"))
    return body


def deletion_status(done: Deletion) -> int:
    """The HTTP status that goes with it: all, some or none were deleted."""
    if not done.failures:
        return 200
    return 207 if done.deleted else 404


def link(made: Link) -> Json:
    """Answer of `POST /files/{key}/link`."""
    return {"url": made.url, "expiresAt": to_iso(made.expires_at)}


def limits(of_tier: TierConfig) -> Json:
    """What applies to a project now; null is unlimited. Sizes are in bytes."""
    return {
        "requestsPerMinute": of_tier.requests_per_minute,
        "maxKeys": of_tier.max_keys,
        "maxFileSize": of_tier.max_file_size,
        "maxStorage": of_tier.max_storage,
        "maxUploadsPerMonth": of_tier.max_uploads_per_month,
    }


def project(row: Project, applying: TierConfig) -> Json:
    """A project. `limitOverrides` is in the words of PATCH, so that what was read can be written back."""
    return {
        "id": row.id,
        "name": row.name,
        "slug": row.slug,
        "tier": row.tier,
        "limits": limits(applying),
        "limitOverrides": {to_camel(name): UNLIMITED if value is None else value for name, value in row.limit_overrides.items()},
        "retentionDays": row.retention_days,
        "createdAt": to_iso(row.created_at),
        "updatedAt": to_iso(row.updated_at),
    }


def api_key(row: ApiKey) -> Json:
    """An API key, masked."""
    return {
        "id": row.id,
        "projectId": row.project_id,
        "name": row.name,
        "maskedKey": row.masked_key,
        "environment": row.environment,
        "access": row.access,
        "createdAt": to_iso(row.created_at),
        "lastUsedAt": None if row.last_used_at is None else to_iso(row.last_used_at),
        "revokedAt": None if row.revoked_at is None else to_iso(row.revoked_at),
    }


def issued_key(issued: IssuedKey) -> Json:
    """A new API key: the only answer that holds its plaintext."""
    return {**api_key(issued.key), "key": issued.plaintext}


def file_route(row: FileRoute, base_url: str) -> Json:
    """A file route."""
    return {
        "id": row.id,
        "projectId": row.project_id,
        "slug": row.slug,
        "maxFileSize": row.max_file_size_bytes,
        "maxFileCount": row.max_file_count,
        "allowedTypes": row.allowed_types,
        "visibility": row.visibility,
        "webhookUrl": row.webhook_url,
        "webhookEvents": row.webhook_events,
        "verifyContent": row.verify_content,
        "anonymousUploads": row.anonymous_uploads,
        "allowedOrigins": row.allowed_origins,
        "anonymousEndpoint": f"{base_url}/api/uploadkit/p/{row.project_id}" if row.anonymous_uploads else None,
        "createdAt": to_iso(row.created_at),
        "updatedAt": to_iso(row.updated_at),
    }


def issued_token(issued: IssuedToken, base_url: str) -> Json:
    """A new upload token: the only answer that holds its plaintext."""
    return {
        "id": issued.token.id,
        "token": issued.plaintext,
        "endpoint": f"{base_url}/api/uploadkit/t/{issued.plaintext}",
        "routeSlug": issued.routes[0].slug,
        "routeSlugs": [route.slug for route in issued.routes],
        "environment": issued.token.environment,
        "maxFiles": issued.token.max_files,
        "maxBytes": issued.token.max_bytes,
        "expiresAt": to_iso(issued.token.expires_at),
    }


def upload_rules(route: FileRoute, of_tier: TierConfig, max_files: int | None) -> Json:
    """What a browser may upload: the file route's rules, within the tier's and those of its upload token. A size of null is any."""
    sizes = [size for size in (route.max_file_size_bytes, of_tier.max_file_size) if size is not None]
    return {
        "maxFileSize": min(sizes, default=None),
        "maxFileCount": min(route.max_file_count, max_files or route.max_file_count),
        "allowedTypes": route.allowed_types,
        "verifyContent": route.verify_content,
    }


def usage_now(now: usage.Now) -> Json:
    """Answer of `GET /usage`."""
    return {
        "period": now.period,
        "storageUsed": now.storage_used_bytes,
        "storageReserved": now.storage_reserved_bytes,
        "uploads": now.uploads,
        "limits": limits(now.limits),
    }


def usage_month(month: usage.Month) -> Json:
    """One item of `GET /usage/history`."""
    return {
        "period": month.period,
        "uploads": month.uploads,
        "bytesUploaded": month.bytes_uploaded,
        "bytesDeleted": month.bytes_deleted,
    }


def log_entry(row: Event) -> Json:
    """One item of `GET /logs`."""
    return {
        "id": row.id,
        "at": to_iso(row.at),
        "event": row.event,
        "fileId": row.file_id,
        "key": row.key,
        "fileName": row.file_name,
        "routeSlug": row.route_slug,
        "environment": row.environment,
        "status": row.status,
        "detail": row.detail,
        "metadata": row.metadata,
    }


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
