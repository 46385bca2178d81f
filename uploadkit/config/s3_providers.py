"""S3 providers that are known by their host names: what a bucket's region and address must be like there. Pure.

An address that is not listed here is left to the store's own answer. Sources: the providers' S3 API pages, docs/storage.md.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

# A host name, and the region that follows from it.
_REGION_IN_HOST = (
    (re.compile(r"s3\.([a-z0-9-]+)\.backblazeb2\.com"), "Backblaze B2"),
    (re.compile(r"s3(?:\.([a-z0-9-]+))?\.wasabisys\.com"), "Wasabi"),
    (re.compile(r"s3\.([a-z0-9-]+)\.amazonaws\.com"), "AWS S3"),
)
_REGIONS_OF_R2 = ("auto", "us-east-1", "wnam", "enam", "weur", "eeur", "apac", "oc")
_ONLY_TLS = ("backblazeb2.com", "r2.cloudflarestorage.com")
_HOSTS = ("r2.cloudflarestorage.com", "digitaloceanspaces.com", "wasabisys.com", "backblazeb2.com", "amazonaws.com")


def mistake(endpoint: str | None, region: str, bucket: str) -> tuple[str, str] | None:
    """Return which setting, `endpoint` or `region`, can't be right, and what to do; None when nothing is known against them."""
    parts = urlsplit(endpoint or "")
    host = parts.hostname or ""
    if not host:
        return None
    if host.startswith(f"{bucket}.") and host.endswith(_HOSTS):
        return "endpoint", f'leave the bucket out of it: "{parts.scheme}://{host.removeprefix(f"{bucket}.")}"'
    if host in ("s3.amazonaws.com", "s3-external-1.amazonaws.com"):
        return "endpoint", "AWS's global address redirects, which breaks signatures; leave endpoint empty and set region"
    if parts.scheme == "http" and host.endswith(_ONLY_TLS):
        return "endpoint", "this provider takes https:// only"
    if host.endswith("r2.cloudflarestorage.com") and region not in _REGIONS_OF_R2:
        return "region", 'write "auto", the region of every Cloudflare R2 bucket'
    for pattern, provider in _REGION_IN_HOST:
        match = pattern.fullmatch(host)
        wanted = match and (match[1] or "us-east-1")
        if wanted and region != wanted:
            return "region", f'write "{wanted}", the region of this {provider} address'
    return None
