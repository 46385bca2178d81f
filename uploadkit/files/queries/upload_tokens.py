"""Rows of `upload_token`, and what was uploaded with them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from uploadkit.auth.callers import Environment
from uploadkit.db.connection import execute
from uploadkit.db.models import FileRoute, UploadToken, UploadTokenRoute

_FIND = """
SELECT t.id, t.project_id, t.api_key_id, t.environment, t.metadata, t.max_files, t.expires_at, p.tier, p.limit_overrides
  FROM upload_token t
  JOIN api_key k ON k.id = t.api_key_id
  JOIN project p ON p.id = t.project_id
 WHERE t.token_hash = ? AND t.revoked_at IS NULL AND k.revoked_at IS NULL AND p.deleted_at IS NULL
"""
_SLUGS = """
SELECT r.slug FROM upload_token_route t JOIN file_route r ON r.id = t.file_route_id WHERE t.upload_token_id = ? ORDER BY t.place
"""
_ALLOWED = """
SELECT max_files, max_bytes, uploads_begun FROM upload_token WHERE id = ? AND revoked_at IS NULL
"""
# What was cancelled or refused takes no place. The bytes that its URL may still store stay reserved in the project's quota.
_TAKEN = """
SELECT count(*), coalesce(sum(size_bytes), 0) FROM file INDEXED BY file_taken_by_token
 WHERE upload_token_id = :token AND (status = 'UPLOADING' OR uploaded_at IS NOT NULL)
"""
_REFUSED = """
SELECT count(*), min(deadline_at) FROM file INDEXED BY file_refused_by_token
 WHERE upload_token_id = :token AND status = 'FAILED' AND part_size_bytes IS NULL AND deadline_at > :now
"""
_PURGE = "DELETE FROM upload_token WHERE id IN (SELECT id FROM upload_token WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)"
_PURGE_UNUSED = """
DELETE FROM upload_token WHERE id IN (
  SELECT id FROM upload_token t WHERE expires_at <= ?
     AND NOT EXISTS (SELECT 1 FROM file WHERE upload_token_id = t.id AND status = 'UPLOADING') ORDER BY expires_at LIMIT ?)
"""


class Found(NamedTuple):
    """A token that holds, with what its project is allowed."""

    id: str
    project_id: str
    api_key_id: str
    environment: Environment
    metadata: dict[str, Any]
    max_files: int
    expires_at: int
    tier: str
    limit_overrides: dict[str, Any]


class Allowed(NamedTuple):
    """How many files and bytes (None: any number) a token is for, and how many uploads were begun with it."""

    max_files: int
    max_bytes: int | None
    begun: int


def insert(routes: Sequence[FileRoute], columns: Mapping[str, Any]) -> UploadToken:
    """Insert a token with `columns`, for `routes` in this order, in the caller's write transaction, and return it."""
    token: UploadToken = UploadToken.create(**columns)
    for place, route in enumerate(routes):
        UploadTokenRoute.create(upload_token=token, file_route=route, place=place)
    return token


def count(project_id: str) -> int:
    """Return how many tokens a project has, those that have ended and are not purged included."""
    return int(UploadToken.select().where(UploadToken.project == project_id).count())


def find(token_hash: str) -> Found | None:
    """Return the token with this hash, unless it is revoked, or its key, or its project deleted. It may have expired."""
    row = execute(_FIND, (token_hash,)).fetchone()
    if row is None:
        return None
    token_id, project_id, key_id, environment, metadata, max_files, expires_at, tier, overrides = row
    return Found(token_id, project_id, key_id, environment, json.loads(metadata), max_files, expires_at, tier, json.loads(overrides))


def route_slugs(token_id: str) -> tuple[str, ...]:
    """Return the slugs of the file routes that a token is for, those that are deleted left out."""
    return tuple(slug for (slug,) in execute(_SLUGS, (token_id,)).fetchall())


def revoke(token_id: str, project_id: str, environment: str, now_ms: int) -> bool:
    """Revoke a token of this project and environment, if it is not yet; return whether there is one."""
    own = (UploadToken.id == token_id, UploadToken.project == project_id, UploadToken.environment == environment)
    if not UploadToken.select().where(*own).exists():
        return False
    UploadToken.update(revoked_at=now_ms).where(*own, UploadToken.revoked_at.is_null()).execute()
    return True


def allowed(token_id: str) -> Allowed | None:
    """Return what a token lets in, unless it is revoked or gone."""
    row = execute(_ALLOWED, (token_id,)).fetchone()
    return None if row is None else Allowed(*row)


def taken(token_id: str) -> tuple[int, int]:
    """Return how many uploads with a token are under way or were completed, and their bytes."""
    files, size_bytes = execute(_TAKEN, {"token": token_id}).fetchone()
    return files, size_bytes


def refused(token_id: str, now_ms: int) -> tuple[int, int]:
    """Return how many single uploads with a token failed whose URLs may still store bytes, and when the first of these ends (0: none)."""
    uploads, first_ends_at = execute(_REFUSED, {"token": token_id, "now": now_ms}).fetchone()
    return uploads, first_ends_at or 0


def count_begun(token_id: str) -> None:
    """Count one more upload that was begun with a token."""
    execute("UPDATE upload_token SET uploads_begun = uploads_begun + 1 WHERE id = ?", (token_id,))


def purge(ended_by_ms: int, most: int) -> int:
    """Delete up to `most` tokens that had ended at `ended_by_ms`, the oldest first; return how many."""
    return execute(_PURGE, (ended_by_ms, most)).rowcount


def purge_unused(ended_by_ms: int, most: int) -> int:
    """Do as `purge` does, to those that no upload under way was begun with."""
    return execute(_PURGE_UNUSED, (ended_by_ms, most)).rowcount
