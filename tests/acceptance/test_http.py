"""What holds for every answer: JSON errors, request ids, CORS, health, pages."""

from __future__ import annotations

import ctypes
import http.client
import json
import os
import re
import signal
import socket
from pathlib import Path

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.appliance import Answer, Appliance, running, wait_until


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


def stays_on_one_core(appliance: Appliance) -> None:
    """Every thread of the process is on the same core, and its store may use them all (docs/decisions/0021-one-core.md)."""
    assert appliance.process is not None
    process, allowed = psutil.Process(appliance.process.pid), os.sched_getaffinity(0)
    cores = {frozenset(os.sched_getaffinity(thread.id)) for thread in process.threads()}
    assert [len(core) for core in cores] == [1]
    assert {frozenset(os.sched_getaffinity(child.pid)) for child in process.children()} <= {frozenset(allowed)}


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
    with running(tmp_path, SERVER__LOG_FORMAT="json", SERVER__ONE_CORE="true") as appliance:
        if hasattr(os, "sched_getaffinity"):
            stays_on_one_core(appliance)
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


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "tgkill"), reason="only newer Linux can send a signal to one thread of another process")
def test_a_sigterm_that_another_thread_takes_stops_it_too(tmp_path: Path) -> None:
    with running(tmp_path) as appliance:
        assert appliance.process is not None
        pid = appliance.process.pid
        others = [int(thread) for thread in os.listdir(f"/proc/{pid}/task") if int(thread) != pid]
        assert any(ctypes.CDLL(None).tgkill(pid, other, signal.SIGTERM) == 0 for other in others), "any that is still there"
        assert appliance.process.wait(timeout=60) == 0


POST = b"POST /api/v1/upload/request HTTP/1.1\r\nHost: a\r\n"
RAW = {
    "nonsense": (b"\x00\xff\xfe\r\n\r\n", 400),
    "no request line": (b"Host: a\r\n\r\n", 400),
    "a TLS hello": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    "lower case method": (b"get / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "a header without a name": (b"GET / HTTP/1.1\r\nHost: a\r\n: a\r\n\r\n", 400),
    "a header with a space in its name": (b"GET / HTTP/1.1\r\nHost: a\r\nx y: a\r\n\r\n", 400),
    "a bare line feed": (b"GET / HTTP/1.1\r\nHost: a\r\nx: a\nb: c\r\n\r\n", 400),
    "Content-Length of letters": (POST + b"Content-Length: ten\r\n\r\n", 400),
    "Content-Length twice": (POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
    "negative Content-Length": (POST + b"Content-Length: -1\r\n\r\n", 400),
    "Content-Length of 5,000 digits": (
        POST + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n",
        400,
    ),
    "Content-Length far over the limit": (POST + b"Content-Length: 99999999999\r\n\r\n", 413),
    "chunks that are none": (POST + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n\r\n", 400),
    "a chunk that does not end": (
        POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n",
        400,
    ),
    "another Transfer-Encoding": (POST + b"Transfer-Encoding: gzip\r\n\r\n", 400),
    "an address that is none": (b"GET http://[::1/api/v1/files HTTP/1.1\r\n\r\n", 400),
    "headers too large": (b"GET /api/v1/files HTTP/1.1\r\nHost: a\r\nx: " + b"a" * 70_000 + b"\r\n\r\n", 431),
    "headers without an end": (b"GET /api/v1/files HTTP/1.1\r\nHost: a\r\n" + b"x: a\r\n" * 12_000, 431),
    "very many headers": (b"GET /api/v1/files HTTP/1.1\r\nHost: a\r\n" + b"x: a\r\n" * 300 + b"\r\n", 431),
    "a request line too large": (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", 431),
}
CODES = {400: "VALIDATION_ERROR", 413: "PAYLOAD_TOO_LARGE", 431: "HEADERS_TOO_LARGE"}


def send_raw(appliance: Appliance, raw: bytes, *, method: str | None = None) -> Answer:
    """Send bytes as they are, all of them, and only then read the answer."""
    with socket.create_connection(("127.0.0.1", appliance.port), timeout=30) as connection:
        connection.sendall(raw)
        connection.shutdown(socket.SHUT_WR)
        answer = http.client.HTTPResponse(connection, method=method)
        answer.begin()
        return Answer(answer.status, answer.headers, answer.read())


@pytest.mark.parametrize("name", RAW)
def test_what_is_no_request_gets_json_too(appliance: Appliance, name: str) -> None:
    raw, status = RAW[name]
    answer = send_raw(appliance, raw)
    assert (answer.status, answer.code) == (status, CODES[status])
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Connection"] == "close"
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    request_id = answer.headers["X-Request-Id"]
    wait_until(lambda: request_id in appliance.log(), what="its line in the log")


@given(
    st.sampled_from(sorted(RAW)) | st.binary(max_size=200),
    st.integers(0, 300),
    st.binary(max_size=8),
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_bytes_make_the_server_fail(appliance: Appliance, reported: str | bytes, place: int, inserted: bytes) -> None:
    raw = reported if isinstance(reported, bytes) else RAW[reported][0]
    raw = raw[:place] + inserted + raw[place:] + b"\r\n\r\n"
    try:
        answer = send_raw(appliance, raw, method=raw.partition(b" ")[0].decode("latin-1"))
    except http.client.RemoteDisconnected:
        pass  # there was no whole request in it
    else:
        assert answer.status < 500
    assert "Traceback" not in appliance.log()


def test_a_file_sent_to_the_api_by_mistake_gets_its_answer(appliance: Appliance) -> None:
    """Although the server does not read 64 MiB to the end: neither side may be cut off over it."""
    head = f"POST /api/v1/upload/request HTTP/1.1\r\nHost: a\r\nx-api-key: {appliance.key}\r\nContent-Length: {64 * 1024**2}\r\n\r\n"
    answer = send_raw(appliance, head.encode() + b"x" * 64 * 1024**2)
    assert (answer.status, answer.code) == (413, "PAYLOAD_TOO_LARGE")
    assert "uploadUrl" in answer.json["error"]["suggestion"]


def test_the_log_has_no_word_of_what_could_not_be_read(appliance: Appliance) -> None:
    answer = send_raw(
        appliance, b"GET /api/v1/files HTTP/1.1\r\nHost: a\r\nx-api-key: " + appliance.key.encode() + b"\r\nbad header\r\n\r\n"
    )
    assert answer.status == 400
    assert appliance.key.encode() not in answer.body
    assert appliance.key not in appliance.log()


def test_a_body_in_chunks(appliance: Appliance) -> None:
    body = json.dumps({"fileName": "a", "fileSize": 5, "contentType": "image/png", "routeSlug": "default"}).encode()
    head = f"POST /api/v1/upload/request HTTP/1.1\r\nHost: a\r\nx-api-key: {appliance.key}\r\nContent-Type: application/json\r\n"
    head += "Transfer-Encoding: chunked\r\n\r\n"
    small = send_raw(appliance, head.encode() + b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n")
    assert small.status == 200
    mebibyte = b"100000\r\n" + b" " * 1024**2 + b"\r\n"
    just_fits = b"1;a=b\r\n{\r\nffffe\r\n" + b" " * (1024**2 - 2) + b"\r\n1\r\n}\r\n0\r\n\r\n"
    fits = send_raw(appliance, head.encode() + just_fits)
    assert fits.status == 400, "as long as a body may be, whatever its framing takes"
    for large in (mebibyte + b"1\r\n \r\n", mebibyte * 18):
        answer = send_raw(appliance, head.encode() + large + b"0\r\n\r\n")
        assert (answer.status, answer.code) == (413, "PAYLOAD_TOO_LARGE")


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b'{"fileId":"x"}', "application/json, application/json"),
        (b'{"fileId":"x"}', "application/json-patch+json"),
        (b'{"fileId":"x"}', "text/plain; application/json"),
        (b"fileId=x", "application/x-www-form-urlencoded"),
    ],
)
def test_another_content_type(appliance: Appliance, body: bytes, content_type: str) -> None:
    answer = appliance.call("POST", "/upload/complete", body, headers={"Content-Type": content_type})
    assert (answer.status, answer.code) == (415, "UNSUPPORTED_MEDIA_TYPE")


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "APPLICATION/JSON", "application/json;"])
def test_a_content_type_with_more_to_it(appliance: Appliance, content_type: str) -> None:
    answer = appliance.call("POST", "/upload/complete", b'{"fileId":"x"}', headers={"Content-Type": content_type})
    assert answer.code == "UPLOAD_NOT_FOUND"


@pytest.mark.parametrize("depth", [6, 100, 900, 100_000])
def test_deep_nesting(appliance: Appliance, depth: int) -> None:
    for opened, closed in ((b'{"a":', b"}"), (b"[", b"]")):
        nested = opened * depth + b"1" + closed * depth
        body = b'{"fileId":"x","metadata":{"a":' + nested + b"}}"
        answer = appliance.call("POST", "/upload/complete", body)
        assert (answer.status, answer.code) == (400, "VALIDATION_ERROR")
        beside = appliance.call("POST", "/upload/complete", b'{"fileId":"x","unknown":' + nested + b"}")
        assert beside.code in ("UPLOAD_NOT_FOUND", "VALIDATION_ERROR")


def test_unknown_paths_and_methods(appliance: Appliance) -> None:
    for path in ("/api", "/api/", "/api/v1", "/api/v1/", "/api/v2/files", "/API/v1/files"):
        answer = appliance.fetch("GET", f"{appliance.base}{path}", headers={"Accept": "text/html"} if path.startswith("/api") else {})
        assert (answer.status, answer.code) == (404, "NOT_FOUND"), path
        assert answer.headers["X-Request-Id"]
    wrong = appliance.call("PUT", "/upload/request", key="")
    assert (wrong.status, wrong.code, wrong.headers["Allow"]) == (405, "METHOD_NOT_ALLOWED", "OPTIONS, POST")
    assert {"GET", "HEAD"} <= set(appliance.call("POST", "/files").headers["Allow"].split(", "))
    for method in ("TRACE", "BREW", "PROPFIND"):
        assert appliance.call(method, "/files").code == "METHOD_NOT_ALLOWED"


def test_an_unknown_path_takes_no_wrong_key(appliance: Appliance) -> None:
    """Else it would be a way to try keys out."""
    assert appliance.call("GET", "/nowhere", key="").status == 404
    assert appliance.call("GET", "/nowhere", key="uk_live_" + "x" * 32).status == 401


def test_head_is_get_without_a_body(appliance: Appliance) -> None:
    for path in ("/files", "/files/nowhere", "/nowhere"):
        got, head = appliance.call("GET", path), appliance.call("HEAD", path)
        assert (head.status, head.body) == (got.status, b"")
        assert head.headers["Content-Type"] == got.headers["Content-Type"]


def test_in_the_clear_options_needs_nothing_and_all_else_is_refused(tmp_path: Path) -> None:
    with running(tmp_path, SERVER__PUBLIC_URL="http://uploads.example.com") as appliance:
        for path in ("/files", "/files/a/b", "/upload/request", "/nowhere"):
            answer = appliance.call("OPTIONS", path, key="", headers={"Origin": "https://example.com"})
            assert (answer.status, answer.body) == (204, b"")
            assert answer.headers["Access-Control-Allow-Methods"] == "GET, POST, PATCH, DELETE, OPTIONS"
            assert answer.headers["Access-Control-Allow-Headers"] == (
                "Content-Type, Authorization, x-api-key, Idempotency-Key, x-uploadkit-version"
            )
            assert answer.headers["Access-Control-Max-Age"] == "86400"
            assert "Access-Control-Allow-Credentials" not in answer.headers
        for path in ("/files", "/nowhere"):
            refused = appliance.call("GET", path)
            assert (refused.status, refused.code) == (403, "HTTPS_REQUIRED")
            assert refused.headers["Access-Control-Allow-Origin"] == "*", "a page has to be able to read why"
            assert "X-RateLimit-Limit" not in refused.headers, "the key was not looked at"
        untrusted = appliance.call("GET", "/files", headers={"X-Forwarded-Proto": "https"})
        assert untrusted.code == "HTTPS_REQUIRED", "who is no trusted proxy is not believed"
        spoofed = (
            f"GET https://uploads.example.com/api/v1/files HTTP/1.1\r\nHost: a\r\nx-api-key: {appliance.key}\r\nForwarded: proto=https\r\n"
        )
        spoofed += "X-Forwarded-Proto: https\r\nX-Forwarded-Ssl: on\r\nX-Url-Scheme: https\r\n\r\n"
        assert send_raw(appliance, spoofed.encode()).code == "HTTPS_REQUIRED"
        listed = json.loads(appliance.run("keys", "list", "--json").stdout)
        assert listed[0]["lastUsedAt"] is None


def test_what_may_be_read_across_origins(appliance: Appliance) -> None:
    exposed = "X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, Retry-After, X-Request-Id"
    for key, path in ((appliance.key, "/files"), ("", "/files"), (appliance.key, "/nowhere")):
        answer = appliance.call("GET", path, key=key, headers={"Origin": "https://example.com"})
        assert answer.headers["Access-Control-Expose-Headers"] == exposed
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "Access-Control-Allow-Origin" not in appliance.fetch("GET", f"{appliance.base}/healthz").headers
