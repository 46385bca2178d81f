"""Which URLs may be called: users name them, and this machine would do the calling. Pure; nothing is looked up here.

Refused is every way of writing a host that readers disagree about, and every address that is not a public one, unless the configuration
allows it.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

from uploadkit.core import host_names

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

MAX_URL_LENGTH = 2000
_PRINTABLE = re.compile(r"[!-~]+")
_LABEL = re.compile(host_names.label("a-z0-9_", "a-z0-9_-"), re.IGNORECASE)
# As the URL standard has it: a host whose last part is a number is an IPv4 address, in whichever notation.
_ENDS_IN_NUMBER = re.compile(r"(.*\.)?([0-9]+|0x[0-9a-f]*)", re.IGNORECASE)
DEFAULT_PORTS = {"http": 80, "https": 443}
# Where no receiver of webhooks is, but programs that may take lines of a POST for commands of theirs. First the "bad ports" of the Fetch
# standard (section 2.9), to which no browser and no Node.js sends a request, then those of databases, caches and queues.
_OTHER_PROTOCOLS = frozenset((
    1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104, 109, 110, 111, 113, 115, 117,
    119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514, 515, 526, 530, 531, 532, 540, 548, 554, 556, 563, 587, 601, 636,
    989, 990, 993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080,
    445, 1433, 1521, 3306, 5432, 5672, 6379, 9042, 11211, 27017,
))  # fmt: skip
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
# Where receivers of one's own are; metadata services, which hand out secrets, lie in between.
_OWN_NETWORKS = tuple(
    ipaddress.ip_network(network)
    for network in ("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7")
)
_METADATA = frozenset(ipaddress.ip_address(address) for address in ("100.100.100.200", "fd00:ec2::254"))
_IPV6_UNICAST = ipaddress.ip_network("2000::/3")


class Refused(Exception):
    """An address that is not called. `str(error)` says why; `suggestion` what to do about it, where something can be done.

    `for_log` is what only the appliance's owner may know, and stands in the log.
    """

    def __init__(self, reason: str, suggestion: str | None = None, for_log: str | None = None) -> None:
        super().__init__(reason)
        self.suggestion, self.for_log = suggestion, for_log


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
    if port is not None and int(port) in _OTHER_PROTOCOLS:
        raise Refused(f"must have another port: {port} belongs to another protocol than HTTP")
    return host, int(port) if port else DEFAULT_PORTS[scheme]


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
    if _is_localhost(target.host):
        loopback = [ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1")]
        if not any(is_allowed(address, allowed_private_cidrs) for address in loopback):
            raise not_public(target.host, loopback[0], allowed_private_cidrs)
    with suppress(ValueError):
        address = ipaddress.ip_address(target.host)
        if not is_allowed(address, allowed_private_cidrs):
            raise not_public(target.host, address, allowed_private_cidrs)


def _is_localhost(host: str) -> bool:
    return host == "localhost" or host.endswith(".localhost")


def not_public(host: str, address: IpAddress, allowed_private_cidrs: Sequence[str]) -> Refused:
    """Return the refusal of a host with this address, with the setting that would allow it, too, where that makes sense.

    What a name stands for inside this network is not for the person who wrote it.
    """
    meant = _meant(address)
    named = host if host in (str(address), str(meant)) else f"{host} ({meant})"
    if named != host and not _is_localhost(host):
        return unreachable(host, f"{host} is {meant}, which is not a public address; webhooks.allowed_private_cidrs can allow it")
    reason = f"{named} is not a public address"
    if meant in _METADATA or not any(meant in network for network in _OWN_NETWORKS):
        return Refused(reason)
    line = f"allowed_private_cidrs = {json.dumps([*allowed_private_cidrs, f'{meant}/{meant.max_prefixlen}'])}"
    return Refused(
        reason,
        f"If it is a receiver of yours, make the line in [webhooks] of config.toml {line} and restart (webhooks.allowed_private_cidrs)",
    )


def unreachable(host: str, for_log: str) -> Refused:
    """Return the refusal of a name that leads nowhere or inside: the same words, so that nobody learns from them which it is."""
    return Refused(
        f"{host} leads to no public address",
        "If it is a receiver of yours, the appliance's log says what its address is and how to allow it",
        for_log,
    )


def _meant(address: IpAddress) -> IpAddress:
    """The IPv4 address that an IPv6 one stands for, where it does."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def is_allowed(address: IpAddress, allowed_private_cidrs: Sequence[str]) -> bool:
    """Say whether an address is public or among those that the configuration allows."""
    meant = _meant(address)
    if is_listed(address, allowed_private_cidrs):
        return True
    if meant.is_multicast or meant.is_reserved or not meant.is_global or (meant.version == 6 and meant not in _IPV6_UNICAST):
        return False
    return not any(meant in network for network in _NOT_PUBLIC)


def is_listed(address: IpAddress, allowed_private_cidrs: Sequence[str]) -> bool:
    """Say whether the configuration allows an address by name of its network."""
    return any(_meant(address) in network for network in networks(tuple(allowed_private_cidrs)))


@lru_cache(maxsize=8)
def networks(cidrs: tuple[str, ...]) -> tuple[IpNetwork, ...]:
    """Return the networks of a setting that lists them, such as `("10.0.0.0/8",)`, each setting read once. Raises ValueError."""
    return tuple(ipaddress.ip_network(cidr) for cidr in cidrs)
