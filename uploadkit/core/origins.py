"""Web origins as browsers send them in `Origin`: `scheme://host[:port]`, of web sites, wrapped apps and extensions alike. Pure.

Source: RFC 6454, section 6.2.
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

_LABEL = r"[A-Za-z0-9]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?"
HOST = rf"{_LABEL}(\.{_LABEL}){{0,9}}"
PORT = r"(:([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?"
SCHEME = r"[A-Za-z][A-Za-z0-9+.-]{0,30}"
_IPV6 = r"\[[0-9A-Fa-f:.]{2,45}\]"
_ORIGIN = re.compile(rf"{SCHEME}://({HOST}|{_IPV6}){PORT}")
_DEFAULT_PORTS = {"http": 80, "https": 443}


def as_sent(text: str) -> str:
    """Return the origin `text` as browsers send it: in small letters, without the scheme's own port. Raises ValueError: it is none."""
    if not _ORIGIN.fullmatch(text):
        raise ValueError("not an origin")
    parts = urlsplit(text.lower())
    if ":" in (parts.hostname or ""):
        ipaddress.IPv6Address(parts.hostname or "")
    return text.lower().removesuffix(f":{_DEFAULT_PORTS.get(parts.scheme, '')}")
