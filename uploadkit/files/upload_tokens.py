"""Upload tokens: permission for one browser to upload some files by some file routes, without an API key.

The user's backend makes one with its key and vouches for its metadata. The plaintext exists once, in the answer that creates it; the
database keeps its SHA-256. A token dies with the key that made it, with the last of its file routes and with its project.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from uploadkit.auth.callers import Browser, Caller
from uploadkit.config import Config, tier_limits
from uploadkit.context import Context
from uploadkit.core import clock, tokens
from uploadkit.core.errors import Forbidden, NotFound, RateLimited, RouteNotFound, Unauthorized
from uploadkit.core.ids import new_id
from uploadkit.db import batches
from uploadkit.db.connection import write
from uploadkit.db.models import FileRoute, UploadToken
from uploadkit.files.naming import merged_metadata
from uploadkit.files.queries import upload_tokens as queries
from uploadkit.projects import file_routes

DEFAULT_SECONDS = 900
LONGEST_SECONDS = 86400
MOST_ROUTES = 20
# Uploads that were begun with a token may be finished after its end, for as long as its row is there; without any it goes soon.
KEPT_MS = 7 * clock.DAY_MS
KEPT_UNUSED_MS = clock.HOUR_MS
# More uploads than files may be begun with a token: people cancel, and choose the wrong file. But not for ever: each leaves rows.
_BEGUN_PER_FILE, _BEGUN_BESIDE, _MOST_COME_TO_NOTHING = 10, 20, 1_000
# So many failed single uploads, whose URLs may still store bytes, a token may have beside as many as it is for.
_MORE_FAILED = 4
_BATCH = 1_000
_NEW_TOKEN = "Have your backend make a new one: POST /api/v1/upload-tokens"  # noqa: S105


@dataclass(frozen=True)
class IssuedToken:
    """A new token with its plaintext, which is never to be seen again; `repr()` leaves it out."""

    token: UploadToken
    routes: Sequence[FileRoute]
    plaintext: str = field(repr=False)


def issue_token(
    config: Config,
    caller: Caller,
    route_slugs: Sequence[str],
    metadata: Mapping[str, Any],
    *,
    max_files: int | None = None,
    max_bytes: int | None = None,
    expires_seconds: int = DEFAULT_SECONDS,
) -> IssuedToken:
    """Make a token for the caller's project and environment, for 1 to `MOST_ROUTES` file routes, counted together.

    `max_files` None is the sum of the file routes' maxFileCount, `max_bytes` None no limit.
    Raises NotFound (file route), ValidationFailed (metadata over 8 KiB), RateLimited (too many tokens that have not ended).
    """
    plaintext = tokens.new_upload_token()
    now = clock.now_ms()
    with write():
        _require_few(config, caller)
        routes = [file_routes.find_file_route(caller.project_id, slug) for slug in dict.fromkeys(route_slugs)]
        columns = {
            "id": new_id(),
            "project": caller.project_id,
            "api_key": caller.api_key_id,
            "token_hash": tokens.hashed(plaintext),
            "environment": caller.environment,
            "metadata": merged_metadata({}, metadata),
            "max_files": max_files or sum(route.max_file_count for route in routes),
            "max_bytes": max_bytes,
            "expires_at": now + expires_seconds * 1000,
            "created_at": now,
        }
        token = queries.insert(routes, columns)
    return IssuedToken(token, routes, plaintext)


def _require_few(config: Config, caller: Caller) -> None:
    """Bound the tokens that are kept: those that have not ended, and those that wait to be purged."""
    most = config.limits.max_upload_tokens
    if most is not None and queries.count(caller.project_id) >= most:
        raise RateLimited(
            f"This project has {most} upload tokens that have not ended, or not long ago",
            "Make one token for several files, with a shorter expiresIn, or raise limits.max_upload_tokens in config.toml",
            retry_after_seconds=KEPT_UNUSED_MS // 1000,
        )


def revoke_token(caller: Caller, token_id: str) -> None:
    """End a token of the caller's project and environment: the very next request with it gets 401. Repeating it changes nothing.

    Raises NotFound.
    """
    with write():
        if not queries.revoke(token_id, caller.project_id, caller.environment, clock.now_ms()):
            raise NotFound(f"There is no upload token {token_id!r}", "Its id stands in the answer of POST /api/v1/upload-tokens")


def find_caller(config: Config, plaintext: str) -> Caller:
    """Return the browser behind a token, also one that has expired: it may finish what it began.

    Raises Unauthorized when the token is malformed, unknown, revoked or dead with its key, without saying which is the case.
    """
    found = queries.find(tokens.hashed(plaintext)) if tokens.has_form_of_upload_token(plaintext) else None
    if found is None:
        raise Unauthorized("The upload token is unknown or revoked", _NEW_TOKEN)
    slugs = queries.route_slugs(found.id)
    browser = Browser(
        slugs[0] if slugs else "",
        upload_token_id=found.id,
        api_key_id=found.api_key_id,
        expires_at=found.expires_at,
        max_files=found.max_files,
        metadata=found.metadata,
        route_slugs=slugs,
    )
    limits = tier_limits.limits_of(config, found.tier, found.limit_overrides)
    return Caller(browser, found.project_id, found.environment, "project", limits)


def by_route(caller: Caller, slug: str) -> Caller:
    """Return the browser behind a token as it asks for one of the token's file routes. Raises RouteNotFound."""
    assert caller.browser is not None
    if slug not in caller.browser.route_slugs:
        raise RouteNotFound(
            "This upload token is not for that file route, or there is none", "POST /api/v1/upload-tokens takes several routeSlugs"
        )
    return replace(caller, actor=replace(caller.browser, route_slug=slug))


def require_unexpired(browser: Browser) -> None:
    """Refuse a token whose time is over; without a token there is nothing to refuse. Raises Unauthorized."""
    if browser.expires_at is not None and browser.expires_at <= clock.now_ms():
        raise Unauthorized("The upload token has expired", _NEW_TOKEN)


def require_room(browser: Browser, size_bytes: int) -> None:
    """Refuse another file of `size_bytes` that the token does not let in, inside the transaction that inserts it.

    Else it is counted as begun.
    Raises Unauthorized (expired, or revoked in this moment), Forbidden (used up), RateLimited (too many were refused just now).
    """
    require_unexpired(browser)
    now, token_id = clock.now_ms(), browser.upload_token_id
    assert token_id is not None
    allowed = queries.allowed(token_id)
    if allowed is None:
        raise Unauthorized("The upload token is unknown or revoked", _NEW_TOKEN)
    max_files, max_bytes, begun = allowed
    files, size_of_files = queries.taken(token_id)
    failed, failed_until = queries.refused(token_id, now)
    if files >= max_files:
        raise Forbidden(f"The upload token is used up: it is for {max_files} file{'' if max_files == 1 else 's'}", _NEW_TOKEN)
    if max_bytes is not None and size_of_files + size_bytes > max_bytes:
        left = max_bytes - size_of_files
        raise Forbidden(f"The upload token is for {max_bytes} bytes; {left} are left, and this file has {size_bytes}", _NEW_TOKEN)
    most_begun = min(_BEGUN_PER_FILE * max_files, max_files + _MOST_COME_TO_NOTHING) + _BEGUN_BESIDE
    if begun >= most_begun:
        raise Forbidden(f"The upload token is used up: {begun} uploads were begun with it, the unfinished ones included", _NEW_TOKEN)
    if failed >= max_files + _MORE_FAILED:
        raise RateLimited(
            f"{failed} uploads with this token were aborted or refused, and their URLs are good still",
            _NEW_TOKEN,
            retry_after_seconds=-(-(failed_until - now) // 1000),
        )
    queries.count_begun(token_id)


def purge_expired(ctx: Context) -> int:
    """Remove tokens an hour after their end, a week after it while an upload is under way with them; return how many."""
    now = clock.now_ms()
    old = batches.change_all(partial(queries.purge, now - KEPT_MS), ctx.stopping, _BATCH)
    return old + batches.change_all(partial(queries.purge_unused, now - KEPT_UNUSED_MS), ctx.stopping, _BATCH)
