"""The one place where failures become answers."""

from __future__ import annotations

import logging

from flask import Response, g, render_template, request
from werkzeug.exceptions import HTTPException

from uploadkit.core.errors import (
    HeadersTooLarge,
    InternalServerError,
    MethodNotAllowed,
    NotFound,
    PayloadTooLarge,
    StorageUnavailable,
    UnsupportedMediaType,
    UploadKitError,
    ValidationFailed,
)
from uploadkit.db import faults, read_deadline
from uploadkit.web import surfaces
from uploadkit.web.requests import json_answer

log = logging.getLogger(__name__)

_BY_STATUS: dict[int, type[UploadKitError]] = {
    404: NotFound,
    405: MethodNotAllowed,
    413: PayloadTooLarge,
    415: UnsupportedMediaType,
    431: HeadersTooLarge,
}


def answer_failure(failure: UploadKitError) -> Response:
    """Return the answer of the surface that was asked to `failure`, or a page for a browser."""
    if isinstance(failure, StorageUnavailable):
        log.warning("request %s: %s. %s", g.request_id, failure.message, failure.suggestion)
    if _wants_page():
        answer = Response(render_template("error.html", failure=failure), failure.status, mimetype="text/html")
    else:
        answer = json_answer(*(g.surface or surfaces.DOCUMENTED).error_of(failure))
    if failure.retry_after_seconds is not None:
        answer.headers["Retry-After"] = str(failure.retry_after_seconds)
    return answer


def answer_http_exception(exception: HTTPException) -> Response:
    """Return Flask's own refusals in our words."""
    if isinstance(exception.response, Response):
        return exception.response
    status = exception.code or 500
    kind = _BY_STATUS.get(status)
    surface, path = g.surface or surfaces.DOCUMENTED, surfaces.redacted(request.path)
    if kind is NotFound or (kind is MethodNotAllowed and surface.only_not_found):
        failure: UploadKitError = NotFound(f"There is nothing at {path}", surface.elsewhere)
    elif kind is MethodNotAllowed:
        failure = MethodNotAllowed(f"{request.method} is not possible at {path}")
    elif kind is PayloadTooLarge:
        failure = PayloadTooLarge(f"The request body is over {request.max_content_length} bytes")
    elif kind is not None:
        failure = kind(exception.description or exception.name)
    elif status < 500:
        failure = ValidationFailed(exception.description or exception.name)
    else:
        return answer_unexpected(exception)
    answer = answer_failure(failure)
    if answer.status_code == 405:
        answer.headers["Allow"] = ", ".join(sorted(getattr(exception, "valid_methods", None) or ()))
    return answer


def answer_unexpected(exception: Exception) -> Response:
    """Return 503 where the database had no time or no room, else 500; the log tells why."""
    if read_deadline.was_passed(exception):
        return answer_failure(read_deadline.ReadTookTooLong())
    if (trouble := faults.trouble(exception)) is not None:
        log.error("request %s failed: SQLite says %s", g.request_id, exception)
        return answer_failure(StorageUnavailable(f"The database can't be used now: {trouble[0]}", trouble[1]))
    log.error("request %s failed", g.request_id, exc_info=exception)
    return answer_failure(
        InternalServerError("Something went wrong inside the appliance", f"The log tells more; look for request {g.request_id}")
    )


def _wants_page() -> bool:
    if g.surface is not None or request.path.startswith("/api/") or request.path == "/api":
        return False
    if request.path.startswith("/dashboard"):
        return True
    return request.accept_mimetypes.best_match(["application/json", "text/html"], "application/json") == "text/html"
