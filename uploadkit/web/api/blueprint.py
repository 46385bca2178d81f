"""The blueprint that the endpoints of `/api/v1` share: every call on it has a caller."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from flask import Response, g, request
from flask.globals import request_ctx
from flask_openapi3.blueprint import APIBlueprint

from uploadkit.coordination import idempotency
from uploadkit.db.models import File
from uploadkit.objectstore import urls
from uploadkit.schemas.files import FileObject
from uploadkit.schemas.sdk import FileInBothNames
from uploadkit.web import authentication, openapi
from uploadkit.web.requests import context, json_answer, rate_limits

T = TypeVar("T")
api = APIBlueprint(
    "api",
    __name__,
    url_prefix="/api/v1",
    abp_security=[{"apiKey": []}, {"bearer": []}],
    operation_id_callback=openapi.operation_id,
)


@api.before_request
def _authenticate() -> None:
    authentication.authenticate(request_ctx.request, context().config, rate_limits())


def url_of(file: File) -> str:
    """Return the lasting URL of a file, for the answers that show one."""
    return urls.public_url(context().config, file)


def file_answer(file: File) -> Response:
    """Answer a file; to a key that came as `Authorization: Bearer`, as the official packages send it, in their names, too.

    Their base URL lacks `/sdk` then, and they would hand `undefined` to whoever uploaded (docs/decisions/0033-without-sdk.md).
    """
    of = FileInBothNames.both if authentication.came_as_bearer(request_ctx.request) else FileObject.of
    return json_answer(of(file, url_of(file)))


def once(first: Callable[[idempotency.Remember], T], again: Callable[[str], T]) -> T:
    """Make something by `first`, unless an earlier request with the same Idempotency-Key made it: then `again` finds it by its id.

    `first` hands what it gets to the service, which calls it with the new id inside the transaction that makes the thing.
    Raises ValidationFailed (the header), IdempotencyConflict, and whatever the two raise.
    """
    header = request.headers.get("Idempotency-Key")
    if header is None:
        return first(idempotency.forget)
    endpoint = f"{request.method} {request.path}"
    attempt = idempotency.attempt_of(g.caller.api_key_id, endpoint, header.strip(), request.get_json())
    return idempotency.run_once(context().locks, attempt, first, again)
