"""Nothing that a outsider sends begins a line of the log, or commands the terminal that shows it."""

from __future__ import annotations

import json
import logging
import sys

import pytest

from tests.support.appliance import Appliance
from uploadkit.observability.logging import JsonFormatter, TextFormatter
from uploadkit.web import surfaces

EVIL = "a\n2026-01-01T00:00:00.000Z INFO uploadkit.access request status=200\r\x1b[2J\x1b]0;title\x07\x7f\x85\u2028\u2029\u202e\udc80b"
HARMLESS_TO_SEE = "Grüße, 世界"


def record(message: str, **fields: str) -> logging.LogRecord:
    made = logging.LogRecord("uploadkit", logging.WARNING, "", 0, message, (), None)
    vars(made).update(fields)
    try:
        raise ValueError(message)
    except ValueError:
        made.exc_info = sys.exc_info()
    return made


def test_a_line_of_text_stays_one_line() -> None:
    lines = TextFormatter().format(record(EVIL, path=EVIL, told=HARMLESS_TO_SEE)).split("\n")
    assert all(line.isprintable() for line in lines)
    assert [line for line in lines if line[:4] == "2026"] == lines[:1], "tracebacks are indented"
    assert lines[0].count("a\\n2026") == 2
    assert "\\x1b[2J" in lines[0]
    assert HARMLESS_TO_SEE in lines[0]


def test_a_line_of_json_is_one_object() -> None:
    line = JsonFormatter().format(record(EVIL, path=EVIL))
    assert len(line.splitlines()) == 1
    assert "\x1b" not in line
    assert json.loads(line)["path"].startswith("a\n2026")


@pytest.mark.parametrize("path", ["/api/v1/files/", "/f/", "/dashboard/", "/api/uploadkit/", "/sdk/api/v1/files/", "/"])
def test_what_stands_in_a_path_header_or_name_forges_no_line(appliance: Appliance, path: str) -> None:
    began = len(appliance.log())
    evil = "x%0A2026-01-01T00:00:00.000Z%20INFO%20forged%0D%1B%5B2J%C2%85%E2%80%A8%E2%80%AE%ED%B2%80%FF"
    headers = {"User-Agent": "forged: \xe9\x85", "Referer": "forged", "X-Request-Id": "forged", "x-api-key": appliance.key}
    headers |= {"X-Forwarded-For": "fe80::1%forged status=200", "Cookie": "uploadkit_session_8080=forged\xff"}
    told = appliance.fetch("GET", f"{appliance.base}{path}{evil}?a=forged", headers=headers)
    assert told.status in (302, 400, 401, 404)
    appliance.request(5, "forged \u202e\u2028name")
    log = appliance.log()[began:]
    assert f"request_id={told.headers['X-Request-Id']}" in log
    for line in log.splitlines():
        assert line.isprintable()
        assert "forged" not in line.replace("%20INFO%20forged", ""), "of what is sent, only the path is logged, and that quoted"


@pytest.mark.parametrize("kind", ["uks_", "ukt_", "uk_live_", "uk_test_", "whsec_"])
def test_a_secret_in_a_path_is_not_logged(kind: str) -> None:
    """A set-up link whose # got lost, a key that was pasted into the address: the path is logged."""
    rest = "ab/c+D1=" if kind == "whsec_" else "abc-D_1"
    assert surfaces.redacted(f"/dashboard/setup/{kind}{rest}") == f"/dashboard/setup/{kind}..."


@pytest.mark.parametrize("path", ["/", "/f/", "/api/uploadkit/", "/dashboard/"])
def test_a_long_address_makes_a_short_line(appliance: Appliance, path: str) -> None:
    began = len(appliance.log())
    told = appliance.fetch("GET", f"{appliance.base}{path}{'%22' * 15_000}")
    assert told.status in (400, 404)
    assert len(told.body) < 100_000
    line = next(line for line in appliance.log()[began:].splitlines() if told.headers["X-Request-Id"] in line)
    assert len(line) < 5_000, "it had 45,000 characters"


def test_an_address_is_not_longer_than_anybody_needs(appliance: Appliance) -> None:
    """Taking thousands of parameters apart costs more than all else of a request."""
    key = {"x-api-key": appliance.key}
    for path in ("/f/x", "/api/v1/files", "/api/uploadkit/x", "/dashboard/sign-in", "/healthz", "/docs"):
        assert appliance.fetch("GET", f"{appliance.base}{path}?{'a&' * 5_000}", headers=key).status == 400, path
    assert appliance.call("GET", f"/files?search={'%F0%9F%98%80' * 255}&cursor={'x' * 1000}").code == "VALIDATION_ERROR"
    assert appliance.call("GET", f"/files?search={'%F0%9F%98%80' * 255}").status == 200
    assert appliance.call("GET", f"/files/{'%F0%9F%98%80' * 1024}").code == "NOT_FOUND"
