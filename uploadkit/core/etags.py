"""ETags that come from outside: what proxies, CDNs and clients make of the one that a store gave. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

_QUOTES = re.compile(r"&(?:quot|#34|#x22);", re.IGNORECASE)
# What proxies put behind an ETag when they compress: Apache "e-gzip", Caddy "e-zstd", Jetty "e--gzip", older ones "e;gzip".
_ENCODING = re.compile(r'"?(?:--?|[;:/+])(?:x-gzip|gzip|deflate|compress|br|zstd)"?$', re.IGNORECASE)


def plain_etag(given: str) -> str:
    """Return an ETag without what is said about it on the way: quotes (also `&quot;`), blanks, `W/` (RFC 9110, section 8.8.3), and the
    name of an encoding behind it. "" when nothing is left.
    """
    text = _QUOTES.sub('"', given).strip()
    if text[:2] in ("W/", "w/"):
        text = text[2:]
    return _ENCODING.sub("", text.strip()).strip(' \t"')


def same_etag(one: str, other: str) -> bool:
    """Say whether two ETags mean the same content, whatever happened to either on its way. Upper and lower case are the same."""
    return plain_etag(one).lower() == plain_etag(other).lower()


def joined_etag(md5s: Sequence[str]) -> str:
    """Return the ETag of an upload in parts that have these MD5s (hexadecimal), as S3 makes it."""
    joined = hashlib.md5(b"".join(map(bytes.fromhex, md5s)), usedforsecurity=False)
    return f"{joined.hexdigest()}-{len(md5s)}"
