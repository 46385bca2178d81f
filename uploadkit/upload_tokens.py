"""Upload tokens: permission for one browser to upload some files by one file route, without an API key (api.md section 10).

The user's backend makes one with its key and vouches for its metadata. The plaintext exists once, in the answer that creates it; the
database keeps its SHA-256. A token dies with the key that made it, with its file route and with its project.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from uploadkit import clock, file_routes
from uploadkit.access import Browser, Caller
from uploadkit.content import merged_metadata
from uploadkit.context import Context
from uploadkit.db import execute, new_id, write
from uploadkit.errors import Forbidden, NotFound, RouteNotFound, Unauthorized
from uploadkit.models import FileRoute, UploadToken

DEFAULT_SECONDS = 900
LONGEST_SECONDS = 86400
# Uploads that were begun with a token may be finished after its end, for as long as its row is there.
KEPT_MS = 7 * 86400_000
_BATCH = 1_000
_NEW_TOKEN = "Have your backend make a new one: POST /api/v1/upload-tokens"  # noqa: S105
_FORM = re.compile(r"ukt_[A-Za-z0-9_-]{32}")
_FIND = """
SELECT t.id, t.project_id, t.api_key_id, t.environment, t.metadata, t.max_files, t.expires_at, r.slug, p.tier, p.limit_overrides
  FROM upload_token t
  JOIN api_key k ON k.id = t.api_key_id
  JOIN file_route r ON r.id = t.file_route_id
  JOIN project p ON p.id = t.project_id
 WHERE t.token_hash = ? AND t.revoked_at IS NULL AND k.revoked_at IS NULL AND p.deleted_at IS NULL
"""
# A failed single upload counts until its deadline: so long its URL could still store the bytes.
_USED = """
SELECT t.max_files, t.max_bytes, count(f.id), coalesce(sum(f.size_bytes), 0)
  FROM upload_token t LEFT JOIN file f ON f.upload_token_id = t.id
   AND (f.status <> 'FAILED' OR (f.part_size_bytes IS NULL AND f.deadline_at > ?))
 WHERE t.id = ? AND t.revoked_at IS NULL GROUP BY t.id
"""
_PURGE = "DELETE FROM upload_token WHERE id IN (SELECT id FROM upload_token WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)"


@dataclass(frozen=True)
class IssuedToken:
    """A new token with its plaintext, which is never to be seen again; `repr()` leaves it out."""

    token: UploadToken
    route: FileRoute
    plaintext: str = field(repr=False)


def issue_token(
    caller: Caller,
    route_slug: str,
    metadata: Mapping[str, Any],
    *,
    max_files: int | None = None,
    max_bytes: int | None = None,
    expires_seconds: int = DEFAULT_SECONDS,
) -> IssuedToken:
    """Make a token for the caller's project and environment; `max_files` None is the file route's maxFileCount, `max_bytes` None no limit.

    Raises NotFound (file route), ValidationFailed (metadata over 8 KiB).
    """
    plaintext = f"ukt_{secrets.token_urlsafe(24)}"
    now = clock.now_ms()
    with write():
        route = file_routes.find_file_route(caller.project_id, route_slug)
        token = UploadToken.create(
            id=new_id(),
            project=caller.project_id,
            api_key=caller.key_id,
            file_route=route,
            token_hash=_hash(plaintext),
            environment=caller.environment,
            metadata=merged_metadata({}, metadata),
            max_files=max_files or route.max_file_count,
            max_bytes=max_bytes,
            expires_at=now + expires_seconds * 1000,
            created_at=now,
        )
    return IssuedToken(token, route, plaintext)


def revoke_token(caller: Caller, token_id: str) -> None:
    """End a token of the caller's project and environment: the very next request with it gets 401. Repeating it changes nothing.

    Raises NotFound.
    """
    with write():
        own = (UploadToken.id == token_id, UploadToken.project == caller.project_id, UploadToken.environment == caller.environment)
        if not UploadToken.select().where(*own).exists():
            raise NotFound(f"There is no upload token {token_id!r}", "Its id stands in the answer of POST /api/v1/upload-tokens")
        UploadToken.update(revoked_at=clock.now_ms()).where(*own, UploadToken.revoked_at.is_null()).execute()


def find_caller(plaintext: str) -> Caller:
    """Return the browser behind a token, also one that has expired: it may finish what it began.

    Raises Unauthorized when the token is malformed, unknown, revoked or dead with its key, without saying which is the case.
    """
    row = execute(_FIND, (_hash(plaintext),)).fetchone() if _FORM.fullmatch(plaintext) else None
    if row is None:
        raise Unauthorized("The upload token is unknown or revoked", _NEW_TOKEN)
    token_id, project_id, key_id, environment, metadata, max_files, expires_at, slug, tier, overrides = row
    browser = Browser(slug, token_id, expires_at, max_files, json.loads(metadata))
    return Caller(key_id, project_id, environment, "project", tier, json.loads(overrides), browser)


def require_route(browser: Browser, slug: str) -> None:
    """Hold the file route that is asked for against the token's. Raises RouteNotFound."""
    if browser.route_slug != slug:
        raise RouteNotFound("This upload token is not for that file route, or there is none")


def require_unexpired(browser: Browser) -> None:
    """Refuse a token whose time is over; without a token there is nothing to refuse. Raises Unauthorized."""
    if browser.expires_at is not None and browser.expires_at <= clock.now_ms():
        raise Unauthorized("The upload token has expired", _NEW_TOKEN)


def require_room(browser: Browser, size_bytes: int) -> None:
    """Refuse another file of `size_bytes` that the token does not let in, inside the transaction that inserts it.

    Raises Unauthorized (expired, or revoked in this moment), Forbidden (used up).
    """
    require_unexpired(browser)
    row = execute(_USED, (clock.now_ms(), browser.upload_token_id)).fetchone()
    if row is None:
        raise Unauthorized("The upload token is unknown or revoked", _NEW_TOKEN)
    max_files, max_bytes, files, size_of_files = row
    if files >= max_files:
        raise Forbidden(f"The upload token is used up: it is for {max_files} file{'' if max_files == 1 else 's'}", _NEW_TOKEN)
    if max_bytes is not None and size_of_files + size_bytes > max_bytes:
        left = max_bytes - size_of_files
        raise Forbidden(f"The upload token is for {max_bytes} bytes; {left} are left, and this file has {size_bytes}", _NEW_TOKEN)


def purge_expired(ctx: Context) -> int:
    """Remove tokens a week after their end, in short transactions; return how many."""
    removed, count = 0, _BATCH
    while count == _BATCH and not ctx.stopping.is_set():
        with write():
            count = execute(_PURGE, (clock.now_ms() - KEPT_MS, _BATCH)).rowcount
        removed += count
    return removed


def _hash(plaintext: str) -> str:
    """SHA-256 is enough: a token is 192 random bits, not a password."""
    return hashlib.sha256(plaintext.encode()).hexdigest()
