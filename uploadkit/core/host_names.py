"""Host names and ports, and the origins they are in: `scheme://host[:port]`, of web sites, wrapped apps and extensions alike. Pure.

Sources: RFC 1035, section 2.3.4 (a label has up to 63 characters); RFC 6454, section 6.2 (origins).
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit


def label(edge: str = "A-Za-z0-9", inner: str = "A-Za-z0-9-") -> str:
    """Return the pattern of one part of a host name: characters `inner`, at both ends `edge`. Who is strict about `_` differs."""
    return rf"[{edge}]([{inner}]{{0,61}}[{edge}])?"


_LABEL = label(inner="A-Za-z0-9_-")
HOST = rf"{_LABEL}(\.{_LABEL}){{0,9}}"
PORT = r"(:([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?"
SCHEME = r"[A-Za-z][A-Za-z0-9+.-]{0,30}"
_IPV6 = r"\[[0-9A-Fa-f:.]{2,45}\]"
_ORIGIN = re.compile(rf"{SCHEME}://({HOST}|{_IPV6}){PORT}")
_DEFAULT_PORTS = {"http": 80, "https": 443}


def origin_as_sent(text: str) -> str:
    """Return the origin `text` as browsers send it: in small letters, without the scheme's own port. Raises ValueError: it is none."""
    if not _ORIGIN.fullmatch(text):
        raise ValueError("not an origin")
    parts = urlsplit(text.lower())
    if ":" in (parts.hostname or ""):
        ipaddress.IPv6Address(parts.hostname or "")
    return text.lower().removesuffix(f":{_DEFAULT_PORTS.get(parts.scheme, '')}")
