"""Where a request comes from, and whether by HTTPS: as the connection says, or the proxy in front where that one is trusted."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from functools import lru_cache

from flask import Request

from uploadkit.config import ServerConfig
from uploadkit.net.url_policy import IpAddress, networks


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
    if server.trusted_proxies:
        hops = [hop for hop in request.headers.get("X-Forwarded-For", "").split(",") if hop.strip()]
        while hops and _is_trusted(address, server.trusted_proxies):
            address = hops.pop()
    return _written_plainly(address) or request.remote_addr or ""


def _is_trusted(address: str | None, proxies: Sequence[str]) -> bool:
    if not proxies:
        return False
    parsed = _parsed(address or "")
    return parsed is not None and any(parsed in network for network in networks(tuple(proxies)))


def _parsed(address: str) -> IpAddress | None:
    """Read an address as proxies write it, perhaps with a port or in brackets. IPv4 inside IPv6 (a socket for both) is IPv4.

    A zone (fe80::1%eth0) is left out: it may be any text, and says nothing about the client.
    """
    text = address.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        parsed = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (parsed.ipv4_mapped or parsed) if isinstance(parsed, ipaddress.IPv6Address) else parsed


@lru_cache(maxsize=4096)
def _written_plainly(address: str) -> str:
    return str(_parsed(address) or "")
