"""Credential → caller, and what has to be true of the connection before a key is looked at."""

from __future__ import annotations

import hmac

from flask import Request, g

from uploadkit.auth import api_keys
from uploadkit.config import Config, ServerConfig
from uploadkit.coordination.rate_limits import RateLimits, Standing
from uploadkit.core import tokens
from uploadkit.core.errors import HttpsRequired, RateLimited, Unauthorized
from uploadkit.web import forwarded


def authenticate(request: Request, config: Config, rate_limits: RateLimits) -> None:
    """Find the caller behind a request to the API, count the request, and leave both in `g.caller` and `g.standing`.

    A wrong key counts against the client's address, a missing one does not: nobody tried to guess. Nor did anybody by what a gateway
    wrote into one of the two headers, while the other one holds a key of ours.
    Raises HttpsRequired, Unauthorized, RateLimited.
    """
    refuse_plain_http(request, config.server)
    presented = _presented_key(request)
    try:
        caller = api_keys.find_caller(config, presented)
    except Unauthorized:
        rate_limits.count_failure(forwarded.client_address(request, config.server))
        raise
    g.caller = caller
    g.standing = standing = rate_limits.count_request(str(caller.api_key_id), caller.limits.requests_per_minute)
    _refuse_too_many(standing)


def authenticate_lost(request: Request, config: Config, rate_limits: RateLimits, *, takes_keys: bool) -> None:
    """The same for a path or method that is not there: the answer will say so, and needs no key; but one that is sent counts as ever."""
    refuse_plain_http(request, config.server)
    if not takes_keys:
        return
    if any(_presented(request)):
        authenticate(request, config, rate_limits)


def refuse_plain_http(request: Request, server: ServerConfig) -> None:
    """Refuse a request that came in the clear where HTTPS is required. Raises HttpsRequired."""
    if server.https_enforced and not forwarded.arrived_by_https(request, server):
        raise HttpsRequired("This API is served over HTTPS only; no key or token was looked at")


def _refuse_too_many(standing: Standing | None) -> None:
    if standing is None or standing.retry_after_seconds is None:
        return
    raise RateLimited(
        f"This API key may make {standing.limit} requests in a minute",
        f"Wait {standing.retry_after_seconds} seconds, spread the calls out, or move the project to a larger tier",
        retry_after_seconds=standing.retry_after_seconds,
    )


def _presented_key(request: Request) -> str:
    header, bearer = _presented(request)
    if not header and not bearer:
        raise Unauthorized("This call needs an API key")
    if not (tokens.is_meant_as_api_key(header) and tokens.is_meant_as_api_key(bearer)):
        return bearer if tokens.is_meant_as_api_key(bearer) else header or bearer
    if not hmac.compare_digest(header.encode(), bearer.encode()):
        raise Unauthorized("x-api-key and Authorization carry different keys", "Send one of the two headers")
    return header


def came_as_bearer(request: Request) -> bool:
    """Say whether the API key of an authenticated request stood in `Authorization`, and not in `x-api-key`."""
    return not tokens.is_meant_as_api_key(_presented(request)[0])


def _presented(request: Request) -> tuple[str, str]:
    """What stands in the two headers that may hold a key: `x-api-key`, and `Authorization` by the scheme Bearer."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return request.headers.get("x-api-key", "").strip(), token.strip() if scheme.lower() == "bearer" else ""
