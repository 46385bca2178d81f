"""What proves to a receiver that a delivery is ours: the cloud's `Upstash-Signature` and the headers of Standard Webhooks. Pure.

One secret, `whsec_` and 32 random bytes in base64, serves both: Standard Webhooks takes the bytes, the JWT (HS256) the text as it
stands, which is what the `Receiver` of `qstash` and `@upstash/qstash` takes for a signing key.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass, field

import jwt

_PREFIX = "whsec_"
# Receivers refuse what is from the future; clocks differ.
_BACKDATED_SECONDS = 60
_VALID_SECONDS = 300


@dataclass(frozen=True)
class Secrets:
    """A project's two secrets, both known to its receivers; `repr()` leaves them out."""

    current: str = field(repr=False)
    next: str = field(repr=False)


def new_secret() -> str:
    """Return a secret as receivers are given it."""
    return _PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def headers(signing: Secrets, event_id: str, attempt_id: str, url: str, body: bytes, at_ms: int) -> dict[str, str]:
    """Return the signature headers of one attempt at `at_ms` (milliseconds since the epoch).

    Standard Webhooks carries a signature with each secret, so that a receiver may know either; the JWT is signed with the current one.
    """
    seconds = at_ms // 1000
    signed = f"{event_id}.{seconds}.".encode() + body
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(seconds),
        "webhook-signature": " ".join(_standard(secret, signed) for secret in (signing.current, signing.next)),
        "Upstash-Signature": _upstash(signing.current, attempt_id, url, body, seconds),
    }


def _standard(secret: str, signed: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(_PREFIX))
    return "v1," + base64.b64encode(hmac.digest(key, signed, "sha256")).decode()


def _upstash(secret: str, attempt_id: str, url: str, body: bytes, seconds: int) -> str:
    claims = {
        "iss": "Upstash",
        "sub": url,
        "iat": seconds - _BACKDATED_SECONDS,
        "nbf": seconds - _BACKDATED_SECONDS,
        "exp": seconds + _VALID_SECONDS,
        "jti": attempt_id,
        "body": base64.urlsafe_b64encode(hashlib.sha256(body).digest()).decode(),
    }
    return jwt.encode(claims, secret, algorithm="HS256")
