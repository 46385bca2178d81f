"""Every address that there is, with bodies and headers that nobody means well with: never a 500, always the documented shape."""

from __future__ import annotations

import hmac
import json
import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest
from argon2 import PasswordHasher
from flask import Flask

from tests.conftest import App
from uploadkit.auth import admins, passwords
from uploadkit.auth.actors import CommandLine
from uploadkit.files import upload_tokens

JSON = "application/json"
WIDE = {f"k{number}": number for number in range(4_000)}
BODIES: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", JSON),
    "no JSON": (b"{", JSON),
    "an array": (b"[1]", JSON),
    "a string": (b'"x"', JSON),
    "NaN": (b'{"fileSize":NaN}', JSON),
    "other bytes": (b"\xff\xfe\x00", JSON),
    "UTF-16": ('{"fileId":"x"}'.encode("utf-16"), JSON),
    "a byte order mark": (b'\xef\xbb\xbf{"fileId":"x"}', JSON),
    "deep arrays": (b'{"metadata":{"a":' + b"[" * 20_000 + b"]" * 20_000 + b"}}", JSON),
    "deep objects": (b'{"metadata":' + b'{"a":' * 900 + b"1" + b"}" * 900 + b"}", JSON),
    "wide": (json.dumps({"metadata": WIDE, **WIDE}).encode(), JSON),
    "a wide list": (json.dumps({"keys": ["x"] * 4_000, "parts": [{}] * 4_000, "partNumbers": [1] * 4_000}).encode(), JSON),
    "a number of many digits": (b'{"fileSize":' + b"9" * 20_000 + b',"expiresIn":1e400,"maxFiles":-0}', JSON),
    "a long string": (b'{"fileName":"' + b"a" * 100_000 + b'","fileId":"' + b"b" * 50_000 + b'"}', JSON),
    "half a surrogate pair": (b'{"fileName":"\\ud800","fileId":"\\udfff","name":"\\ud800","slug":"\\ud800","key":"\\ud800"}', JSON),
    "NUL": (b'{"fileName":"\\u0000","fileId":"\\u0000","name":"\\u0000","keys":["\\u0000"],"tier":"\\u0000"}', JSON),
    "twice the same name": (b'{"fileId":"a","fileId":"b","name":"a","name":1,"keys":["a"],"keys":1}', JSON),
    "names of Python": (b'{"__class__":1,"__proto__":{"a":1},"constructor":1,"self":1,"":1}', JSON),
    "the wrong types": (
        json.dumps({name: [{}] for name in ("fileId", "fileName", "fileSize", "keys", "name", "metadata", "slug")}).encode(),
        JSON,
    ),
    "a form": (b"fileId=x&name=%00%ff&email=%ed%a0%80&form_token=%f0", "application/x-www-form-urlencoded"),
    "a form of many fields": (b"&".join(b"a%d=b" % n for n in range(5_000)), "application/x-www-form-urlencoded"),
    "parts of a form without an end": (b"--x\r\nContent-Disposition: form-data; name=" + b"a" * 5_000, "multipart/form-data; boundary=x"),
    "parts of a form without a boundary": (b"--x", "multipart/form-data"),
    "XML": (b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>', "application/xml"),
    "an odd type": (b"{}", "application/json; charset=\xff; boundary=\x80"),
}
ODD = "\xff\xfe'\"\\%00%0d%0a<script>{{7*7}}${7*7}"
HEADERS = {
    "Idempotency-Key": ODD,
    "Origin": ODD,
    "Range": "bytes=9999999999999999999999-",
    "If-Modified-Since": ODD,
    "If-None-Match": ODD,
    "Accept": "text/html;q=\xff,*/*;q=99999,;;;,",
    "Accept-Language": ODD,
    "Cookie": "uploadkit_session_8080=\xff\xed\xa0\x80; uploadkit_visitor_8080=%00; =; a",
    "X-Form-Token": ODD,
    "X-Forwarded-For": ODD,
    "X-Forwarded-Proto": ODD,
    "User-Agent": ODD,
    "x-uploadkit-version": ODD,
}
# They end the session, or take seconds, whatever the body.
LASTING = {"/dashboard/sign-out", "/dashboard/storage/doctor"}
QUERY = "?limit=%ff&cursor=%00&status=%ed%a0%80&search=%25%5f%22*&since=9999999999999&until=-1&expires=%00&signature=%f0&next=//x"
PLACES = ["%00", "%ff'%22;--", "..%2f..%2fetc%2fpasswd", "%ed%a0%80", "a" * 3_000]


def addresses(wsgi: Flask, place: str, token: str) -> Iterator[tuple[str, str]]:
    """Method and path of every rule, with `place` for each of its variables."""
    fixed = {"token": token, "environment": "live", "slug": "default"}
    for rule in wsgi.url_map.iter_rules():
        path = re.sub(r"<(?:[^:<>]*:)?(\w+)>", lambda match: fixed.get(match[1], place), rule.rule)
        for method in (rule.methods or set()) - {"OPTIONS", "HEAD"}:
            yield method, path


@pytest.fixture(autouse=True)
def cheap_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are meant to cost a tenth of a second each."""
    hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    monkeypatch.setattr(passwords, "_hasher", hasher)
    monkeypatch.setattr(passwords, "_NOBODY", hasher.hash("nobody"))


def signed_in(app: App) -> str:
    """The cookie of an admin's session."""
    config = app.ctx.config
    admins.set_up(admins.make_setup_link(config, CommandLine()).partition("#")[2], "anna@example.com", "long enough it is")
    return admins.sign_in(config, "anna@example.com", "long enough it is", "127.0.0.1", "")


def test_hostile_bodies_everywhere(app: App, caplog: pytest.LogCaptureFixture) -> None:
    wsgi, session = app.client().application, signed_in(app)
    token = upload_tokens.issue_token(app.ctx.config, app.caller, ["default"], {}).plaintext
    caplog.set_level(logging.ERROR)
    client = wsgi.test_client()
    client.set_cookie("uploadkit_session_8080", session)
    form_token = hmac.digest(session.encode(), b"form", "sha256").hex()
    for method, path in sorted(set(addresses(wsgi, "x", token))):
        if method == "GET" or path in LASTING:
            continue
        for name, (body, content_type) in BODIES.items():
            headers = {"x-api-key": app.api_key, "Content-Type": content_type, "X-Form-Token": form_token}
            answer = client.open(path, method=method, data=body, headers=headers, buffered=True)
            expect_harmless(answer, f"{method} {path} with {name}")
    assert [record.getMessage() for record in caplog.records] == []


def test_hostile_headers_paths_and_queries_everywhere(app: App, caplog: pytest.LogCaptureFixture) -> None:
    wsgi, session = app.client().application, signed_in(app)
    app.ctx.signals.running = lambda: True
    caplog.set_level(logging.ERROR)
    strange, plain = wsgi.test_client(), wsgi.test_client()
    plain.set_cookie("uploadkit_session_8080", session)
    for method, path in sorted({address for place in PLACES for address in addresses(wsgi, place, place)}):
        for client, headers in ((strange, HEADERS), (plain, {"x-api-key": app.api_key})):
            body = b"{}" if method not in ("GET", "DELETE") else None
            sent = {**headers, "Content-Type": JSON} if body else headers
            answer = client.open(path + QUERY, method=method, data=body, headers=sent, buffered=True)
            expect_harmless(answer, f"{method} {path}")
    assert [record.getMessage() for record in caplog.records] == []


def expect_harmless(answer: Any, what: str) -> None:
    assert answer.status_code < 500 or answer.json["error"]["code"] == "NOT_IMPLEMENTED", (what, answer.text)
    if what.split()[1].startswith(("/api/", "/sdk/")) and answer.status_code >= 400:
        assert answer.mimetype == JSON, what
        assert set(answer.json["error"]) <= {"code", "message", "suggestion", "details", "type"}, what
    for name, value in answer.headers:
        assert value.isprintable(), (what, name)
    assert answer.headers["X-Content-Type-Options"] == "nosniff", what
    assert b"<script>{{7*7}}" not in answer.data, what
    assert b"Traceback" not in answer.data, what
