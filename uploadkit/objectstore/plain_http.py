"""Requests as any client of the store sends them, for the doctor: no retries, no redirects, no boto3.

To the appliance's own endpoint they go out as its own requests do: through the same proxies, trusting the same authorities.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import urllib3
from botocore.httpsession import ProxyConfiguration, get_cert_path
from botocore.utils import get_environ_proxies

from uploadkit.core.sizes import MIB
from uploadkit.core.values import is_loopback
from uploadkit.objectstore.address import StoreAddress
from uploadkit.objectstore.deadlines import TimelyAnswer, at_most

UNDECODABLE = "%25zz;"
"""What stands in a URL for `%zz;`, which no client sends by itself: urllib3 would correct it. Nothing that was signed has a `;`."""
_MOST_ANSWER_BYTES = 4 * MIB


class _Connection(urllib3.connection.HTTPConnection):
    response_class = TimelyAnswer

    def putrequest(self, method: str, url: str, *arguments: Any, **more: Any) -> None:
        super().putrequest(method, url.replace(UNDECODABLE, "%zz;"), *arguments, **more)


class _TlsConnection(urllib3.connection.HTTPSConnection):
    response_class = TimelyAnswer

    def putrequest(self, method: str, url: str, *arguments: Any, **more: Any) -> None:
        super().putrequest(method, url.replace(UNDECODABLE, "%zz;"), *arguments, **more)


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


class PlainRequests:
    """Sends requests over connections that it keeps; `timeout` holds for each.

    A TLS certificate elsewhere than at `address.endpoint` may also be of an authority that this machine's system knows, as clients' do.
    """

    def __init__(self, address: StoreAddress, timeout: urllib3.Timeout) -> None:
        self._address, self._timeout = address, timeout
        self._trust = cache(_trust)
        self._pools: dict[tuple[str | None, bool], urllib3.PoolManager] = {}

    def send(self, method: str, url: str, body: bytes | None, headers: Mapping[str, str]) -> urllib3.BaseHTTPResponse:
        """Send a request and return the answer with its whole body, which may neither drip nor go on for ever.

        Raises urllib3.exceptions.HTTPError.
        """
        with at_most(_MOST_ANSWER_BYTES):
            return self._pool_for(url).request(
                method, url, body=body, headers=dict(headers), redirect=False, retries=False, timeout=self._timeout
            )

    def close(self) -> None:
        """Close all connections."""
        for pool in self._pools.values():
            pool.clear()

    def _pool_for(self, url: str) -> urllib3.PoolManager:
        is_elsewhere = not url.startswith(self._address.base_url(self._address.endpoint) + "/")
        try:
            ways = ProxyConfiguration({} if self._is_nearby(url) else proxies_of(url))
            proxy = ways.proxy_url_for(url)
            if (proxy, is_elsewhere) not in self._pools:
                tls = self._trust(self._address.ca_bundle, is_elsewhere)
                self._pools[proxy, is_elsewhere] = (
                    urllib3.ProxyManager(proxy, proxy_headers=ways.proxy_headers_for(proxy), ssl_context=tls, proxy_ssl_context=tls)
                    if proxy
                    else urllib3.PoolManager(ssl_context=tls)
                )
                self._pools[proxy, is_elsewhere].pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}
        except OSError as error:
            raise urllib3.exceptions.SSLError(error) from error
        except ValueError:  # a password in it that is not ASCII, say
            raise urllib3.exceptions.LocationValueError("the proxy's address") from None
        return self._pools[proxy, is_elsewhere]

    def _is_nearby(self, url: str) -> bool:
        """Say whether this is a store on this machine, by whatever name: its clients are not behind the proxy."""
        is_store = url.startswith(self._address.base_url(self._address.public_endpoint) + "/")
        return is_store and is_loopback(urlsplit(self._address.endpoint).hostname or "")


def proxies_of(url: str) -> dict[str, str]:
    """Return the proxies for requests to `url`, by scheme, by HTTPS_PROXY, HTTP_PROXY and NO_PROXY; none for loopback addresses."""
    return {} if is_loopback(urlsplit(url).hostname or "") else get_environ_proxies(url)


def _trust(ca_bundle: Path | None, with_system: bool) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cafile=ca_bundle or get_cert_path(True))
    if with_system:
        context.load_default_certs()
    return context
