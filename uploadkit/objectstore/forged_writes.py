"""The question asked of every store before it is trusted: does it take a write that nobody signed?

Nothing is signed here and nothing secret is sent: an access key *id* is all that a forger has (each presigned URL shows one).
But for the signature everything about a forged write is right, checksums and archive too: a store that refuses it for another reason has
not answered the question.
"""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
import time
import uuid
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar
from urllib.parse import urlencode

import urllib3

CONTENT = b"forged"
REFUSALS = (401, 403)
_NO_SIGNATURE = hashlib.sha256(b"not a signature").hexdigest()
_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
# What a store that is only just starting, or busy, is given before it is asked again.
_PAUSES_SECONDS = (0.1, 0.3, 1, 2)
Reply = TypeVar("Reply")
# PUTs a body with headers to a URL and returns the HTTP status.
Put = Callable[[str, bytes, Mapping[str, str]], int]


class NoClearAnswer(Exception):
    """The store answered a forged write with an error of its own, each time that it was asked."""


@dataclass(frozen=True)
class Forgery:
    """One forged write: its name for people, query string parameters, headers and body."""

    name: str
    query: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = CONTENT


def forgeries(access_key_id: str, region: str, unpacked_key: str) -> Iterator[Forgery]:
    """Yield the writes that a sound store refuses, CVE-2026-41145 and CVE-2026-40344 among them.

    A store that unpacks a forged archive has CONTENT under `unpacked_key` then.
    """
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
    archive = _archive(unpacked_key)
    snowball = {"X-Amz-Meta-Snowball-Auto-Extract": "true"}
    yield Forgery("an unsigned write")
    yield Forgery("a wrong signature in the header", headers=header)
    yield Forgery("a wrong signature in the query", query=presigned)
    by_trailer = header | _trailer(stamp, CONTENT)
    yield Forgery("an unsigned-trailer write with a wrong signature in the query", presigned, _trailer(stamp, CONTENT), _chunked(CONTENT))
    yield Forgery("an unsigned-trailer write with a wrong signature in the header", {}, by_trailer, _chunked(CONTENT))
    of_archive = header | _trailer(stamp, archive) | snowball
    yield Forgery("an unsigned-trailer archive with a wrong signature", {}, of_archive, _chunked(archive))
    plain = {name: value for name, value in of_archive.items() if name not in ("Content-Encoding", "X-Amz-Trailer")}
    yield Forgery("an archive in one piece with a wrong signature", {}, plain, archive)


def _trailer(stamp: str, body: bytes) -> dict[str, str]:
    return {
        "X-Amz-Date": stamp,
        "X-Amz-Content-Sha256": _TRAILER,
        "X-Amz-Decoded-Content-Length": str(len(body)),
        "X-Amz-Trailer": "x-amz-checksum-crc32",
        "Content-Encoding": "aws-chunked",
    }


def _chunked(body: bytes) -> bytes:
    """One chunk, its end, and the body's CRC-32 behind it. Source: AWS, "Signature calculations for trailing headers"."""
    checksum = base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()
    return b"%x\r\n%b\r\n0\r\nx-amz-checksum-crc32:%b\r\n\r\n" % (len(body), body, checksum.encode())


def _archive(key: str) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        member = tarfile.TarInfo(key)
        member.size = len(CONTENT)
        archive.addfile(member, io.BytesIO(CONTENT))
    return packed.getvalue()


def forgery_answers(url: str, access_key_id: str, region: str, unpacked_key: str, put: Put) -> Iterator[tuple[str, int]]:
    """Send every forged write to the object at `url`; yield each one's name and the HTTP status that it got. Raises what `put` raises.

    Who answers that he is out of order is asked again, some five times within 4 s.
    """
    for forgery in forgeries(access_key_id, region, unpacked_key):
        asked = url + (f"?{urlencode(forgery.query)}" if forgery.query else "")
        yield forgery.name, asked_again(partial(put, asked, forgery.body, forgery.headers), is_passing)


def is_passing(status: int) -> bool:
    """Say whether an HTTP status is no answer to the question, but that the store can't answer now."""
    return status == 429 or (status >= 500 and status != 501)


def asked_again(ask: Callable[[], Reply], is_no_answer: Callable[[Reply], bool]) -> Reply:
    """Return what `ask` returns; ask again, a few times and with pauses, while that is no answer."""
    for pause in _PAUSES_SECONDS:
        answer = ask()
        if not is_no_answer(answer):
            return answer
        time.sleep(pause)
    return ask()


def accepted_forgery(endpoint: str, bucket: str, access_key_id: str, region: str) -> str | None:
    """Send every forgery to the store at `endpoint`, on this machine; return the name of the first that was not refused, else None.

    Only 401 and 403 count as a refusal: 404 for a missing bucket already means that the caller was believed.
    The bucket need not exist. Raises NoClearAnswer, and urllib3.exceptions.HTTPError when the store can't be reached.
    """
    with urllib3.PoolManager(retries=False, timeout=10) as pool:

        def put(url: str, body: bytes, headers: Mapping[str, str]) -> int:
            return pool.request("PUT", url, body=body, headers=dict(headers), redirect=False).status

        key = f"pending/forged-{uuid.uuid4().hex}"
        for name, status in forgery_answers(f"{endpoint}/{bucket}/{key}", access_key_id, region, f"{key}-unpacked", put):
            if is_passing(status):
                raise NoClearAnswer(f"HTTP {status} to {name}")
            if status not in REFUSALS:
                return name
    return None
