"""Is this webhook delivery from the appliance? By the headers of Standard Webhooks, with nothing but the standard library."""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import time
from collections.abc import Iterable, Mapping
from typing import Any

from uploadkit.client.errors import UploadKitWebhookError

_MOST_SECONDS_APART = 300
_MOST_DIGITS = 15
_FEWEST_SECRET_BYTES = 24  # a setting that is empty or cut off must not let everybody in


def verify_webhook(body: bytes, headers: Mapping[str, str], secrets: str | Iterable[str]) -> dict[str, Any]:
    """Return the event that a delivery brings.

    `body` is the request's body, byte for byte; `headers` are its headers, in any case; `secrets` are both secrets that `app.py webhooks
    secrets` shows, as a list or with a space between. Deliveries may come more than once: remember the event's `id`.
    Raises UploadKitWebhookError when the signature is not of these secrets, or older (or newer) than five minutes.
    """
    given = {name.lower(): value for name, value in headers.items()}
    event_id, timestamp = given.get("webhook-id", ""), given.get("webhook-timestamp", "")
    if (
        not (timestamp.isascii() and timestamp.isdecimal() and len(timestamp) <= _MOST_DIGITS)
        or abs(time.time() - int(timestamp)) > _MOST_SECONDS_APART
    ):
        raise UploadKitWebhookError("the webhook has no timestamp, or not one of the last five minutes", "Check this machine's clock")
    signed = f"{event_id}.{timestamp}.".encode("utf-8", "replace") + body
    expected = [hmac.digest(_key(secret), signed, "sha256") for secret in (secrets.split() if isinstance(secrets, str) else secrets)]
    for version, _, signature in (one.partition(",") for one in given.get("webhook-signature", "").split()):
        if version == "v1" and any(hmac.compare_digest(_decoded(signature), each) for each in expected):
            event: dict[str, Any] = json.loads(body)
            return event
    raise UploadKitWebhookError(
        "the webhook's signature is not of these secrets", "Verify the body as it came; 'app.py webhooks secrets' shows both secrets"
    )


def _key(secret: str) -> bytes:
    key = _decoded(secret.removeprefix("whsec_"))
    if len(key) < _FEWEST_SECRET_BYTES:
        raise ValueError("a webhook secret looks like whsec_ and 44 characters of base64")
    return key


def _decoded(signature: str) -> bytes:
    try:
        return base64.b64decode(signature, validate=True)
    except (binascii.Error, ValueError):
        return b""
