"""What holds for every answer: JSON errors, request ids, CORS, health, pages."""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path

import pytest

from tests.appliance import Appliance, running


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "expected"),
    [
        ("GET", "/nowhere", None, {}, (404, "NOT_FOUND")),
        ("GET", "/upload/request", None, {}, (405, "METHOD_NOT_ALLOWED")),
        ("PUT", "/files", None, {}, (405, "METHOD_NOT_ALLOWED")),
        ("POST", "/upload/request", b"{}", {"Content-Type": "text/plain"}, (415, "UNSUPPORTED_MEDIA_TYPE")),
        ("POST", "/upload/request", b"", {"Content-Type": ""}, (415, "UNSUPPORTED_MEDIA_TYPE")),
        ("POST", "/upload/request", b"", {}, (400, "VALIDATION_ERROR")),
        ("POST", "/upload/request", b"{", {}, (400, "VALIDATION_ERROR")),
        ("POST", "/upload/request", b"\xff\xfe", {}, (400, "VALIDATION_ERROR")),
        ("POST", "/upload/request", b'{"fileName":"\\ud800"}', {}, (400, "VALIDATION_ERROR")),
        ("POST", "/upload/request", b"[" * 100_000, {}, (400, "VALIDATION_ERROR")),
        ("POST", "/upload/request", b'{"a":' * 5000 + b"1" + b"}" * 5000, {}, (400, "VALIDATION_ERROR")),
        ("POST", "/upload/request", b"[]", {}, (400, "VALIDATION_ERROR")),
        ("POST", "/upload/request", b"null", {}, (400, "VALIDATION_ERROR")),
        ("POST", "/upload/request", b"NaN", {}, (400, "VALIDATION_ERROR")),
        ("POST", "/upload/request", b" " * (1024**2 + 1), {}, (413, "PAYLOAD_TOO_LARGE")),
        ("POST", "/upload/request", b'{"fileSize":' + b"9" * 400 + b"}", {}, (400, "VALIDATION_ERROR")),
        ("POST", "/upload/complete", b'{"fileId":"\\u0000"}', {}, (404, "UPLOAD_NOT_FOUND")),
        ("GET", "/files/%00", None, {}, (404, "NOT_FOUND")),
        ("GET", "/files/%FF%FE", None, {}, (404, "NOT_FOUND")),
        ("GET", "/files/a//b/../c", None, {}, (404, "NOT_FOUND")),
    ],
)
def test_every_failure_is_json(
    appliance: Appliance, method: str, path: str, body: bytes | None, headers: dict[str, str], expected: tuple[int, str]
) -> None:
    answer = appliance.call(method, path, body, headers=headers)
    assert (answer.status, answer.code) == expected
    assert answer.headers["Content-Type"] == "application/json"
    assert set(answer.json["error"]) <= {"code", "message", "suggestion", "details"}
    assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["X-Request-Id"])


def test_a_request_is_one_log_line(appliance: Appliance) -> None:
    answer = appliance.call("GET", "/files/%0Ainjected%20line?signature=hush")
    request_id = answer.headers["X-Request-Id"]
    lines = [line for line in appliance.log().splitlines() if request_id in line]
    assert len(lines) == 1
    assert "status=404" in lines[0]
    assert "project=" in lines[0]
    assert "hush" not in lines[0]


def test_cors(appliance: Appliance) -> None:
    answer = appliance.call("OPTIONS", "/upload/request", key="", headers={"Origin": "https://example.com"})
    assert answer.status == 204
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "x-api-key" in answer.headers["Access-Control-Allow-Headers"]
    for path in ("/files", "/nowhere"):
        assert appliance.call("GET", path).headers["Access-Control-Allow-Origin"] == "*"


def test_health(appliance: Appliance) -> None:
    assert appliance.fetch("GET", f"{appliance.base}/healthz").json["status"] == "ok"
    ready = appliance.fetch("GET", f"{appliance.base}/readyz")
    assert ready.status == 200
    assert {name: check["ok"] for name, check in ready.json["checks"].items()} == dict.fromkeys(
        ("database", "storage", "scheduler", "disk"), True
    )


def test_pages_for_people(appliance: Appliance) -> None:
    front = appliance.fetch("GET", f"{appliance.base}/")
    assert b"UploadKit is running" in front.body
    assert "'unsafe-inline'" not in front.headers["Content-Security-Policy"]
    missing = appliance.fetch("GET", f"{appliance.base}/f/%3Cscript%3E", headers={"Accept": "text/html"})
    assert missing.status == 404
    assert b"<script>" not in missing.body
    assert appliance.fetch("GET", f"{appliance.base}/static/uploadkit.css").status == 200


def test_json_log_lines(tmp_path: Path) -> None:
    with running(tmp_path, SERVER__LOG_FORMAT="json") as appliance:
        appliance.call("GET", "/files")
    lines = [json.loads(line) for line in appliance.log().splitlines() if line.startswith("{")]
    assert [line["status"] for line in lines if line.get("path") == "/api/v1/files"] == [200]


def test_plain_http_is_refused_beyond_this_machine(tmp_path: Path) -> None:
    settings = {
        "SERVER__PUBLIC_URL": "http://uploads.example.com",
        "SERVER__TRUSTED_PROXIES": '["127.0.0.0/8"]',
    }
    with running(tmp_path, **settings) as appliance:
        refused = appliance.call("GET", "/files")
        assert (refused.status, refused.code) == (403, "HTTPS_REQUIRED")
        by_tls = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "198.51.100.7"}
        assert appliance.call("GET", "/files", headers=by_tls).status == 200
        assert "client=198.51.100.7" in appliance.log()
        assert appliance.call("GET", "/files", headers={"X-Forwarded-Proto": "http"}).status == 403


def test_an_untrusted_forwarded_header_means_nothing(tmp_path: Path) -> None:
    with running(tmp_path, SERVER__PUBLIC_URL="http://uploads.example.com") as appliance:
        assert appliance.call("GET", "/files", headers={"X-Forwarded-Proto": "https"}).code == "HTTPS_REQUIRED"


def test_sigterm_finishes_what_is_in_flight(tmp_path: Path) -> None:
    with running(tmp_path) as appliance, socket.create_connection(("127.0.0.1", appliance.port)) as connection:
        body = b'{"fileName":"a","fileSize":5,"contentType":"image/png","routeSlug":"default"}'
        head = f"POST /api/v1/upload/request HTTP/1.1\r\nHost: a\r\nx-api-key: {appliance.key}\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)
        assert appliance.stop() == 0
        connection.settimeout(5)
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
    assert "Traceback" not in appliance.log()
