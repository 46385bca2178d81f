"""Cursors, signed links, keys, tokens and sessions that nobody has given out, and how they are compared."""

from __future__ import annotations

import ast
import base64
import hashlib
import hmac
import inspect
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import App
from tests.support.appliance import JPEG, Appliance
from tests.support.clock import travelled_to
from uploadkit.auth import admins, api_keys, passwords, sessions
from uploadkit.auth.actors import CommandLine
from uploadkit.core import clock
from uploadkit.core.errors import NotFound, Unauthorized
from uploadkit.db.connection import execute
from uploadkit.db.models import File
from uploadkit.files import links, upload_tokens
from uploadkit.web import authentication
from uploadkit.web.dashboard import guard

Ask = Callable[[str], Any]


def cursor_of(*place: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode().rstrip("=")


# Cursors say where a page begins, nothing else. So a forged one shows other pages of what one may see anyway.


def listed(appliance: Appliance, path: str, key: str, cursor: str) -> set[str]:
    answer = appliance.call("GET", f"{path}limit=100&cursor={cursor}", key=key)
    assert answer.status == 200, answer.body
    return {item["id"] for item in answer.json["items"]}


def test_no_cursor_leads_into_another_project_or_the_sandbox(appliance: Appliance, outsider_key: str, test_key: str) -> None:
    for key in (appliance.key, outsider_key, test_key):
        for _ in range(3):
            appliance.upload(JPEG, key=key)
    for path in ("/files?", "/files?status=UPLOADED&", "/files?search=photo&", "/logs?"):
        own = {key: listed(appliance, path, key, cursor_of(2**63 - 1, "z")) for key in (appliance.key, outsider_key, test_key)}
        for key, mine in own.items():
            for other in own:
                page = appliance.call("GET", f"{path}limit=1", key=other).json
                assert listed(appliance, path, key, page["nextCursor"]) <= mine
    page = appliance.call("GET", "/files?limit=1&search=photo").json
    assert listed(appliance, "/files?status=FAILED&", appliance.key, page["nextCursor"]) <= listed(
        appliance, "/files?status=FAILED&", appliance.key, cursor_of(2**63 - 1, "")
    ), "that of another filter either"


@given(st.binary(max_size=60) | st.text(max_size=30).map(str.encode), st.integers(0, 40), st.integers(0, 255))
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_cursor_that_was_tampered_with_is_a_page_or_refused(appliance: Appliance, put_in: bytes, place: int, value: int) -> None:
    genuine = bytearray(json.dumps([clock.now_ms() << 20, "0" * 36]).encode())
    genuine[place % len(genuine)] = value
    for raw in (bytes(genuine), put_in):
        cursor = base64.urlsafe_b64encode(raw).decode().rstrip("=")
        for path in ("/files", "/logs"):
            answer = appliance.call("GET", f"{path}?cursor={cursor}")
            assert answer.status == 200 or answer.code == "VALIDATION_ERROR"


# Links.


@pytest.fixture
def linked(app: App) -> tuple[Ask, str, str, str]:
    """How to ask for a private file, its key, and what a link of an hour says of it."""
    file = File(id="f", project=app.project, environment="live", route_slug="default", key="p/default/f/a.jpg", file_name="a.jpg")
    for name, value in {"number": 1, "size_bytes": 5, "content_type": "image/jpeg", "visibility": "private", "status": "UPLOADED"}.items():
        setattr(file, name, value)
    file.expires_at = file.deadline_at = file.created_at = file.updated_at = clock.now_ms()
    file.save(force_insert=True)
    query = parse_qs(urlsplit(links.make_link(app.ctx, app.caller, file.key, 3600, download=False).url).query)

    def ask(expires: str, signature: str, key: str = file.key, *, download: bool = False) -> str:
        return links.read_url(app.ctx, key, "GET", links.SignedLinkRequest(expires, signature, download))

    assert ask(query["expires"][0], query["signature"][0])
    return ask, file.key, query["expires"][0], query["signature"][0]


def test_no_bit_of_a_link_can_be_changed(linked: tuple[Any, str, str, str]) -> None:
    ask, key, expires, signature = linked
    signed = bytes.fromhex(signature)
    forged = [bytes([*signed[:n], signed[n] ^ 1 << bit, *signed[n + 1 :]]).hex() for n in range(len(signed)) for bit in range(8)]
    forged += [signature[:-1], signature[1:], f"{signature}0", signature.upper(), f" {signature}", f"{signature}\n", "", "0" * 64, "é" * 64]
    forged += [hmac.digest(secret, f"link\n{expires}\n0\n{key}".encode(), "sha256").hex() for secret in (b"", b"\x00", key.encode())]
    forged += [hashlib.sha256(f"link\n{expires}\n0\n{key}".encode()).hexdigest()]
    for one in forged:
        if one != signature:
            with pytest.raises(NotFound):
                ask(expires, one)
    for other in (
        str(int(expires) + 1),
        f"0{expires}",
        f"+{expires}",
        f"{expires} ",
        f"{expires}\n0\n{key}",
        "",
        "9" * 5000,
        "١٢٣",
        "1e99",
        "-1",
    ):
        with pytest.raises(NotFound):
            ask(other, signature)
    for other_key in (f"{key}x", key.upper(), f"0\n{key}", key.replace("/f/", "/g/")):
        with pytest.raises(NotFound):
            ask(expires, signature, other_key)
    with pytest.raises(NotFound):
        ask(expires, signature, download=True)


def test_a_link_ends_to_the_second(linked: tuple[Any, str, str, str]) -> None:
    ask, _, expires, signature = linked
    with travelled_to(int(expires) * 1000 - 1):
        assert ask(expires, signature)
    with travelled_to(int(expires) * 1000), pytest.raises(NotFound):
        ask(expires, signature)


# Upload tokens are no JWTs: there is no algorithm to confuse. The one JWT that there is, a webhook's signature, names the only one.


def test_an_upload_token_can_not_be_made_up(app: App) -> None:
    plaintext = upload_tokens.issue_token(app.ctx.config, app.caller, ["default"], {}).plaintext
    (kept,) = execute("SELECT token_hash FROM upload_token").fetchone()
    claimed = {"sub": "default", "project": app.project.id, "exp": 2**31}
    made_up = [jwt.encode(claimed, "", algorithm="none"), jwt.encode(claimed, kept, algorithm="HS256"), kept, f"ukt_{kept[:32]}"]
    made_up += [
        plaintext[:-1],
        f"{plaintext}x",
        plaintext.upper(),
        f"{plaintext}\n",
        f" {plaintext}",
        plaintext.replace("ukt_", "uk_live_"),
    ]
    made_up += [plaintext[:n] + ("A" if plaintext[n] != "A" else "B") + plaintext[n + 1 :] for n in range(4, len(plaintext))]
    for token in made_up:
        with pytest.raises(Unauthorized):
            upload_tokens.find_caller(app.ctx.config, token)
    assert upload_tokens.find_caller(app.ctx.config, plaintext)


def test_a_key_can_not_be_made_up(app: App) -> None:
    (kept,) = execute("SELECT key_hash FROM api_key").fetchone()
    plaintext = app.api_key
    made_up = [
        kept,
        f"uk_live_{kept[:32]}",
        plaintext.replace("live", "test"),
        f"{plaintext}\n",
        plaintext.swapcase(),
        "uk_live_" + "%" * 32,
    ]
    made_up += [plaintext[:n] + ("A" if plaintext[n] != "A" else "B") + plaintext[n + 1 :] for n in range(8, len(plaintext))]
    for key in made_up:
        with pytest.raises(Unauthorized):
            api_keys.find_caller(app.ctx.config, key)
    assert api_keys.find_caller(app.ctx.config, plaintext)


# Timing. A measurement of it would be flaky. But secrets that are looked up are looked up by their hash, and those that are compared, are
# compared in constant time: that can be read.

COMPARED = [
    (authentication._presented_key, {"header", "bearer"}),
    (links._seconds_left, {"signed.signature"}),
    (guard._belongs, {"sent", "_form_token_of(secret)"}),
]
LOOKED_UP = [
    (api_keys.find_caller, "tokens.hashed(plaintext)"),
    (upload_tokens.find_caller, "tokens.hashed(plaintext)"),
    (sessions.find, "tokens.hashed(token)"),
    (admins.set_up, "tokens.hashed(token)"),
]


@pytest.mark.parametrize(("function", "secrets"), COMPARED)
def test_secrets_are_compared_in_constant_time(function: Callable[..., Any], secrets: set[str]) -> None:
    tree = ast.parse(inspect.getsource(function))
    assert "hmac.compare_digest(" in ast.unparse(tree)
    for compared in (node for node in ast.walk(tree) if isinstance(node, ast.Compare)):
        assert not {ast.unparse(side) for side in (compared.left, *compared.comparators)} & secrets, ast.unparse(compared)


@pytest.mark.parametrize(("function", "hashed"), LOOKED_UP)
def test_secrets_are_looked_up_by_their_hash(function: Callable[..., Any], hashed: str) -> None:
    assert hashed in ast.unparse(ast.parse(inspect.getsource(function)))


def test_an_unknown_admin_takes_as_long_as_a_wrong_password(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    admins.set_up(admins.make_setup_link(app.ctx.config, CommandLine()).partition("#")[2], "anna@example.com", "long enough it is")
    looked_at: list[str] = []
    real = passwords._hasher
    looking = SimpleNamespace(verify=lambda password_hash, given: looked_at.append(password_hash) or real.verify(password_hash, given))
    monkeypatch.setattr(passwords, "_hasher", looking)
    for email in ("anna@example.com", "nobody@example.com"):
        with pytest.raises(Unauthorized):
            admins.sign_in(app.ctx.config, email, "a wrong password", "127.0.0.1", "")
    costs = {password_hash.rpartition("$")[0].rpartition("$")[0] for password_hash in looked_at}
    assert (len(looked_at), len(costs)) == (2, 1), "both are hashed, at the same cost"
