"""Uploads without key and token, for file routes that allow them: who is let in, and how much may be under way (api.md section 10).

`Origin` stops browsers on other sites, not programs. So what anonymous uploads hold before they are complete is bounded: per address,
and for all together by a share of the project's limits. Requests without uploads can't keep those with keys or tokens from uploading.
"""

from __future__ import annotations

from uploadkit import clock, tiers
from uploadkit.access import Browser, Caller
from uploadkit.config import Config
from uploadkit.db import execute
from uploadkit.errors import FileTooLarge, Forbidden, RateLimited, RouteNotFound, TierLimitExceeded
from uploadkit.models import FileRoute, Project

_PENDING = """
SELECT count(*), coalesce(sum(reserved_bytes), 0) FROM file
 WHERE project_id = ? AND client_network IS NOT NULL AND reserved_bytes > 0
"""
_PENDING_OF_ONE = """
SELECT reserved_bytes, deadline_at FROM file
 WHERE project_id = ? AND client_network = ? AND client_network IS NOT NULL AND reserved_bytes > 0 ORDER BY deadline_at
"""


def find_caller(slug: str, origin: str | None, network: str) -> Caller:
    """Return the browser on a page of `origin` at the address `network`, for the project whose file route `slug` lets that origin in.

    Raises RouteNotFound (no anonymous file route has that slug), Forbidden (none of those lets this origin in).
    """
    routes = _anonymous_routes(slug)
    if not routes:
        raise RouteNotFound(
            "There is no such file route for anonymous uploads", "Set anonymousUploads on it, or put an upload token into the endpoint"
        )
    for route in routes:
        if origin in route.allowed_origins:
            project = route.project
            browser = Browser(route.slug, network=network)
            return Caller("", project.id, "live", "project", project.tier, project.limit_overrides, browser)
    raise Forbidden(
        f"Pages of {origin or 'an unknown origin'} may not upload here",
        "Add the page's origin, exactly as browsers send it, to allowedOrigins of the file route",
    )


def allows(slug: str, origin: str) -> bool:
    """Say whether an anonymous file route `slug` lets pages of `origin` in."""
    return any(origin in route.allowed_origins for route in _anonymous_routes(slug))


def _anonymous_routes(slug: str) -> list[FileRoute]:
    query = FileRoute.select(FileRoute, Project).join(Project)
    return list(query.where(FileRoute.slug == slug, FileRoute.anonymous_uploads, Project.deleted_at.is_null()))


def require_room(config: Config, caller: Caller, browser: Browser, size_bytes: int) -> None:
    """Refuse another anonymous upload of `size_bytes` where too much is under way, inside the transaction that inserts it.

    Raises FileTooLarge, RateLimited (this address), TierLimitExceeded (all together).
    """
    _require_room_of_one(config, execute(_PENDING_OF_ONE, (caller.project_id, browser.network)).fetchall(), size_bytes)
    limits = tiers.limits_of(config, caller.tier, caller.limit_overrides)
    uploads, held_bytes = execute(_PENDING, (caller.project_id,)).fetchone()
    percent = config.browser.anonymous_quota_percent
    if _is_over(uploads + 1, _share(percent, limits.max_uploads_per_month)) or _is_over(
        held_bytes + size_bytes, _share(percent, limits.max_storage)
    ):
        raise TierLimitExceeded(
            f"Anonymous uploads under way hold all that they may of this project's limits ({percent} %)",
            "Wait until some are complete or have ended, use upload tokens, or raise browser.anonymous_quota_percent in config.toml",
        )


def _require_room_of_one(config: Config, pending: list[tuple[int, int]], size_bytes: int) -> None:
    """Refuse more than one address may have under way; `pending` are the bytes and the deadlines of what it has, the next one first."""
    settings, free_at = config.browser, None
    if _is_over(size_bytes, settings.anonymous_pending_bytes):
        raise FileTooLarge(
            f"File size {size_bytes} bytes exceeds the {settings.anonymous_pending_bytes} bytes that may be under way without a token",
            "Use an upload token, or raise browser.anonymous_pending_bytes in config.toml",
        )
    for ended in range(len(pending) + 1):
        held_bytes = sum(reserved for reserved, _ in pending[ended:])
        uploads_fit = not _is_over(len(pending) - ended + 1, settings.anonymous_pending_uploads)
        if uploads_fit and not _is_over(held_bytes + size_bytes, settings.anonymous_pending_bytes):
            break
        free_at = pending[ended][1]
    if free_at is not None:
        raise RateLimited(
            f"{len(pending)} uploads of {sum(reserved for reserved, _ in pending)} bytes are under way from this address already",
            "Complete them, or wait until they end; the section [browser] in config.toml sets how much may be",
            # At its deadline an upload that nobody completes ends, in the next round of housekeeping.
            retry_after_seconds=-(-max(0, free_at - clock.now_ms()) // 1000) + config.housekeeping.interval_seconds,
        )


def _share(percent: int, limit: int | None) -> int | None:
    return None if limit is None else limit * percent // 100


def _is_over(number: int, limit: int | None) -> bool:
    return limit is not None and number > limit
