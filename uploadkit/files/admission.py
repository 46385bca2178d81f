"""A new upload: checked against its file route and all limits, given room, and inserted as UPLOADING."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from uploadkit.auth.callers import Browser, Caller
from uploadkit.context import Context
from uploadkit.coordination.idempotency import Remember
from uploadkit.core import clock, media_types
from uploadkit.core.errors import Conflict, Forbidden, RateLimited, StorageUnavailable, TierLimitExceeded, UploadNotFound
from uploadkit.core.ids import new_id
from uploadkit.db.connection import write
from uploadkit.db.models import File
from uploadkit.files import anonymous_uploads, lifecycle, upload_tokens
from uploadkit.files.naming import merged_metadata, safe_name
from uploadkit.files.queries import uploads as queries
from uploadkit.projects import file_routes, quotas
from uploadkit.webhooks import event_log

# Who sends two files of one name and size in one go does not try again.
_SECOND_TRY_AFTER_MS = 5_000


@dataclass(frozen=True)
class UploadRequest:
    """What a client wants to upload. `size_bytes` is a promise that the store holds it to, and its PUT repeats `content_type` as it is.

    A `content_type` of "" is none: the client does not know. What is recorded and served is what media_types.py makes of it.
    `client_metadata` is what a browser says, whom nobody vouches for.
    """

    file_name: str
    size_bytes: int
    content_type: str
    route_slug: str
    metadata: Mapping[str, Any]
    client_metadata: Mapping[str, Any] = field(default_factory=dict)


def new_file(ctx: Context, caller: Caller, request: UploadRequest) -> File:
    """The row to be, checked against the file route and the tier; nothing is written yet."""
    ctx.store.ensure_available()
    ctx.database_disk.require_room()
    _require_few_failed(ctx, caller)
    route = file_routes.find_file_route(caller.project_id, request.route_slug)
    content_type = media_types.recorded(request.content_type, request.file_name)
    file_routes.check_upload(route, caller.limits, request.size_bytes, request.content_type, content_type)
    now, file_id = clock.now_ms(), new_id()
    expires_at, deadline_at = lifecycle.deadline(ctx, now, request.size_bytes)
    sandbox = "test/" if caller.environment == "test" else ""
    return queries.new(
        id=file_id,
        project=caller.project_id,
        environment=caller.environment,
        route_slug=route.slug,
        api_key=caller.api_key_id,
        key=f"{sandbox}{caller.project_id}/{route.slug}/{file_id}/{safe_name(request.file_name)}",
        file_name=request.file_name,
        size_bytes=request.size_bytes,
        content_type=content_type,
        type_declared=bool(request.content_type),
        declared_type=None if request.content_type in ("", content_type) else request.content_type,
        visibility=route.visibility,
        metadata=merged_metadata({}, request.metadata),
        client_metadata=merged_metadata({}, request.client_metadata),
        upload_token_id=caller.browser.upload_token_id if caller.browser else None,
        client_network=caller.browser.network if caller.browser else None,
        status="UPLOADING",
        expires_at=expires_at,
        deadline_at=deadline_at,
        sweep_at=deadline_at,
        created_at=now,
        updated_at=now,
    )


def _require_few_failed(ctx: Context, caller: Caller) -> None:
    if caller.api_key_id is None:
        return
    try:
        quotas.require_few_failed(caller.project_id, caller.environment)
    except RateLimited:
        ctx.signals.wake_forgetting()
        raise


def insert(ctx: Context, caller: Caller, file: File, remember: Remember) -> None:
    """Reserve quota and insert the row; `remember` gets its id in the same transaction.

    A browser's second try takes the place of its first where there is no room for both. Raises TierLimitExceeded; for a browser also
    what its upload token or address is refused with.
    """
    try:
        _insert(ctx, caller, file, remember)
    except (Forbidden, RateLimited, TierLimitExceeded):
        earlier = _first_try(caller, file)
        if earlier is None or not _would_make_room(ctx, caller, file, earlier) or not _replaced(ctx, earlier):
            raise
        _insert(ctx, caller, file, remember)


def _first_try(caller: Caller, file: File) -> str | None:
    """Return the id of the unfinished upload that a browser sends once more, after a reload perhaps: the same file by the same user.

    The same user is the same upload token, another one of the same key with the same metadata, or the same address without a token.
    """
    browser = caller.browser
    if browser is None or (browser.upload_token_id is None and browser.network is None):
        return None
    return queries.find_first_try(
        file,
        before_ms=clock.now_ms() - _SECOND_TRY_AFTER_MS,
        upload_token_id=browser.upload_token_id,
        network=browser.network,
        api_key_id=caller.api_key_id,
        vouched=orjson.dumps(file.metadata).decode() if file.metadata else None,
    )


class _TriedOut(Exception):
    """All would go well; but it was not meant."""


def _would_make_room(ctx: Context, caller: Caller, file: File, earlier_id: str) -> bool:
    """Say whether there would be room for `file` if the earlier upload had ended: tried out in a transaction that is taken back.

    Where another limit is the reason, nobody's upload is to end for nothing, least of all that of somebody who only looks like the same
    user. What a single upload holds, its URL holds until the deadline.
    """
    try:
        with write():
            earlier = queries.find_under_way(earlier_id)
            if earlier is None:
                return False
            queries.fail(earlier_id, "aborted", "", now_ms=clock.now_ms(), joining_is_over=False)
            quotas.release_upload(earlier)
            if earlier.is_multipart:
                quotas.release_bytes(earlier)
            _take_room(ctx, caller, file)
            raise _TriedOut
    except _TriedOut:
        return True
    except (Forbidden, RateLimited, TierLimitExceeded):
        return False


def _replaced(ctx: Context, file_id: str) -> bool:
    """End an upload for the sake of its second try; say whether it was under way."""
    try:
        return lifecycle.abort(ctx, file_id)
    except (Conflict, StorageUnavailable, UploadNotFound):
        return False


def _insert(ctx: Context, caller: Caller, file: File, remember: Remember) -> None:
    with write():
        file.reserved_bytes = _take_room(ctx, caller, file)
        queries.insert(file)
        remember(file.id)
        event_log.record(ctx, file, "upload.requested", "UPLOADING")


def _take_room(ctx: Context, caller: Caller, file: File) -> int:
    """Set room aside for a new upload, inside a transaction; return the bytes reserved. Raises whatever it is refused with."""
    if caller.browser is not None:
        _require_room(ctx, caller, caller.browser, file.size_bytes)
    if caller.environment == "test":
        quotas.require_room_in_sandbox(caller.project_id, file.size_bytes, ctx.config.sandbox)
    return quotas.reserve(caller.project_id, caller.environment, file.size_bytes, caller.limits)


def _require_room(ctx: Context, caller: Caller, browser: Browser, size_bytes: int) -> None:
    if browser.upload_token_id is not None:
        upload_tokens.require_room(browser, size_bytes)
    else:
        anonymous_uploads.require_room(ctx.config, caller, browser, size_bytes)
