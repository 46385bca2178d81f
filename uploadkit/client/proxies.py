"""Connections, straight or by the proxy that the environment names. Shared within uploadkit.client.

HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY in either case, and what Windows and macOS have set, as Python's own urllib reads them.
Refuses to show a proxy's name and password.
"""

from __future__ import annotations

import ipaddress
import threading
import urllib.request
from base64 import b64encode
from contextlib import suppress
from importlib.util import find_spec
from typing import TypeVar
from urllib.parse import unquote, urlsplit

import urllib3

from uploadkit.client.answers import TimelyResponse
from uploadkit.client.errors import UploadKitConnectionError

_DEFAULT_PORTS = {"http": 80, "https": 443}
_SUGGESTION = "Set HTTPS_PROXY to http://host:port or http://name:password@host:port, or name this host in NO_PROXY"

Manager = TypeVar("Manager", bound=urllib3.PoolManager)


class Pools:
    """Connections that are kept, one pool for each proxy. Safe to share between threads."""

    def __init__(self) -> None:
        self._pools: dict[str | None, urllib3.PoolManager] = {}
        self._lock = threading.Lock()

    def for_url(self, url: str) -> urllib3.PoolManager:
        """Return the connections for requests to `url`. Raises UploadKitConnectionError for a proxy whose address can't be used."""
        proxy = proxy_for(url)
        with self._lock:
            if proxy not in self._pools:
                self._pools[proxy] = _timely(urllib3.PoolManager(maxsize=16)) if proxy is None else _timely(_by_proxy(proxy))
            return self._pools[proxy]

    def clear(self) -> None:
        """Close the idle connections."""
        with self._lock:
            for pool in self._pools.values():
                pool.clear()


def proxy_for(url: str) -> str | None:
    """Return the address of the proxy for requests to `url`, with the name and password that may be in it; None for the straight way.

    Never one for this very machine (localhost, 127.0.0.0/8, ::1), nor for what NO_PROXY names: hosts, domains, host:port, networks.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    proxies = urllib.request.getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy or _is_this_machine(host):
        return None
    authority = f"[{host}]" if ":" in host else host
    port = parts.port or _DEFAULT_PORTS.get(parts.scheme, 0)
    if urllib.request.proxy_bypass(f"{authority}:{port}") or _is_barred(host, proxies.get("no", "")):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def printable_proxy(url: str) -> str | None:
    """Return host and port of the proxy for `url`, without name and password; None for the straight way."""
    proxy = proxy_for(url)
    return None if proxy is None else _without_password(proxy).partition("://")[2]


def _is_this_machine(host: str) -> bool:
    if host.rstrip(".") == "localhost" or host.rstrip(".").endswith(".localhost"):
        return True
    address = _address(host)
    return address is not None and address.is_loopback


def _is_barred(host: str, no_proxy: str) -> bool:
    """Say whether NO_PROXY names `host` in a way that urllib does not know: `*.example.com`, `fd00::1`, networks such as 10.0.0.0/8."""
    address = _address(host)
    for entry in (entry.strip().lower() for entry in no_proxy.split(",")):
        if entry.startswith("*.") and host.endswith(entry[1:]):
            return True
        if address is not None:
            with suppress(ValueError):
                if address in ipaddress.ip_network(entry, strict=False):
                    return True
    return False


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _without_password(proxy: str) -> str:
    scheme, _, rest = proxy.partition("://")
    return f"{scheme}://{rest.partition('/')[0].rpartition('@')[2]}"


def _timely(manager: Manager) -> Manager:
    """Have the answers on all connections of `manager`, those of a proxy included, come to their end."""

    def with_ends(pool: type[urllib3.HTTPConnectionPool]) -> type[urllib3.HTTPConnectionPool]:
        connection = type("Connection", (pool.ConnectionCls,), {"response_class": TimelyResponse})
        return type("Pool", (pool,), {"ConnectionCls": connection})

    manager.pool_classes_by_scheme = {scheme: with_ends(pool) for scheme, pool in manager.pool_classes_by_scheme.items()}
    return manager


def _by_proxy(proxy: str) -> urllib3.PoolManager:
    """Return the connections by `proxy`, of which no error shows name and password."""
    address = _without_password(proxy)
    try:
        parts = urlsplit(proxy)
        name, password = (None if text is None else unquote(text) for text in (parts.username, parts.password))
        if parts.scheme.startswith("socks"):
            if find_spec("socks") is None:
                message = f"the proxy {address} can't be used: SOCKS needs the package PySocks"
                raise UploadKitConnectionError(message, "pip install 'urllib3[socks]'", transient=False)
            from urllib3.contrib.socks import SOCKSProxyManager

            return SOCKSProxyManager(address, username=name, password=password, maxsize=16)
        headers = {}
        if name is not None:  # in UTF-8, as curl does
            headers["Proxy-Authorization"] = "Basic " + b64encode(f"{name}:{password or ''}".encode("utf-8", "surrogateescape")).decode()
        return urllib3.ProxyManager(address, proxy_headers=headers, maxsize=16)
    except (ValueError, urllib3.exceptions.HTTPError):
        message = f"the address of the proxy in the environment can't be one: {address}"
        raise UploadKitConnectionError(message, _SUGGESTION, transient=False) from None
