"""What every request goes through: its id, its bounds, its headers, its line in the access log."""

from __future__ import annotations

import logging
import os
import time
from urllib.parse import quote, urlsplit, urlunsplit

from flask import Flask, Request, Response, redirect
from flask.globals import app_ctx, request_ctx
from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException
from werkzeug.routing import RequestRedirect
from werkzeug.wrappers import Response as AnyResponse

from uploadkit.coordination.rate_limits import Standing
from uploadkit.core.errors import (
    HeadersTooLarge,
    UploadKitError,
    ValidationFailed,
)
from uploadkit.db import read_deadline
from uploadkit.web import authentication, forwarded, surfaces
from uploadkit.web.error_handlers import answer_failure, answer_http_exception, answer_unexpected
from uploadkit.web.requests import context, rate_limits

access_log = logging.getLogger("uploadkit.access")
SAFE_HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
PAGE_POLICY = "default-src 'none'; style-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_MOST_HEADER_CHARACTERS = 4096
# A search of 255 characters and a cursor, each byte as %XX; a key of 1,024 characters.
_MOST_QUERY_CHARACTERS, _MOST_PATH_CHARACTERS = 8192, 8192
_MOST_LOGGED_CHARACTERS = 1024
_MOST_COOKIES = 1000


def install(app: Flask) -> None:
    """Give `app` its request id, headers, access log and error handler."""
    app.before_request(_begin)
    app.after_request(_end)
    app.register_error_handler(UploadKitError, answer_failure)
    app.register_error_handler(HTTPException, answer_http_exception)
    app.register_error_handler(Exception, answer_unexpected)


def _begin() -> AnyResponse | None:
    # Each use of the names `request` and `g` looks them up anew; what every request goes through does so once.
    asked, here = request_ctx.request, app_ctx.g
    here.request_id = os.urandom(16).hex()
    here.began = time.perf_counter()
    read_deadline.begin(context().config.database.read_timeout_seconds)
    here.surface = surface = surfaces.at(asked.path)
    _bound(asked)
    if isinstance(asked.routing_exception, RequestRedirect):  # a slash is missing; werkzeug itself would name the host of the request
        there = urlsplit(asked.routing_exception.new_url)
        return redirect(urlunsplit(("", "", there.path, there.query, "")), asked.routing_exception.code)
    if surface is None:
        return None
    here.origin = surface.origin_of(asked)
    if asked.method == "OPTIONS":
        return Response(status=204, headers=surface.preflight(here.origin, asked.headers.get("Access-Control-Request-Headers", "")))
    if asked.routing_exception is not None:
        authentication.authenticate_lost(asked, context().config, rate_limits(), takes_keys=surface.takes_keys)
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
    if here.surface is not None:
        headers.extend(here.surface.cors(here.get("origin")))
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
            "client": forwarded.client_address(asked, context().config.server),
            "method": asked.method,
            "path": _logged(surfaces.redacted(asked.path)),
            "status": answer.status_code,
            "duration_ms": round((time.perf_counter() - here.began) * 1000, 1),
            "project": caller.project_id if caller else None,
            "key": caller.api_key_id if caller else None,
        },
    )


def _logged(path: str) -> str:
    """Whoever sends long addresses should not fill the disk with the log of them."""
    quoted = quote(path[:_MOST_LOGGED_CHARACTERS], safe="/-_.~@+=,:")
    return quoted if len(path) <= _MOST_LOGGED_CHARACTERS else f"{quoted}..."
