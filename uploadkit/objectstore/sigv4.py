"""The signer: presigned S3 URLs by AWS Signature Version 4, local and without I/O.

Our own because signing is the hottest thing the appliance does and botocore derives the day's key anew for every URL;
a property test holds every URL equal, byte for byte, to botocore's. Source: AWS, "Authenticating Requests: Using Query Parameters".
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from urllib.parse import quote, urlsplit

_ALGORITHM = "AWS4-HMAC-SHA256"
_NOTHING = hashlib.sha256(b"").hexdigest()


# The parts of one upload share their key, upload id, credential and instant: each is worked out once.
@lru_cache(maxsize=1024)
def _encode(text: str) -> str:
    return quote(text, safe="-_.~")


@lru_cache(maxsize=256)
def encode_path(key: str) -> str:
    """Return an object's key as it stands in URLs, and in `x-amz-copy-source`."""
    return quote(key, safe="/-_.~")


@lru_cache(maxsize=64)
def _stamp(at_seconds: int) -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(at_seconds))


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")


@lru_cache(maxsize=8)
def _signing_key(secret_access_key: str, day: str, region: str) -> bytes:
    return _hmac(_hmac(_hmac(_hmac(b"AWS4" + secret_access_key.encode(), day), region), "s3"), "aws4_request")


@dataclass(frozen=True)
class Signer:
    """Signs URLs for one bucket. `base_url` is what stands before the key: `https://host/bucket` or `https://bucket.host`."""

    base_url: str
    region: str
    access_key_id: str
    secret_access_key: str = field(repr=False)

    @cached_property
    def _place(self) -> tuple[str, str, str]:
        """Scheme with authority, path before the key, and the value of the Host header."""
        parts = urlsplit(self.base_url)
        host = parts.netloc.removesuffix({"http": ":80", "https": ":443"}[parts.scheme])
        return f"{parts.scheme}://{parts.netloc}", parts.path, host

    def sign(self, method: str, key: str, headers: Mapping[str, str], *, at_ms: int) -> tuple[str, dict[str, str]]:
        """Return URL and headers of one request without a body on one object `key`, good from `at_ms` for 15 minutes.

        Source: AWS, "Authenticating Requests: Using the Authorization Header".
        """
        origin, base_path, host = self._place
        stamp = _stamp(at_ms // 1000)
        scope = f"{stamp[:8]}/{self.region}/s3/aws4_request"
        sent = {**headers, "X-Amz-Content-SHA256": _NOTHING, "X-Amz-Date": stamp}
        signed = {name.lower(): " ".join(value.split()) for name, value in sent.items()} | {"host": host}
        names = ";".join(sorted(signed))
        path = f"{base_path}/{encode_path(key)}"
        canonical = "\n".join([method, path, "", *(f"{name}:{signed[name]}" for name in sorted(signed)), "", names, _NOTHING])
        signature = self._signature(stamp, scope, canonical)
        credential = f"{self.access_key_id}/{scope}"
        sent["Authorization"] = f"{_ALGORITHM} Credential={credential}, SignedHeaders={names}, Signature={signature}"
        return f"{origin}{path}", sent

    def _signature(self, stamp: str, scope: str, canonical: str) -> str:
        to_sign = f"{_ALGORITHM}\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        return _hmac(_signing_key(self.secret_access_key, stamp[:8], self.region), to_sign).hex()

    def presign(
        self,
        method: str,
        key: str,
        *,
        at_ms: int,
        expires_seconds: int,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        barred: Sequence[str] = (),
    ) -> str:
        """Return a URL good for one `method` on one object `key` from `at_ms` (milliseconds since the epoch) for `expires_seconds`.

        `query` is signed and stands in the URL; `headers` are signed and must be sent exactly so by the client. `barred` names headers that
        must not be sent, for stores that take a signed header's value from the query where no header is sent (docs/decisions/0027).
        """
        query = {**(query or {}), **dict.fromkeys(barred, "")}
        headers = {**(headers or {}), **dict.fromkeys(barred, "")}
        origin, base_path, host = self._place
        stamp = _stamp(at_ms // 1000)
        scope = f"{stamp[:8]}/{self.region}/s3/aws4_request"
        signed = {name.lower(): " ".join(value.split()) for name, value in headers.items()} | {"host": host}
        names = sorted(signed)
        path = f"{base_path}/{encode_path(key)}"
        asked = [f"{_encode(name)}={_encode(value)}" for name, value in query.items()]
        asked += [
            f"X-Amz-Algorithm={_ALGORITHM}",
            f"X-Amz-Credential={_encode(f'{self.access_key_id}/{scope}')}",
            f"X-Amz-Date={stamp}",
            f"X-Amz-Expires={expires_seconds}",
            f"X-Amz-SignedHeaders={_encode(';'.join(names))}",
        ]
        canonical = "\n".join(
            [
                method,
                path,
                "&".join(sorted(asked)),
                *(f"{name}:{signed[name]}" for name in names),
                "",
                ";".join(names),
                "UNSIGNED-PAYLOAD",
            ]
        )
        signature = self._signature(stamp, scope, canonical)
        return f"{origin}{path}?{'&'.join(asked)}&X-Amz-Signature={signature}"
