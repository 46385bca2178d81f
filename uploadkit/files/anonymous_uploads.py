"""Uploads without key and token, for file routes that allow them: who is let in, and how much may be under way.

`Origin` stops browsers on other sites, not programs. So what anonymous uploads hold before they are complete is bounded: per address,
and for all together by a share of the project's limits. Requests without uploads can't keep those with keys or tokens from uploading.
What is aborted frees its place at once; the bytes of a single one stay held, because its URL may store them until the deadline. So what
is begun is bounded as well, per hour and day.
"""

from __future__ import annotations

from functools import partial

from uploadkit.auth.callers import Browser, Caller
from uploadkit.config import Config, tier_limits
from uploadkit.context import Context
from uploadkit.core import clock
from uploadkit.core.errors import FileTooLarge, Forbidden, RateLimited, RouteNotFound, TierLimitExceeded
from uploadkit.db import batches
from uploadkit.db.models import FileRoute
from uploadkit.files.queries import anonymous_uploads as queries
from uploadkit.projects import file_routes
from uploadkit.projects.queries import file_routes as route_queries

# A place comes back when any of those under way ends, which nobody knows beforehand.
_LOOK_AGAIN_SECONDS = 5
_BATCH = 1_000


def find_caller(config: Config, slug: str, origin: str | None, network: str, project: str | None = None) -> Caller:
    """Return the browser on a page of `origin` at the address `network`, for the file route `slug` of `project` (id or slug).

    Without `project` (the short address) it is the first project's, or another's that had that address before it was the first one's alone.
    Raises RouteNotFound (no such anonymous file route), Forbidden (it does not let this origin in).
    """
    route = _let_in(slug, origin, project)
    if route is None:
        if _routes(slug, project):
            raise Forbidden(
                f"Pages of {origin or 'an unknown origin'} may not upload here",
                "Add the page's origin, exactly as browsers send it, to allowedOrigins of the file route",
            )
        raise RouteNotFound(
            "There is no such file route for anonymous uploads",
            "Set anonymousUploads on it, or put an upload token into the endpoint"
            if project is not None
            else "The endpoint is /api/uploadkit/p/{projectId}, for all projects but the first; the file route needs anonymousUploads. "
            "Or put an upload token into the endpoint",
        )
    owner = route.project
    limits = tier_limits.limits_of(config, owner.tier, owner.limit_overrides)
    return Caller(Browser(route.slug, network=network), owner.id, "live", "project", limits)


def allows(slug: str, origin: str, project: str | None = None) -> bool:
    """Say whether an anonymous file route `slug` lets pages of `origin` in."""
    return _let_in(slug, origin, project) is not None


def _let_in(slug: str, origin: str | None, project: str | None) -> FileRoute | None:
    return next((route for route, origins in _routes(slug, project) if origin in origins), None)


def _routes(slug: str, project: str | None) -> list[tuple[FileRoute, list[str]]]:
    """Return the anonymous file routes that an address stands for, the first one that counts first, with the origins they let in there."""
    if project is not None:
        found = route_queries.anonymous_of(slug, project) or route_queries.anonymous_of_slug(slug, project)
        return [(route, route.allowed_origins) for route in found]
    first = file_routes.first_project_id()
    own = route_queries.anonymous_of(slug, first)
    # At most those that there were at the upgrade, which no tenant can add to.
    others = route_queries.anonymous_with_short_origins(slug, but_of=first)
    return [(route, route.allowed_origins) for route in own] + [
        (route, [origin for origin in route.short_origins if origin in route.allowed_origins]) for route in others
    ]


def require_room(config: Config, caller: Caller, browser: Browser, size_bytes: int) -> None:
    """Refuse another anonymous upload of `size_bytes` where too much is under way, inside the transaction that inserts it.

    Else it is counted as begun. Raises FileTooLarge, RateLimited (this address, or all together), TierLimitExceeded (all together).
    """
    _require_room_of_one(config, queries.pending_of(caller.project_id, browser.network), size_bytes)
    uploads, held_bytes = queries.pending(caller.project_id)
    percent = config.browser.anonymous_quota_percent
    if _is_over(uploads + 1, _share(percent, caller.limits.max_uploads_per_month)) or _is_over(
        held_bytes + size_bytes, _share(percent, caller.limits.max_storage)
    ):
        raise TierLimitExceeded(
            f"Anonymous uploads under way hold all that they may of this project's limits ({percent} %)",
            "Wait until some are complete or have ended, use upload tokens, or raise browser.anonymous_quota_percent in config.toml",
        )
    _count_begun(
        caller.project_id, str(browser.network), clock.HOUR_MS, config.browser.anonymous_uploads_per_hour, "from this address", "hour"
    )
    _count_begun(caller.project_id, "", clock.DAY_MS, config.browser.anonymous_uploads_per_day, "in this project", "day")


def _count_begun(project_id: str, network: str, period_ms: int, limit: int | None, whose: str, period: str) -> None:
    """Count one more upload that begins, whatever becomes of it: an aborted one frees its place, but leaves rows for a day."""
    now = clock.now_ms()
    began_at = now - now % period_ms
    begun = queries.count_begun(project_id, network, began_at)
    if _is_over(begun, limit):
        raise RateLimited(
            f"{limit} uploads were begun {whose} in this {period} without a token, the unfinished ones included",
            f"Use upload tokens, or raise browser.anonymous_uploads_per_{period} in config.toml",
            retry_after_seconds=-(-(began_at + period_ms - now) // 1000),
        )


def forget_counts(ctx: Context) -> int:
    """Remove the counts of days that are over, in short transactions; return how many."""
    return batches.change_all(partial(queries.forget_begun, clock.now_ms() - clock.DAY_MS), ctx.stopping, _BATCH)


def _require_room_of_one(config: Config, pending: list[tuple[str, int, int]], size_bytes: int) -> None:
    """Refuse more than one address may have under way; `pending` is the state, the bytes and the deadline of each, the next one first."""
    settings = config.browser
    if _is_over(size_bytes, settings.anonymous_pending_bytes):
        raise FileTooLarge(
            f"File size {size_bytes} bytes exceeds the {settings.anonymous_pending_bytes} bytes that may be under way without a token",
            "Use an upload token, or raise browser.anonymous_pending_bytes in config.toml",
        )
    uploads = sum(status == "UPLOADING" for status, _, _ in pending)
    held_bytes = sum(reserved for _, reserved, _ in pending)
    if _is_over(uploads + 1, settings.anonymous_pending_uploads) or _is_over(held_bytes + size_bytes, settings.anonymous_pending_bytes):
        raise RateLimited(
            f"{uploads} uploads are under way from this address already, and {held_bytes} bytes are held for it",
            "Complete or abort them, or wait until they end; the section [browser] in config.toml sets how much may be",
            retry_after_seconds=_seconds_until_room(config, pending, size_bytes),
        )


def _seconds_until_room(config: Config, pending: list[tuple[str, int, int]], size_bytes: int) -> int:
    """Say when to look again: soon, unless what was aborted holds so much that only its deadlines help."""
    free_at, aborted = None, [(reserved, deadline_at) for status, reserved, deadline_at in pending if status != "UPLOADING"]
    held_bytes = sum(reserved for reserved, _ in aborted)
    for reserved, deadline_at in aborted:
        if not _is_over(held_bytes + size_bytes, config.browser.anonymous_pending_bytes):
            break
        held_bytes, free_at = held_bytes - reserved, deadline_at
    if free_at is None:
        return _LOOK_AGAIN_SECONDS
    # At its deadline the store is cleared of an upload, in the next round of housekeeping.
    return -(-max(0, free_at - clock.now_ms()) // 1000) + config.housekeeping.interval_seconds


def _share(percent: int, limit: int | None) -> int | None:
    return None if limit is None else limit * percent // 100


def _is_over(number: int, limit: int | None) -> bool:
    return limit is not None and number > limit
