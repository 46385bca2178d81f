"""Credential → caller, and what has to be true of the connection before a key is looked at (api.md sections 2 and 11)."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Sequence

from flask import Request, g

from uploadkit import keys
from uploadkit.config import ServerConfig
from uploadkit.errors import HttpsRequired, Unauthorized


def authenticate(request: Request, server: ServerConfig) -> None:
    """Find the caller behind a request to the API and leave it in `g.caller`. Raises HttpsRequired, Unauthorized."""
    if server.https_enforced and not arrived_by_https(request, server):
        raise HttpsRequired("This API is served over HTTPS only; the key was not looked at")
    g.caller = keys.find_caller(_presented_key(request))


def _presented_key(request: Request) -> str:
    header = request.headers.get("x-api-key", "").strip()
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    bearer = token.strip() if scheme.lower() == "bearer" else ""
    if header and bearer and not hmac.compare_digest(header.encode(), bearer.encode()):
        raise Unauthorized("x-api-key and Authorization carry different keys", "Send one of the two headers")
    if not header and not bearer:
        raise Unauthorized("This call needs an API key")
    return header or bearer


def arrived_by_https(request: Request, server: ServerConfig) -> bool:
    """Say whether the client's own connection was TLS, by the word of a trusted proxy if there is one in between."""
    if _is_trusted(request.remote_addr, server.trusted_proxies):
        forwarded = request.headers.get("X-Forwarded-Proto", "")
        if forwarded:
            return forwarded.rpartition(",")[2].strip().lower() == "https"
    return request.scheme == "https"


def client_address(request: Request, server: ServerConfig) -> str:
    """Return the client's address: the last one in X-Forwarded-For that is no trusted proxy, if a trusted proxy wrote it."""
    address = request.remote_addr or ""
    hops = [hop.strip() for hop in request.headers.get("X-Forwarded-For", "").split(",") if hop.strip()]
    while hops and _is_trusted(address, server.trusted_proxies):
        address = hops.pop()
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        return request.remote_addr or ""


def _is_trusted(address: str | None, proxies: Sequence[str]) -> bool:
    try:
        parsed = ipaddress.ip_address(address or "")
    except ValueError:
        return False
    return any(parsed in ipaddress.ip_network(network) for network in proxies)
