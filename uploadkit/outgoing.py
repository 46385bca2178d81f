"""Calls to addresses that users name: which may be called, and one POST that can't be led elsewhere or held up.

A name is resolved once, each address is checked, and the connection goes to the address that was checked: a name that changes its
meaning in between (DNS rebinding) changes nothing. No redirect is followed, the answer is read up to a cap, and one deadline holds for
everything together, name look-up, TLS handshake and an answer that drips included. Knows nothing of webhooks.
"""

from __future__ import annotations

import http.client
import ipaddress
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

from uploadkit import clock

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolver = Callable[[str, int], Sequence[str]]

MAX_URL_LENGTH = 2000
_MAX_ANSWER_BYTES = 64 * 1024
_EXCERPT_CHARACTERS = 1000
_LONGEST_ERROR = 500
_PRINTABLE = re.compile(r"[!-~]+")
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", re.IGNORECASE)
# As the URL standard has it: a host whose last part is a number is an IPv4 address, in whichever notation.
_ENDS_IN_NUMBER = re.compile(r"(.*\.)?([0-9]+|0x[0-9a-f]*)", re.IGNORECASE)
_DEFAULT_PORTS = {"http": 80, "https": 443}
# Addresses that `is_global` lets through (in some Python versions) and that still are nobody's public receiver.
_NOT_PUBLIC = tuple(
    ipaddress.ip_network(network)
    for network in (
        "168.63.129.16/32",  # the metadata service of Azure
        "192.0.0.0/24",
        "192.88.99.0/24",  # relays of 6to4
        "2001::/32",  # Teredo: an IPv4 address and a port of somebody else's choosing
        "3fff::/20",  # for documentation
    )
)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_IPV6_UNICAST = ipaddress.ip_network("2000::/3")


class Refused(Exception):
    """An address that is not called. `str(error)` says why; `mend` what to do about it, where something can be done."""

    def __init__(self, reason: str, mend: str | None = None) -> None:
        super().__init__(reason)
        self.mend = mend


@dataclass(frozen=True)
class Target:
    """A URL taken apart. `host` is a name, or an IP address without brackets."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def origin(self) -> str:
        """Scheme, host and port: what two URLs of one server have in common."""
        return f"{self.scheme}://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


@dataclass(frozen=True)
class Outcome:
    """What came of a call: the answer's status, its beginning and `Retry-After` as it was sent, or the error that there was none.

    `error` is also set for an answer that broke off. `duration_ms` is how long it all took.
    """

    status_code: int | None
    excerpt: str | None
    retry_after: str | None
    error: str | None
    duration_ms: int


def parse(url: str) -> Target:
    """Take apart a URL that may be called as far as can be seen without looking up its name. Pure.

    Raises Refused for anything but http(s), for user names, fragments, and every way of writing a host that readers disagree about.
    """
    if len(url) > MAX_URL_LENGTH:
        raise Refused(f"must have at most {MAX_URL_LENGTH} characters")
    if not _PRINTABLE.fullmatch(url) or "\\" in url:
        raise Refused("must hold printable ASCII characters only, without spaces and backslashes")
    if not re.match("https?://", url, re.IGNORECASE):
        raise Refused('must be a URL such as "https://example.com/hooks/upload"')
    if "#" in url:
        raise Refused("must not hold a #")
    try:
        parts = urlsplit(url)
    except ValueError:
        raise Refused("must hold a valid IPv6 address between [ and ], without a zone") from None
    if "@" in parts.netloc:
        raise Refused("must not hold a user name or password")
    host, port = _split_netloc(parts.netloc, parts.scheme)
    return Target(parts.scheme, host, port, (parts.path or "/") + (f"?{parts.query}" if parts.query else ""))


def _split_netloc(netloc: str, scheme: str) -> tuple[str, int]:
    match = re.fullmatch(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::(.*))?", netloc)
    if not match:
        raise Refused("must name a host, such as example.com")
    port = match[2]
    if port is not None and not (re.fullmatch("[1-9][0-9]{0,4}", port) and int(port) <= 65535):
        raise Refused("must have a port from 1 to 65535, or none")
    host = _ipv6(match[1][1:-1]) if match[1].startswith("[") else _name_or_ipv4(match[1])
    return host, int(port) if port else _DEFAULT_PORTS[scheme]


def _ipv6(text: str) -> str:
    try:
        if "%" in text:
            raise ValueError
        return str(ipaddress.IPv6Address(text))
    except ValueError:
        raise Refused("must hold a valid IPv6 address between [ and ], without a zone") from None


def _name_or_ipv4(host: str) -> str:
    if host.endswith("."):
        raise Refused("must not have a dot at the end of the host")
    if _ENDS_IN_NUMBER.fullmatch(host):
        try:
            return str(ipaddress.IPv4Address(host))
        except ValueError:
            raise Refused("must write an IPv4 address as four decimal numbers, such as 203.0.113.7") from None
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in host.split(".")):
        raise Refused("must name a host, such as example.com (an international name in its xn-- form)")
    return host.lower()


def require_allowed(target: Target, allowed_private_cidrs: Sequence[str]) -> None:
    """Refuse a target that is private as far as can be seen without looking up its name. Raises Refused."""
    if target.host == "localhost" or target.host.endswith(".localhost"):
        loopback = [ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1")]
        if not any(_is_allowed(address, allowed_private_cidrs) for address in loopback):
            raise _private(target.host, loopback[0])
    with suppress(ValueError):
        address = ipaddress.ip_address(target.host)
        if not _is_allowed(address, allowed_private_cidrs):
            raise _private(target.host, address)


def _private(host: str, address: IpAddress) -> Refused:
    meant = _meant(address)
    named = host if host in (str(address), str(meant)) else f"{host} ({meant})"
    line = f'allowed_private_cidrs = ["{meant}/{meant.max_prefixlen}"]'
    return Refused(
        f"{named} is not a public address",
        f"If it is a receiver of yours, add this line to [webhooks] in config.toml, and restart: {line} (webhooks.allowed_private_cidrs)",
    )


def _meant(address: IpAddress) -> IpAddress:
    """The IPv4 address that an IPv6 one stands for, where it does."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _is_allowed(address: IpAddress, allowed_private_cidrs: Sequence[str]) -> bool:
    meant = _meant(address)
    if any(meant in network for network in _networks(tuple(allowed_private_cidrs))):
        return True
    if meant.is_multicast or meant.is_reserved or not meant.is_global or (meant.version == 6 and meant not in _IPV6_UNICAST):
        return False
    return not any(meant in network for network in _NOT_PUBLIC)


@lru_cache(maxsize=8)
def _networks(cidrs: tuple[str, ...]) -> tuple[IpNetwork, ...]:
    return tuple(ipaddress.ip_network(cidr) for cidr in cidrs)


def resolve(name: str, port: int) -> list[str]:
    """Return the addresses of a name, as this machine looks it up. Raises OSError."""
    return list(dict.fromkeys(str(found[4][0]) for found in socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)))


def post(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    *,
    timeout_seconds: int,
    allowed_private_cidrs: Sequence[str],
    resolver: Resolver = resolve,
) -> Outcome:
    """POST `body` to `url`; whatever becomes of it is told in the outcome. All of it together takes `timeout_seconds` at most."""
    began = clock.monotonic_ms()
    deadline = began + timeout_seconds * 1000
    status_code = excerpt = retry_after = error = None
    try:
        target = parse(url)
        with _connected(target, deadline, allowed_private_cidrs, resolver) as connection:
            connection.request("POST", target.path, body, dict(headers))
            answer = connection.getresponse()
            status_code, retry_after = answer.status, answer.getheader("Retry-After")
            # A redirect leads to an address that nobody checked.
            error = f"Redirects are not followed (to {answer.getheader('Location', '')})" if 300 <= status_code < 400 else None
            content = answer.read(_MAX_ANSWER_BYTES)
            excerpt = content.decode("utf-8", "replace")[:_EXCERPT_CHARACTERS]
            if answer.length and len(content) < _MAX_ANSWER_BYTES:
                error = error or "The answer broke off"
    except Refused as refusal:
        error = f"Refused: {refusal}" + (f". {refusal.mend}" if refusal.mend else "")
    except TimeoutError:
        error = f"No complete answer within {timeout_seconds} seconds"
    except OSError as failure:
        error = str(failure)
    except (http.client.HTTPException, UnicodeError) as failure:
        error = f"The answer can't be read: {type(failure).__name__}: {failure}"
    return Outcome(status_code, excerpt, retry_after, error and _one_line(error), clock.monotonic_ms() - began)


def _one_line(text: str) -> str:
    """What a receiver sent may be in it, and it goes to a log."""
    return " ".join("".join(c if c.isprintable() else " " for c in text[:_LONGEST_ERROR]).split()) or "No answer"


@contextmanager
def _connected(
    target: Target, deadline: int, allowed_private_cidrs: Sequence[str], resolver: Resolver
) -> Iterator[http.client.HTTPConnection]:
    """A connection to an address of `target` that was checked; broken off at `deadline`, which is a TimeoutError then."""
    require_allowed(target, allowed_private_cidrs)
    addresses = _checked_addresses(target, _resolved(target, deadline, resolver), allowed_private_cidrs)
    plain = _first_that_answers(addresses, target.port, deadline)
    # What shuts this copy of the socket shuts the connection, also in the middle of a TLS handshake, which takes the original away.
    guard, over = plain.dup(), threading.Event()
    watchdog = threading.Timer(_seconds_left(deadline), _break_off, (guard, over))
    watchdog.daemon = True
    watchdog.start()
    connection = http.client.HTTPConnection(target.host, target.port)
    connection.default_port = _DEFAULT_PORTS[target.scheme]
    try:
        connection.sock = plain
        if target.scheme == "https":
            connection.sock = _tls().wrap_socket(plain, server_hostname=target.host)
        yield connection
        if over.is_set():
            raise TimeoutError
    except (OSError, http.client.HTTPException):
        if over.is_set():
            raise TimeoutError from None
        raise
    finally:
        watchdog.cancel()
        connection.close()
        plain.close()
        guard.close()


def _break_off(guard: socket.socket, over: threading.Event) -> None:
    over.set()
    with suppress(OSError):  # it has ended in this very moment
        guard.shutdown(socket.SHUT_RDWR)


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


def _resolved(target: Target, deadline: int, resolver: Resolver) -> Sequence[str]:
    """The addresses of a target; a resolver that takes too long is left behind. Raises OSError, TimeoutError."""
    with suppress(ValueError):
        return [str(ipaddress.ip_address(target.host))]
    found: list[Sequence[str] | Exception] = []

    def look_up() -> None:
        try:
            found.append(resolver(target.host, target.port))
        except Exception as error:
            found.append(error)

    thread = threading.Thread(target=look_up, name="look-up", daemon=True)
    thread.start()
    thread.join(_seconds_left(deadline))
    if not found:
        raise TimeoutError
    if isinstance(found[0], Exception):
        raise OSError(f"{target.host} can't be looked up: {found[0]}")
    return found[0]


def _checked_addresses(target: Target, addresses: Sequence[str], allowed_private_cidrs: Sequence[str]) -> list[str]:
    """Those addresses that may be called. Raises Refused when none may."""
    parsed = [ipaddress.ip_address(address.partition("%")[0]) for address in addresses]
    allowed = [str(address) for address in parsed if _is_allowed(address, allowed_private_cidrs)]
    if not allowed:
        raise _private(target.host, parsed[0]) if parsed else Refused(f"{target.host} has no address")
    return allowed


def _first_that_answers(addresses: Sequence[str], port: int, deadline: int) -> socket.socket:
    """Connect to one of `addresses`. Raises OSError, TimeoutError."""
    for address in addresses[:-1]:
        with suppress(OSError):
            return socket.create_connection((address, port), timeout=_seconds_left(deadline) / 2)
    return socket.create_connection((addresses[-1], port), timeout=_seconds_left(deadline))


def _seconds_left(deadline: int) -> float:
    left = (deadline - clock.monotonic_ms()) / 1000
    if left <= 0:
        raise TimeoutError
    return left
