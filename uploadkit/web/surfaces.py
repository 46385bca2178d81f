"""The surfaces: the ways in for programs, each with its own form of errors and its own CORS."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from flask import Request

from uploadkit.core import tokens
from uploadkit.core.errors import FileTypeNotAllowed, UploadKitError
from uploadkit.files import anonymous_uploads
from uploadkit.schemas import errors, sdk
from uploadkit.schemas.base import Answer
from uploadkit.schemas.errors import ErrorAnswer

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")  # RFC 9110, section 5.6.2
_MOST_ASKED_HEADERS, _MOST_ASKED_CHARACTERS = 64, 2048
# Tokens of uploads and set-up links, API keys; secrets of webhooks are in base64, which has slashes.
_SECRET = re.compile(
    rf"(?P<kind>{tokens.UPLOAD_TOKEN}|{tokens.SETUP_LINK}|{tokens.API_KEY}(?:live|test)_)[A-Za-z0-9_-]+|(?P<signing>whsec_)[A-Za-z0-9+/=]+"
)


@dataclass(frozen=True)
class Surface:
    """One way in.

    `error_of` makes of a failure an answer and a status; `elsewhere` is the suggestion for a path that does not exist,
    with `only_not_found` for a method, too. `origin_of` says for which origin (or "*") browsers may read the answer to a request, None: for
    none; the four after it stand in CORS headers. `takes_keys`: API keys are the credential.
    """

    prefix: str
    error_of: Callable[[UploadKitError], tuple[Answer, int]]
    origin_of: Callable[[Request], str | None]
    exposed: str
    methods: str
    headers: str
    max_age_seconds: int
    elsewhere: str
    takes_keys: bool = True
    only_not_found: bool = False

    def cors(self, origin: str | None) -> dict[str, str]:
        """Return the headers with which pages of `origin` may read an answer."""
        varying = {} if origin == "*" else {"Vary": "Origin"}
        if origin is None:
            return varying
        return varying | {"Access-Control-Allow-Origin": origin, "Access-Control-Expose-Headers": self.exposed}

    def preflight(self, origin: str | None, asked: str) -> dict[str, str]:
        """Return what a preflight request is told beside that; `asked` are the headers that it names."""
        if origin is None:
            return {}
        return {
            "Access-Control-Allow-Methods": self.methods,
            "Access-Control-Allow-Headers": allowed_headers(self.headers, asked),
            "Access-Control-Max-Age": str(self.max_age_seconds),
        }


def allowed_headers(ours: str, asked: str) -> str:
    """Return the header names `ours` and those that a preflight request has `asked` for, if they are names, and not too many.

    Pages send what their tracing adds to every request (traceparent, baggage, sentry-trace …). Nothing is given away by it: no answer of
    ours is read with the browser's own credentials.
    """
    known = {name.strip().lower() for name in ours.split(",")}
    names = [name.strip() for name in asked.split(",", _MOST_ASKED_HEADERS)] if len(asked) <= _MOST_ASKED_CHARACTERS else []
    fitting = names if len(names) <= _MOST_ASKED_HEADERS and all(map(_HEADER_NAME.fullmatch, names)) else []
    return ", ".join([ours, *dict.fromkeys(name for name in fitting if name.lower() not in known)] if ours else dict.fromkeys(fitting))


def _every_origin(request: Request) -> str:
    return "*"


def _allowed_origin(request: Request) -> str | None:
    """An upload token in the path is the permission, whatever page it is used on; without one the file route has to name the origin."""
    origin = request.headers.get("Origin")
    if origin is None or request.path.startswith(f"{BROWSER.prefix}/t/"):
        return origin
    project, slug = None, request.path.removeprefix(f"{BROWSER.prefix}/")
    if slug.startswith("p/"):
        project, _, slug = slug.removeprefix("p/").partition("/")
    return origin if anonymous_uploads.allows(slug, origin, project) else None


def _browser_error(failure: UploadKitError) -> tuple[ErrorAnswer, int]:
    """The official components know one code for a wrong type."""
    code = sdk.code_and_status(failure)[0] if isinstance(failure, FileTypeNotAllowed) else None
    return ErrorAnswer.of(failure, code), failure.status


_FOR_KEYS: dict[str, Any] = {
    "origin_of": _every_origin,
    "exposed": "X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, Retry-After, X-Request-Id",
    "methods": "GET, POST, PATCH, DELETE, OPTIONS",
    "headers": "Content-Type, Authorization, x-api-key, Idempotency-Key, x-uploadkit-version",
    "max_age_seconds": 86400,
}
DOCUMENTED = Surface("/api/v1", errors.error, elsewhere="The API begins at /api/v1; the README lists its calls", **_FOR_KEYS)
SDK = Surface(
    "/sdk/api/v1",
    sdk.error,
    elsewhere="This address has only what the official JavaScript packages call; the documented API at /api/v1 has everything, see /docs",
    only_not_found=True,
    **_FOR_KEYS,
)
BROWSER = Surface(
    "/api/uploadkit",
    _browser_error,
    origin_of=_allowed_origin,
    elsewhere="Browsers POST to {endpoint}/{fileRoute}; docs/clients.md shows how to get an endpoint",
    exposed="Retry-After, X-Request-Id",
    methods="GET, POST, OPTIONS",
    headers="Content-Type",
    max_age_seconds=3600,
    takes_keys=False,
)
_ALL = (DOCUMENTED, SDK, BROWSER)


def at(path: str) -> Surface | None:
    """Return the surface that `path` belongs to, or None: a page, or nothing at all."""
    return next((surface for surface in _ALL if path == surface.prefix or path.startswith(f"{surface.prefix}/")), None)


def redacted(path: str) -> str:
    """Return `path` as logs and answers may show it: without upload tokens, and without other secrets of ours that somebody put there."""
    return _SECRET.sub(lambda match: f"{match['kind'] or match['signing']}...", path)


def without_doubled_slash(application: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    """Wrap a WSGI application so that the base URL of an official package may end in a slash: /sdk//api/v1 is /sdk/api/v1."""

    def wrapped(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path.startswith("/sdk//api/v1"):
            environ["PATH_INFO"] = path.replace("//", "/", 1)
        return application(environ, start_response)

    return wrapped
