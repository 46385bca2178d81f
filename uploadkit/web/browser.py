"""`/api/uploadkit`: where pages upload without an API key, by upload token or by an anonymous file route."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from flask import Blueprint, Response, g, request
from pydantic import ValidationError

from uploadkit.auth.callers import Browser, Caller
from uploadkit.coordination import idempotency
from uploadkit.coordination.rate_limits import network_of
from uploadkit.core.errors import Unauthorized, UploadNotFound, UploadNotVerified, ValidationFailed
from uploadkit.files import anonymous_uploads, lifecycle, multipart_upload, single_upload, upload_tokens
from uploadkit.files.verification import NotInStorage
from uploadkit.projects import file_routes
from uploadkit.schemas.base import Answer, Input, to_validation_failed
from uploadkit.schemas.browser import BeginBody, Completed, MultipartCompleted, SingleUploadBody, UploadRules, requested
from uploadkit.schemas.uploads import (
    ABORTED,
    Aborted,
    MultipartBody,
    MultipartCompleteBody,
    MultipartObject,
    MultipartPartsBody,
    MultipartStateObject,
    UploadSlotObject,
)
from uploadkit.web import authentication, forwarded
from uploadkit.web.api.blueprint import url_of
from uploadkit.web.requests import context, json_answer, rate_limits

T = TypeVar("T")
# No page may set these (the fetch standard's forbidden request headers): the browser does, by the body.
_SET_BY_BROWSERS = {"Content-Length"}
browser = Blueprint("browser", __name__, url_prefix="/api/uploadkit")


@browser.get("/<slug>", defaults={"token": None, "project": None})
@browser.get("/p/<project>/<slug>", defaults={"token": None})
@browser.get("/t/<token>/<slug>", defaults={"project": None})
def get_rules(token: str | None, project: str | None, slug: str) -> Response:
    """Answer what may be uploaded here."""
    caller, visitor = _let_in(token, project, slug)
    upload_tokens.require_unexpired(visitor)
    route = file_routes.find_file_route(caller.project_id, slug)
    return json_answer(UploadRules.of(route, caller.limits, visitor.max_files))


@browser.post("/<slug>", defaults={"token": None, "project": None})
@browser.post("/p/<project>/<slug>", defaults={"token": None})
@browser.post("/t/<token>/<slug>", defaults={"project": None})
def act(token: str | None, project: str | None, slug: str) -> Response:
    """Do what `action` in the body says."""
    return perform(*_let_in(token, project, slug))


def perform(caller: Caller, visitor: Browser) -> Response:
    """Do what `action` in this request's body says, by the file route and with the metadata of `visitor`."""
    body = request.get_json()
    name = body.pop("action", None)
    if not isinstance(name, str) or name not in _ACTIONS:
        words = f"must be one of {', '.join(_ACTIONS)}"
        raise ValidationFailed(f"action {words}", details={"action": [words]})
    schema, action = _ACTIONS[name]
    try:
        asked = schema.model_validate(body)
    except ValidationError as error:
        raise to_validation_failed(error) from None
    try:
        return json_answer(action(caller, visitor, asked))
    except UploadNotVerified as error:
        if caller.browser is None:
            raise
        # What the store has is for those who hold an API key: a visitor who had it copy something would learn how large that is.
        if isinstance(error, NotInStorage):
            raise UploadNotVerified("The file is not in storage yet", "Send the bytes to uploadUrl, then complete again") from None
        raise UploadNotVerified(error.message, "Start again; GET /api/v1/logs, with an API key, says what was found") from None


def _let_in(token: str | None, project: str | None, slug: str) -> tuple[Caller, Browser]:
    """Find out who asks, and count the request: by token, else by address. Raises HttpsRequired, RateLimited, and what both kinds raise."""
    config, limits = context().config, rate_limits()
    authentication.refuse_plain_http(request, config.server)
    address, body_bytes = forwarded.client_address(request, config.server), request.content_length or 0
    if token is None:
        limits.count_browser_request(network_of(address), config.browser.requests_per_minute, body_bytes)
        caller = anonymous_uploads.find_caller(config, slug, request.headers.get("Origin"), network_of(address), project)
    else:
        try:
            caller = upload_tokens.find_caller(config, token)
        except Unauthorized:
            limits.count_failure(address)
            raise
        g.caller = caller
        assert caller.browser is not None
        limits.count_browser_request(str(caller.browser.upload_token_id), config.browser.requests_per_minute, body_bytes)
        caller = upload_tokens.by_route(caller, slug)
    g.caller = caller
    assert caller.browser is not None
    return caller, caller.browser


def _request_upload(caller: Caller, visitor: Browser, asked: BeginBody) -> UploadSlotObject:
    ctx, wanted = context(), asked.to_request(visitor.route_slug, visitor.metadata)
    slot = _once(
        caller,
        asked,
        lambda remember: single_upload.request_upload(ctx, caller, wanted, remember),
        lambda file_id: single_upload.request_again(ctx, caller, file_id),
    )
    return requested(slot, url_of(slot.file), _SET_BY_BROWSERS)


def _complete_upload(caller: Caller, visitor: Browser, asked: SingleUploadBody) -> Completed:
    _require_key(caller, asked)
    file = single_upload.complete_upload(context(), caller, asked.file_id, {})
    return Completed.of(file, url_of(file))


def _abort_upload(caller: Caller, visitor: Browser, asked: SingleUploadBody) -> Aborted:
    _require_key(caller, asked)
    single_upload.abort_upload(context(), caller, asked.file_id)
    return ABORTED


def _require_key(caller: Caller, asked: SingleUploadBody) -> None:
    if lifecycle.find(caller, asked.file_id).key != asked.key:
        raise UploadNotFound(f"There is no upload {asked.file_id!r} with that key")


def _start_multipart(caller: Caller, visitor: Browser, asked: BeginBody) -> MultipartObject:
    ctx, wanted = context(), asked.to_request(visitor.route_slug, visitor.metadata)
    slot = _once(
        caller,
        asked,
        lambda remember: multipart_upload.start_multipart(ctx, caller, wanted, remember),
        lambda file_id: multipart_upload.start_multipart_again(ctx, caller, file_id),
    )
    return MultipartObject.of(slot)


def _once(caller: Caller, asked: BeginBody, first: Callable[[idempotency.Remember], T], again: Callable[[str], T]) -> T:
    """Begin an upload by `first`, unless an earlier request with the same token and `idempotencyKey` did: then `again` finds it.

    So a lost answer does not use up a token. Without a token there is nothing to use up, and nobody to remember it for.
    """
    visitor = caller.browser
    if asked.idempotency_key is None or visitor is None or visitor.upload_token_id is None:
        return first(idempotency.forget)
    body = request.get_json()
    endpoint = f"{body['action']} {visitor.upload_token_id} {visitor.route_slug}"
    attempt = idempotency.attempt_of(str(visitor.api_key_id), endpoint, asked.idempotency_key, body)
    return idempotency.run_once(context().locks, attempt, first, again)


def _resume_multipart(caller: Caller, visitor: Browser, asked: MultipartPartsBody) -> MultipartStateObject:
    return MultipartStateObject.of(multipart_upload.resume_multipart(context(), caller, asked.file_id, asked.upload_id, asked.part_numbers))


def _complete_multipart(caller: Caller, visitor: Browser, asked: MultipartCompleteBody) -> MultipartCompleted:
    file = multipart_upload.complete_multipart(context(), caller, asked.file_id, asked.upload_id, asked.to_parts(), {})
    return MultipartCompleted.of(file, url_of(file))


def _abort_multipart(caller: Caller, visitor: Browser, asked: MultipartBody) -> Aborted:
    multipart_upload.abort_multipart(context(), caller, asked.file_id, asked.upload_id)
    return ABORTED


_ACTIONS: dict[str, tuple[type[Input], Callable[[Caller, Browser, Any], Answer]]] = {
    "request-upload": (BeginBody, _request_upload),
    "upload-complete": (SingleUploadBody, _complete_upload),
    "upload-abort": (SingleUploadBody, _abort_upload),
    "multipart-init": (BeginBody, _start_multipart),
    "multipart-parts": (MultipartPartsBody, _resume_multipart),
    "multipart-complete": (MultipartCompleteBody, _complete_multipart),
    "multipart-abort": (MultipartBody, _abort_multipart),
}
