"""Signatures, held against the verifiers that receivers really use."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import pytest
from qstash import Receiver
from qstash.errors import SignatureError
from standardwebhooks import Webhook, WebhookVerificationError

from uploadkit.webhooks import signatures
from uploadkit.webhooks.signatures import Secrets, new_secret

URL = "https://example.com/hook"
BODY = json.dumps({"id": "1", "file": {"name": "é ☃.jpg"}}).encode()


def signed(secrets: Secrets, *, age_seconds: int = 0, body: bytes = BODY) -> dict[str, str]:
    return signatures.headers(secrets, "event-1", "attempt-1", URL, body, int((time.time() - age_seconds) * 1000))


@pytest.fixture
def secrets() -> Secrets:
    return Secrets(new_secret(), new_secret())


def cloud_accepts(current: str, following: str, headers: dict[str, str], body: bytes = BODY, url: str = URL) -> bool:
    try:
        Receiver(current, following).verify(signature=headers["Upstash-Signature"], body=body.decode(), url=url)
    except SignatureError:
        return False
    return True


def standard_accepts(secret: str, headers: dict[str, str], body: bytes = BODY) -> bool:
    try:
        Webhook(secret).verify(body, headers)
    except WebhookVerificationError:
        return False
    return True


def test_both_verifiers_accept_ours(secrets: Secrets) -> None:
    headers = signed(secrets)
    assert cloud_accepts(secrets.current, secrets.next, headers)
    assert standard_accepts(secrets.current, headers)
    assert standard_accepts(secrets.next, headers)
    assert headers["webhook-id"] == "event-1"


@pytest.mark.parametrize("changed", [BODY + b" ", BODY.replace(b"1", b"2"), b"{}"])
def test_both_refuse_a_changed_body(secrets: Secrets, changed: bytes) -> None:
    headers = signed(secrets)
    assert not cloud_accepts(secrets.current, secrets.next, headers, changed)
    assert not standard_accepts(secrets.current, headers, changed)


def test_both_refuse_an_old_one(secrets: Secrets) -> None:
    headers = signed(secrets, age_seconds=301)
    assert not cloud_accepts(secrets.current, secrets.next, headers)
    assert not standard_accepts(secrets.current, headers)
    recent = signed(secrets, age_seconds=240)
    assert cloud_accepts(secrets.current, secrets.next, recent)
    assert standard_accepts(secrets.current, recent)


def test_both_refuse_a_timestamp_or_an_id_that_was_changed(secrets: Secrets) -> None:
    headers = signed(secrets)
    assert not standard_accepts(secrets.current, headers | {"webhook-timestamp": str(int(headers["webhook-timestamp"]) + 1)})
    assert not standard_accepts(secrets.current, headers | {"webhook-id": "event-2"})


def test_both_refuse_what_others_signed(secrets: Secrets) -> None:
    headers = signed(Secrets(new_secret(), new_secret()))
    assert not cloud_accepts(secrets.current, secrets.next, headers)
    assert not standard_accepts(secrets.current, headers)
    assert not cloud_accepts(secrets.current, secrets.next, signed(secrets), url="https://example.com/other")


def test_a_rotation_breaks_no_receiver_that_knows_both(secrets: Secrets) -> None:
    rotated = Secrets(secrets.next, new_secret())
    after = signed(rotated)
    assert cloud_accepts(secrets.current, secrets.next, after), "it still has the pair of before"
    assert standard_accepts(secrets.next, after)
    assert cloud_accepts(rotated.current, rotated.next, signed(secrets)) is False, "the pair of after does not know the retired one"


def test_the_jwt_is_what_the_cloud_sends(secrets: Secrets) -> None:
    now = int(time.time())
    header, payload, _ = signed(secrets)["Upstash-Signature"].split(".")
    assert _decoded(header) == {"alg": "HS256", "typ": "JWT"}
    claims = _decoded(payload)
    assert set(claims) == {"iss", "sub", "iat", "nbf", "exp", "jti", "body"}
    assert (claims["iss"], claims["sub"], claims["jti"]) == ("Upstash", URL, "attempt-1")
    assert abs(claims["iat"] - (now - 60)) <= 1
    assert claims["iat"] == claims["nbf"]
    assert claims["exp"] == claims["iat"] + 360


def test_secrets_are_long_random_and_out_of_sight(secrets: Secrets) -> None:
    assert len(base64.b64decode(secrets.current.removeprefix("whsec_"))) == 32
    assert len({new_secret() for _ in range(100)}) == 100
    assert "whsec_" not in repr(secrets)


def _decoded(part: str) -> Any:
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
