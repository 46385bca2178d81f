"""The question asked of every store before it is trusted: does it take a write that nobody signed?

Nothing is signed here and nothing secret is sent: an access key *id* is all that a forger has (each presigned URL shows one).
"""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode

import urllib3

_NO_SIGNATURE = hashlib.sha256(b"not a signature").hexdigest()
_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
# PUTs a body with headers to a URL and returns the HTTP status.
Put = Callable[[str, bytes, Mapping[str, str]], int]
_CHUNKED_BODY = b"6\r\nforged\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n"


@dataclass(frozen=True)
class Forgery:
    """One forged write: its name for people, query string parameters, headers and body."""

    name: str
    query: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b"forged"


def forgeries(access_key_id: str, region: str) -> Iterator[Forgery]:
    """Yield the writes that a sound store refuses, CVE-2026-41145 and CVE-2026-40344 among them. Source: storage.md section 1."""
    at = time.gmtime()
    stamp = time.strftime("%Y%m%dT%H%M%SZ", at)
    credential = f"{access_key_id}/{time.strftime('%Y%m%d', at)}/{region}/s3/aws4_request"
    presigned = {
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": credential,
        "X-Amz-Date": stamp,
        "X-Amz-Expires": "60",
        "X-Amz-SignedHeaders": "host",
        "X-Amz-Signature": _NO_SIGNATURE,
    }
    signed = "host;x-amz-content-sha256;x-amz-date"
    authorization = f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={signed}, Signature={_NO_SIGNATURE}"
    header = {"Authorization": authorization, "X-Amz-Date": stamp, "X-Amz-Content-Sha256": "UNSIGNED-PAYLOAD"}
    trailer = {
        "X-Amz-Date": stamp,
        "X-Amz-Content-Sha256": _TRAILER,
        "X-Amz-Decoded-Content-Length": "6",
        "X-Amz-Trailer": "x-amz-checksum-crc32",
        "Content-Encoding": "aws-chunked",
    }
    snowball = {"X-Amz-Meta-Snowball-Auto-Extract": "true"}
    yield Forgery("an unsigned write")
    yield Forgery("a wrong signature in the header", headers=header)
    yield Forgery("a wrong signature in the query", query=presigned)
    yield Forgery("an unsigned-trailer write with a wrong signature in the query", presigned, trailer, _CHUNKED_BODY)
    yield Forgery("an unsigned-trailer write with a wrong signature in the header", {}, header | trailer, _CHUNKED_BODY)
    yield Forgery("an unsigned-trailer archive with a wrong signature", {}, header | trailer | snowball, _CHUNKED_BODY)


def forgery_answers(url: str, access_key_id: str, region: str, put: Put) -> Iterator[tuple[str, int]]:
    """Send every forged write to the object at `url`; yield each one's name and the HTTP status that it got. Raises what `put` raises."""
    for forgery in forgeries(access_key_id, region):
        asked = url + (f"?{urlencode(forgery.query)}" if forgery.query else "")
        yield forgery.name, put(asked, forgery.body, forgery.headers)


def accepted_forgery(endpoint: str, bucket: str, access_key_id: str, region: str) -> str | None:
    """Send every forgery to the store at `endpoint`, on this machine; return the name of the first that was not refused, else None.

    Only 401 and 403 count as a refusal: 404 for a missing bucket already means that the caller was believed.
    The bucket need not exist. Raises urllib3.exceptions.HTTPError when the store can't be reached.
    """
    with urllib3.PoolManager(retries=False, timeout=10) as pool:

        def put(url: str, body: bytes, headers: Mapping[str, str]) -> int:
            return pool.request("PUT", url, body=body, headers=dict(headers), redirect=False).status

        answers = forgery_answers(f"{endpoint}/{bucket}/pending/forged-{uuid.uuid4().hex}", access_key_id, region, put)
        return next((name for name, status in answers if status not in (401, 403)), None)
