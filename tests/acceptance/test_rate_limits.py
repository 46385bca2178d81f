"""What a client sees of the rate limits: headers, 429, and who is counted for what."""

from __future__ import annotations

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conftest import App
from tests.support.appliance import Answer, Appliance, running
from tests.support.clock import travelled_to
from uploadkit.config import RateLimitsConfig
from uploadkit.coordination.rate_limits import RateLimits
from uploadkit.db.models import Project

NOW = 1_775_000_000_000
NEW_FILE = {"fileName": "a.jpg", "fileSize": 14, "contentType": "image/jpeg", "routeSlug": "default"}


def standing(answer: Answer) -> tuple[int, int, int]:
    limit, remaining, reset = (int(answer.headers[f"X-RateLimit-{name}"]) for name in ("Limit", "Remaining", "Reset"))
    return limit, remaining, reset


def burst(appliance: Appliance, key: str, requests: int) -> list[Answer]:
    """So many requests with one key from 32 threads, which begin together."""
    start = threading.Barrier(32)

    def go(number: int) -> Answer:
        if number < 32:
            start.wait()
        return appliance.call("GET", "/files?limit=1", key=key)

    with ThreadPoolExecutor(32) as pool:
        return list(pool.map(go, range(requests)))


def test_200_requests_at_once_on_a_key_of_tier_free(tmp_path: Path) -> None:
    with running(tmp_path, LIMITS__DEFAULT_TIER="free") as appliance:
        key, other = appliance.key, appliance.new_key()
        began = time.time()
        answers = burst(appliance, key, 200)
        assert Counter(answer.status for answer in answers) == {200: 60, 429: 140}
        for answer in answers:
            limit, remaining, reset = standing(answer)
            assert limit == 60
            assert began + 59 <= reset <= time.time() + 61
            if answer.status == 429:
                assert answer.code == "RATE_LIMITED"
                assert answer.json["error"]["suggestion"]
                assert remaining == 0
                assert 1 <= int(answer.headers["Retry-After"]) <= 60
            else:
                assert "Retry-After" not in answer.headers
        assert min(standing(answer)[1] for answer in answers if answer.status == 200) == 0
        assert standing(appliance.call("GET", "/files", key=other))[1] == 59, "the limit is of the key, not of the address"


def test_after_retry_after_the_next_one_passes(app: App) -> None:
    Project.update(tier="free").execute()
    surface = app.client()
    with travelled_to(NOW) as advance:
        for _ in range(30):
            assert surface.get("/api/v1/files").status_code == 200
        advance(20_300)
        for remaining in range(29, -1, -1):
            assert surface.get("/api/v1/files").headers["X-RateLimit-Remaining"] == str(remaining)
        refused = surface.get("/api/v1/files")
        assert (refused.status_code, refused.headers["Retry-After"]) == (429, "40")
        assert refused.headers["X-RateLimit-Reset"] == str(NOW // 1000 + 60)
        for _ in range(100):  # refused requests do not count
            assert surface.get("/api/v1/files").status_code == 429
        advance(40_000)
        passed = surface.get("/api/v1/files")
        assert (passed.status_code, passed.headers["X-RateLimit-Remaining"]) == (200, "29")
        assert "Retry-After" not in passed.headers


def test_a_changed_tier_takes_effect_at_once(app: App) -> None:
    Project.update(tier="free").execute()
    surface = app.client()
    with travelled_to(NOW):
        assert [surface.get("/api/v1/files").status_code for _ in range(61)].count(200) == 60
        Project.update(tier="pro").execute()
        answer = surface.get("/api/v1/files")
        assert (answer.status_code, answer.headers["X-RateLimit-Remaining"]) == (200, "239")
        Project.update(limit_overrides={"requests_per_minute": 62}).execute()
        assert surface.get("/api/v1/files").headers["X-RateLimit-Limit"] == "62"
        assert surface.get("/api/v1/files").status_code == 429
        Project.update(tier="enterprise", limit_overrides={}).execute()
        unlimited = surface.get("/api/v1/files")
        assert unlimited.status_code == 200
        assert "X-RateLimit-Limit" not in unlimited.headers


def test_every_authenticated_answer_says_how_the_key_stands(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    surface = app.client()
    calls = [
        ("GET", "/files", None, 200),
        ("HEAD", "/files", None, 200),
        ("GET", "/files/nowhere", None, 404),
        ("GET", "/nowhere", None, 404),
        ("GET", "/upload/request", None, 405),
        ("POST", "/upload/request", {}, 400),
        ("POST", "/upload/request", NEW_FILE | {"fileName": "x" * 2 * 1024**2}, 413),
        ("POST", "/upload/request", NEW_FILE, 500),
    ]

    def fail(*_: object) -> None:
        raise RuntimeError("hush")

    monkeypatch.setattr("uploadkit.files.single_upload.request_upload", fail)
    for used, (method, path, body, status) in enumerate(calls, 1):
        answer = surface.open(f"/api/v1{path}", method=method, json=body)
        assert answer.status_code == status
        assert answer.headers["X-RateLimit-Remaining"] == str(300 - used)
        assert "Retry-After" not in answer.headers
    assert answer.json["error"]["code"] == "INTERNAL_SERVER_ERROR"
    assert answer.headers["X-Request-Id"] in answer.json["error"]["suggestion"]
    assert b"hush" not in answer.data


def test_what_needs_no_key_is_not_counted(app: App) -> None:
    surface = app.client()
    for answer in (surface.options("/api/v1/files"), surface.get("/healthz"), surface.get("/api/v1/files", headers={"x-api-key": ""})):
        assert "X-RateLimit-Limit" not in answer.headers
    assert surface.get("/api/v1/files").headers["X-RateLimit-Remaining"] == "299"


def test_a_foreign_credential_counts_as_a_wrong_key_only_where_it_is_the_only_one(app: App) -> None:
    for path in ("/api/v1/files", "/sdk/api/v1/files"):
        surface = app.client(RateLimits(RateLimitsConfig(auth_failures_per_minute=2)))
        with travelled_to(NOW):
            for _ in range(5):
                assert surface.get(path, headers={"Authorization": "Bearer a.b.c"}).status_code == 200
                both = {"x-api-key": "of-a-gateway", "Authorization": f"Bearer {app.api_key}"}
                assert surface.get(path, headers=both).status_code == 200
            alone = [
                surface.get(path, headers={"x-api-key": "of-a-gateway", "Authorization": "Bearer a.b.c"}).status_code for _ in range(3)
            ]
            assert alone == [401, 401, 429], "one request is one attempt, in however many headers"
            basic = [surface.get(path, headers={"x-api-key": "", "Authorization": "Basic YTpi"}).status_code for _ in range(3)]
            assert basic == [401, 401, 401], "nobody tried a key"


def test_wrong_keys_are_limited_by_address_and_valid_ones_never_refused(app: App) -> None:
    surface = app.client(RateLimits(RateLimitsConfig(auth_failures_per_minute=5)))
    wrong = {"x-api-key": "uk_live_" + "x" * 32}
    here, elsewhere = {"REMOTE_ADDR": "192.0.2.1"}, {"REMOTE_ADDR": "192.0.2.2"}
    with travelled_to(NOW) as advance:
        for path in ("/files", "/nowhere", "/files", "/files", "/files"):
            assert surface.get(f"/api/v1{path}", headers=wrong, environ_base=here).status_code == 401
        refused = surface.get("/api/v1/files", headers=wrong, environ_base=here)
        assert (refused.status_code, refused.json["error"]["code"]) == (429, "RATE_LIMITED")
        assert refused.headers["Retry-After"] == "60"
        assert "X-RateLimit-Limit" not in refused.headers
        assert surface.get("/api/v1/nowhere", headers=wrong, environ_base=here).status_code == 429
        assert surface.get("/api/v1/files", environ_base=here).status_code == 200
        assert surface.get("/api/v1/files", headers={"x-api-key": ""}, environ_base=here).status_code == 401
        assert surface.get("/api/v1/files", headers=wrong, environ_base=elsewhere).status_code == 401
        forged = wrong | {"X-Forwarded-For": "198.51.100.9"}
        assert surface.get("/api/v1/files", headers=forged, environ_base=here).status_code == 429, "nobody trusts that header from there"
        advance(60_000)
        assert surface.get("/api/v1/files", headers=wrong, environ_base=here).status_code == 401


def test_behind_a_proxy_each_client_is_counted_for_itself(tmp_path: Path) -> None:
    settings = {"SERVER__TRUSTED_PROXIES": '["127.0.0.0/8"]', "RATE_LIMITS__AUTH_FAILURES_PER_MINUTE": "3"}
    with running(tmp_path, **settings) as appliance:

        def attempt(forwarded: str) -> int:
            return appliance.call("GET", "/files", key="uk_live_" + "x" * 32, headers={"X-Forwarded-For": forwarded}).status

        assert [attempt("2001:db8::1") for _ in range(4)] == [401, 401, 401, 429]
        assert attempt("[2001:db8::2]:4711") == 429
        assert attempt("2001:db8:0:1::1") == 401
        assert [attempt(f"203.0.113.{n}, 198.51.100.7:{n}") for n in range(4)] == [401, 401, 401, 429], "what a client claims is left of it"


def test_a_storage_that_can_not_be_used_stops_the_start(tmp_path: Path) -> None:
    appliance = Appliance(tmp_path, RATE_LIMITS__STORAGE_URI="redis://:hush@127.0.0.1:1")
    started = appliance.run("serve")
    assert started.returncode == 2
    assert "rate_limits.storage_uri" in started.stderr
    assert "Traceback" not in started.stderr
    assert "hush" not in started.stderr + started.stdout
