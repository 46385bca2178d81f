"""Requests as any client of the store sends them, for the doctor: no retries, no redirects, no boto3.

They go out as the appliance's own do, through the proxies that the environment names, and trust the system's authorities besides its own.
"""

from __future__ import annotations

import contextlib
import os
import ssl
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import urllib3
from botocore.httpsession import ProxyConfiguration, get_cert_path
from botocore.utils import get_environ_proxies

from uploadkit.config import is_loopback


class PlainRequests:
    """Sends requests over connections that it keeps. `ca_bundle` as in StoreAddress; `timeout` holds for each request."""

    def __init__(self, ca_bundle: Path | None, timeout: urllib3.Timeout) -> None:
        self._timeout = timeout
        self._tls = ssl.create_default_context()
        with contextlib.suppress(OSError):  # the appliance's own requests tell of a file that is not there
            self._tls.load_verify_locations(cafile=ca_bundle or os.environ.get("AWS_CA_BUNDLE") or get_cert_path(True))
        self._pools: dict[str | None, urllib3.PoolManager] = {}

    def send(self, method: str, url: str, body: bytes | None, headers: Mapping[str, str]) -> urllib3.BaseHTTPResponse:
        """Send a request and return the answer with its whole body. Raises urllib3.exceptions.HTTPError."""
        ways = ProxyConfiguration(proxies_of(url))
        proxy = ways.proxy_url_for(url)
        if proxy not in self._pools:
            self._pools[proxy] = (
                urllib3.ProxyManager(proxy, proxy_headers=ways.proxy_headers_for(proxy), ssl_context=self._tls)
                if proxy
                else urllib3.PoolManager(ssl_context=self._tls)
            )
        return self._pools[proxy].request(
            method, url, body=body, headers=dict(headers), redirect=False, retries=False, timeout=self._timeout
        )

    def close(self) -> None:
        """Close all connections."""
        for pool in self._pools.values():
            pool.clear()


def proxies_of(url: str) -> dict[str, str]:
    """Return the proxies for requests to `url`, by scheme: those of HTTPS_PROXY, HTTP_PROXY and NO_PROXY; none to this very machine."""
    return {} if is_loopback(urlsplit(url).hostname or "") else get_environ_proxies(url)
