"""`verify_webhook` of the Python client, against what the appliance signs and what the Standard Webhooks library signs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from standardwebhooks import Webhook

from uploadkit.client import UploadKitWebhookError, verify_webhook
from uploadkit.webhooks import signatures
from uploadkit.webhooks.signatures import Secrets, new_secret

EVENT = {"id": "event-1", "event": "onUploadComplete", "file": {"fileName": "Grüße.jpg"}}
BODY = json.dumps(EVENT).encode()
OURS = Secrets(new_secret(), new_secret())
BOTH = f"{OURS.current} {OURS.next}"


def headers(signing: Secrets = OURS, age_seconds: int = 0) -> dict[str, str]:
    at_ms = int((time.time() - age_seconds) * 1000)
    return signatures.headers(signing, "event-1", "attempt", "https://example.com", BODY, at_ms)


def test_what_the_appliance_signed() -> None:
    for secrets in (BOTH, OURS.current, OURS.next, [OURS.current, OURS.next], (new_secret(), OURS.next)):
        assert verify_webhook(BODY, headers(), secrets) == EVENT
        assert verify_webhook(BODY, {name.upper(): value for name, value in headers().items()}, secrets) == EVENT
    assert verify_webhook(BODY, headers(Secrets(OURS.next, new_secret())), BOTH) == EVENT, "after a rotation"


def test_what_the_library_signed() -> None:
    now = datetime.now(UTC)
    signature = Webhook(OURS.next).sign("event-1", now, BODY.decode())
    sent = {"webhook-id": "event-1", "webhook-timestamp": str(int(now.timestamp())), "webhook-signature": signature}
    assert verify_webhook(BODY, sent, BOTH) == EVENT
    old = now - timedelta(seconds=301)
    with pytest.raises(UploadKitWebhookError):
        verify_webhook(BODY, sent | {"webhook-timestamp": str(int(old.timestamp()))}, BOTH)


REFUSED: dict[str, Callable[[], tuple[bytes, dict[str, str], Any]]] = {
    "another body": lambda: (BODY + b" ", headers(), BOTH),
    "another id": lambda: (BODY, headers() | {"webhook-id": "event-2"}, BOTH),
    "another secret": lambda: (BODY, headers(), new_secret()),
    "no secrets": lambda: (BODY, headers(), []),
    "an empty secret": lambda: (BODY, headers(), ""),
    "too old": lambda: (BODY, headers(age_seconds=400), BOTH),
    "too new": lambda: (BODY, headers(age_seconds=-400), BOTH),
    "no headers": lambda: (BODY, {}, BOTH),
    "no time": lambda: (BODY, headers() | {"webhook-timestamp": "²"}, BOTH),
    "a time in other digits": lambda: (BODY, headers() | {"webhook-timestamp": "\uff11" * 10}, BOTH),
    "a time without an end": lambda: (BODY, headers() | {"webhook-timestamp": "9" * 5000}, BOTH),
    "half a character": lambda: (BODY, headers() | {"webhook-id": "\udc80"}, BOTH),
    "no signature": lambda: (BODY, headers() | {"webhook-signature": "v1, v1,é v2,x nonsense"}, BOTH),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str) -> None:
    with pytest.raises(UploadKitWebhookError) as refused:
        verify_webhook(*REFUSED[name]())
    assert refused.value.code == "INVALID_SIGNATURE"


@pytest.mark.parametrize("secret", ["whsec_hush", "", "whsec_", "not base64 at all, hush"])
def test_a_secret_that_can_not_be_one_is_refused_without_repeating_it(secret: str) -> None:
    with pytest.raises(ValueError, match="looks like") as refused:
        verify_webhook(BODY, headers(), [secret])
    assert "hush" not in str(refused.value)
