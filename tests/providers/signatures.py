"""AWS Signature Version 4 as a provider checks it. Says what is wrong with a request; each provider has words of its own for that.

Source: AWS, "Authenticating Requests (AWS Signature Version 4)".
"""

from __future__ import annotations

import calendar
import hashlib
import hmac
import time
from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Literal
from urllib.parse import parse_qsl, quote, unquote, urlsplit

Wrong = Literal["unsigned", "malformed", "region", "unknown-key", "skewed", "expired", "headers-not-signed", "signature", "body"]
_MOST_SKEW_SECONDS = 900
_STREAMED = "STREAMING-"


class Refusal(Exception):
    """Why a request is refused."""

    def __init__(self, wrong: Wrong) -> None:
        super().__init__(wrong)
        self.wrong = wrong


@dataclass(frozen=True)
class _Claim:
    """What a request says of itself."""

    credential: str
    stamp: str
    signed_headers: str
    signature: str
    payload: str
    expires_seconds: int | None


def check(
    method: str,
    target: str,
    headers: Mapping[str, str],
    body: bytes,
    secrets: Mapping[str, str],
    regions: Set[str],
    now: float,
    query_stands_in: bool = False,
) -> None:
    """Raise Refusal unless one of the key ids in `secrets` signed this request for one of `regions` (none: for any).

    `headers` have small names; `target` is the path with its query, as it was sent. With `query_stands_in`, the query says what a header
    would that is signed and was not sent, as MinIO has it.
    """
    parts = urlsplit(target)
    asked = parse_qsl(parts.query, keep_blank_values=True)
    claim = _claim(dict(asked), headers)
    key_id, _, scope = claim.credential.partition("/")
    try:
        day, region, service, last = scope.split("/")
        at = calendar.timegm(time.strptime(claim.stamp, "%Y%m%dT%H%M%SZ"))
    except ValueError:
        raise Refusal("malformed") from None
    if key_id not in secrets:
        raise Refusal("unknown-key")
    if (service, last, day) != ("s3", "aws4_request", claim.stamp[:8]):
        raise Refusal("malformed")
    if regions and region not in regions:
        raise Refusal("region")
    if claim.expires_seconds is None and abs(now - at) > _MOST_SKEW_SECONDS:
        raise Refusal("skewed")
    if claim.expires_seconds is not None and not at - _MOST_SKEW_SECONDS <= now < at + claim.expires_seconds:
        raise Refusal("expired")
    names = claim.signed_headers.split(";")
    if "host" not in names or any(name.startswith("x-amz-") and name not in names for name in headers):
        raise Refusal("headers-not-signed")
    if any(name not in headers and not (query_stands_in and name in dict(asked)) for name in names):
        raise Refusal("signature")
    query = sorted((_quoted(name), _quoted(value)) for name, value in asked if name != "X-Amz-Signature")
    canonical = "\n".join(
        [
            method,
            quote(unquote(parts.path), safe="/-_.~"),
            "&".join(f"{name}={value}" for name, value in query),
            *(f"{name}:{' '.join(headers.get(name, '').split())}" for name in names),
            "",
            claim.signed_headers,
            claim.payload,
        ]
    )
    to_sign = "\n".join(["AWS4-HMAC-SHA256", claim.stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    signing = b"AWS4" + secrets[key_id].encode()
    for step in (day, region, service, last):
        signing = hmac.digest(signing, step.encode(), "sha256")
    if not hmac.compare_digest(hmac.digest(signing, to_sign.encode(), "sha256").hex(), claim.signature):
        raise Refusal("signature")
    if (
        claim.payload != "UNSIGNED-PAYLOAD"
        and not claim.payload.startswith(_STREAMED)
        and claim.payload != hashlib.sha256(body).hexdigest()
    ):
        raise Refusal("body")


def _claim(query: Mapping[str, str], headers: Mapping[str, str]) -> _Claim:
    try:
        if "X-Amz-Signature" in query:
            return _Claim(
                query["X-Amz-Credential"],
                query["X-Amz-Date"],
                query["X-Amz-SignedHeaders"],
                query["X-Amz-Signature"],
                headers.get("x-amz-content-sha256", "UNSIGNED-PAYLOAD"),
                int(query["X-Amz-Expires"]),
            )
        algorithm, _, message = headers.get("authorization", "").partition(" ")
        if algorithm != "AWS4-HMAC-SHA256":
            raise Refusal("unsigned")
        given = dict(part.strip().split("=", 1) for part in message.split(","))
        stamp, payload = headers["x-amz-date"], headers["x-amz-content-sha256"]
        return _Claim(given["Credential"], stamp, given["SignedHeaders"], given["Signature"], payload, None)
    except (KeyError, ValueError):
        raise Refusal("malformed") from None


def _quoted(text: str) -> str:
    return quote(text, safe="-_.~")
