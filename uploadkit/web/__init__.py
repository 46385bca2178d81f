"""The web application: what every request goes through, and the one place where failures become answers."""

from __future__ import annotations

import logging
import os
import time
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

import orjson
from flask import Flask, Request, Response, g, redirect, render_template, request
from flask.globals import app_ctx, request_ctx
from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException
from werkzeug.routing import RequestRedirect
from werkzeug.wrappers import Response as AnyResponse

from uploadkit import db
from uploadkit.context import Context
from uploadkit.coordination.rate_limits import RateLimits, Standing
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
from uploadkit.db import read_deadline
from uploadkit.files.naming import nested_at_most
from uploadkit.web import authentication, surfaces

log = logging.getLogger(__name__)
access_log = logging.getLogger("uploadkit.access")

SAFE_HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
PAGE_POLICY = "default-src 'none'; style-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
# Far more than any field of ours needs; orjson reads deeper than it writes.
MOST_LEVELS = 50
# Objects, arrays and what is separated by commas, wherever they stand: a list of 10,000 parts has 30,000 beside its metadata.
MOST_VALUES = 50_000
_MOST_HEADER_CHARACTERS = 4096
# A search of 255 characters and a cursor, each byte as %XX; a key of 1,024 characters.
_MOST_QUERY_CHARACTERS, _MOST_PATH_CHARACTERS = 8192, 8192
_MOST_LOGGED_CHARACTERS = 1024
_MOST_COOKIES = 1000
_BY_STATUS: dict[int, type[UploadKitError]] = {
    404: NotFound,
    405: MethodNotAllowed,
    413: PayloadTooLarge,
    415: UnsupportedMediaType,
    431: HeadersTooLarge,
}


class JsonRequest(Request):
    """A request whose body is a JSON object or refused, whoever asks for it."""

    def get_json(self, force: bool = False, silent: bool = False, cache: bool = True) -> Any:
        """Return the body as a dict. Raises UnsupportedMediaType, ValidationFailed."""
        if self.mimetype != "application/json":
            raise UnsupportedMediaType(f"The Content-Type {self.mimetype or '(none)'!r} is not application/json")
        if (coding := self.headers.get("Content-Encoding", "identity").strip().lower()) not in ("", "identity"):
            raise UnsupportedMediaType(f"The Content-Encoding {coding!r} is not read here", "Send the body as it is, not compressed")
        written = self.get_data(cache=cache)
        if sum(map(written.count, (b"[", b"{", b","))) > MOST_VALUES:  # reading a megabyte of empty lists takes half a second
            words = f"must not have more than {MOST_VALUES} values"
            raise ValidationFailed(f"The body {words}", details={"body": [words]})
        try:
            body = orjson.loads(written)
        except orjson.JSONDecodeError as error:
            raise ValidationFailed(f"The body is not valid JSON: {error}", details={"body": ["is not valid JSON"]}) from None
        if not isinstance(body, dict):
            raise ValidationFailed("The body must be a JSON object", details={"body": ["must be an object"]})
        if not nested_at_most(body, MOST_LEVELS):
            words = f"must not be nested deeper than {MOST_LEVELS} levels"
            raise ValidationFailed(f"The body {words}", details={"body": [words]})
        return body


def context() -> Context:
    """Return the appliance that this request goes to."""
    ctx: Context = app_ctx.app.extensions["uploadkit"]
    return ctx


def json_answer(body: Any, status: int = 200) -> Response:
    """Return `body` as a JSON answer."""
    return Response(orjson.dumps(body), status, mimetype="application/json")


def rate_limits() -> RateLimits:
    """Return the rate limits that this request is counted by."""
    limits: RateLimits = app_ctx.app.extensions["uploadkit.rate_limits"]
    return limits


def install(app: Flask) -> None:
    """Give `app` its request id, headers, access log and error handler."""
    app.before_request(_begin)
    app.after_request(_end)
    app.register_error_handler(UploadKitError, _answer_failure)
    app.register_error_handler(HTTPException, _answer_http_exception)
    app.register_error_handler(Exception, _answer_unexpected)


def _begin() -> AnyResponse | None:
    # Each use of the names `request` and `g` looks them up anew; what every request goes through does so once.
    asked, here = request_ctx.request, app_ctx.g
    here.request_id = os.urandom(16).hex()
    here.began = time.perf_counter()
    read_deadline.begin(context().config.database.read_timeout_seconds)
    here.door = door = surfaces.at(asked.path)
    _bound(asked)
    if isinstance(asked.routing_exception, RequestRedirect):  # a slash is missing; werkzeug itself would name the host of the request
        there = urlsplit(asked.routing_exception.new_url)
        return redirect(urlunsplit(("", "", there.path, there.query, "")), asked.routing_exception.code)
    if door is None:
        return None
    here.origin = door.origin_of(asked)
    if asked.method == "OPTIONS":
        return Response(status=204, headers=door.preflight(here.origin, asked.headers.get("Access-Control-Request-Headers", "")))
    if asked.routing_exception is not None:
        authentication.authenticate_lost(asked, context().config, rate_limits(), takes_keys=door.takes_keys)
    return None


def _bound(asked: Request) -> None:
    """Refuse, or leave out, what is read item by item and has more items than anybody means. Raises HeadersTooLarge, ValidationFailed."""
    if len(asked.environ.get("QUERY_STRING", "")) > _MOST_QUERY_CHARACTERS or len(asked.path) > _MOST_PATH_CHARACTERS:
        most = f"{_MOST_PATH_CHARACTERS} characters, or what stands behind its ? over {_MOST_QUERY_CHARACTERS}"
        raise ValidationFailed(f"The address is over {most}")
    if len(asked.environ.get("CONTENT_TYPE", "")) > _MOST_HEADER_CHARACTERS:
        raise HeadersTooLarge(f"The Content-Type header is over {_MOST_HEADER_CHARACTERS} bytes")
    if asked.environ.get("HTTP_COOKIE", "").count(";") > _MOST_COOKIES:
        raise HeadersTooLarge(
            f"There are over {_MOST_COOKIES} cookies", "Delete the cookies of this host name; browsers keep 180 of a site at most"
        )
    if len(asked.environ.get("HTTP_ACCEPT", "")) > _MOST_HEADER_CHARACTERS:
        asked.environ["HTTP_ACCEPT"] = "*/*"


def _end(answer: Response) -> Response:
    here, headers = app_ctx.g, answer.headers
    caller = here.get("caller")
    if caller is not None:  # whatever the answer says: it was asked with a key, by an upload token, or from a page that is let in
        context().request_counts.count(caller.project_id, caller.environment)
    if here.door is not None:
        headers.extend(here.door.cors(here.get("origin")))
        _show_standing(headers, here.get("standing"))
        if "Cache-Control" not in headers:
            headers.add("Cache-Control", "no-store")
    if answer.mimetype == "text/html":
        headers.setdefault("Content-Security-Policy", PAGE_POLICY)
    headers.setdefault("Referrer-Policy", SAFE_HEADERS["Referrer-Policy"])
    headers.extend({"X-Request-Id": here.request_id, "X-Content-Type-Options": SAFE_HEADERS["X-Content-Type-Options"]})
    _log_access(answer)
    read_deadline.end()
    return answer


def _show_standing(headers: Headers, standing: Standing | None) -> None:
    """Say how the key stands in its rate limit; a key without one has nothing to be told."""
    if standing is not None:
        headers.add("X-RateLimit-Limit", str(standing.limit))
        headers.add("X-RateLimit-Remaining", str(standing.remaining))
        headers.add("X-RateLimit-Reset", str(standing.reset_at))


def _log_access(answer: Response) -> None:
    """One line per request. The query string stays out: it may hold signatures."""
    asked, here = request_ctx.request, app_ctx.g
    caller = here.get("caller")
    access_log.info(
        "request",
        extra={
            "request_id": here.request_id,
            "client": authentication.client_address(asked, context().config.server),
            "method": asked.method,
            "path": _logged(surfaces.shown(asked.path)),
            "status": answer.status_code,
            "duration_ms": round((time.perf_counter() - here.began) * 1000, 1),
            "project": caller.project_id if caller else None,
            "key": (caller.key_id or None) if caller else None,
        },
    )


def _logged(path: str) -> str:
    """Whoever sends long addresses should not fill the disk with the log of them."""
    shown = quote(path[:_MOST_LOGGED_CHARACTERS], safe="/-_.~@+=,:")
    return shown if len(path) <= _MOST_LOGGED_CHARACTERS else f"{shown}..."


def _answer_failure(failure: UploadKitError) -> Response:
    if isinstance(failure, StorageUnavailable):
        log.warning("request %s: %s. %s", g.request_id, failure.message, failure.suggestion)
    if _wants_page():
        answer = Response(render_template("error.html", failure=failure), failure.status, mimetype="text/html")
    else:
        answer = json_answer(*(g.door or surfaces.DOCUMENTED).render(failure))
    if failure.retry_after_seconds is not None:
        answer.headers["Retry-After"] = str(failure.retry_after_seconds)
    return answer


def _answer_http_exception(exception: HTTPException) -> Response:
    if isinstance(exception.response, Response):
        return exception.response
    status = exception.code or 500
    kind = _BY_STATUS.get(status)
    door, path = g.door or surfaces.DOCUMENTED, surfaces.shown(request.path)
    if kind is NotFound or (kind is MethodNotAllowed and door.only_not_found):
        failure: UploadKitError = NotFound(f"There is nothing at {path}", door.elsewhere)
    elif kind is MethodNotAllowed:
        failure = MethodNotAllowed(f"{request.method} is not possible at {path}")
    elif kind is PayloadTooLarge:
        failure = PayloadTooLarge(f"The request body is over {request.max_content_length} bytes")
    elif kind is not None:
        failure = kind(exception.description or exception.name)
    elif status < 500:
        failure = ValidationFailed(exception.description or exception.name)
    else:
        return _answer_unexpected(exception)
    answer = _answer_failure(failure)
    if answer.status_code == 405:
        answer.headers["Allow"] = ", ".join(sorted(getattr(exception, "valid_methods", None) or ()))
    return answer


def _answer_unexpected(exception: Exception) -> Response:
    if read_deadline.was_passed(exception):
        return _answer_failure(read_deadline.ReadTookTooLong())
    if (trouble := db.trouble(exception)) is not None:
        log.error("request %s failed: SQLite says %s", g.request_id, exception)
        return _answer_failure(StorageUnavailable(f"The database can't be used now: {trouble[0]}", trouble[1]))
    log.error("request %s failed", g.request_id, exc_info=exception)
    return _answer_failure(
        InternalServerError("Something went wrong inside the appliance", f"The log tells more; look for request {g.request_id}")
    )


def _wants_page() -> bool:
    if g.door is not None or request.path.startswith("/api/") or request.path == "/api":
        return False
    if request.path.startswith("/dashboard"):
        return True
    return request.accept_mimetypes.best_match(["application/json", "text/html"], "application/json") == "text/html"
