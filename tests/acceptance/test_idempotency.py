"""Idempotency-Key: a POST that is repeated makes nothing twice."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import TestResponse

from tests.conftest import App
from tests.support.appliance import JPEG, Answer, Appliance, running
from tests.support.clock import travelled_to
from uploadkit.coordination import idempotency, queries
from uploadkit.core import clock
from uploadkit.core.clock import HOUR_MS
from uploadkit.core.errors import StorageUnavailable
from uploadkit.core.sizes import MIB
from uploadkit.db.models import File, Idempotency, Project
from uploadkit.files import lifecycle
from uploadkit.files.queries import uploads
from uploadkit.maintenance import sweeper

NEW_FILE = {"fileName": "a.jpg", "fileSize": len(JPEG), "contentType": "image/jpeg", "routeSlug": "default"}
BIG_FILE = NEW_FILE | {"fileSize": 11 * MIB}


def post(appliance: Appliance, path: str, body: Any, idempotency_key: str, key: str | None = None) -> Answer:
    return appliance.call("POST", path, body, key=key, headers={"Idempotency-Key": idempotency_key})


def test_a_repeated_request_answers_the_same_file(appliance: Appliance) -> None:
    first = post(appliance, "/upload/request", NEW_FILE, "request-1")
    again = post(appliance, "/upload/request", dict(reversed(NEW_FILE.items())), "request-1")
    assert (first.status, again.status) == (200, 200)
    assert first.json["fileId"] == again.json["fileId"]
    assert first.json.keys() == again.json.keys()
    assert again.json["expiresAt"] >= first.json["expiresAt"]
    assert appliance.put(again.json, JPEG).status == 200
    file = appliance.complete(again.json)
    assert file.status == 200
    ended = post(appliance, "/upload/request", NEW_FILE, "request-1")
    assert (ended.status, ended.code) == (409, "CONFLICT")
    assert "complete" in ended.json["error"]["message"]


def test_a_repeated_multipart_init_answers_the_same_upload(appliance: Appliance) -> None:
    first = post(appliance, "/upload/multipart/init", BIG_FILE, "init-1").json
    again = post(appliance, "/upload/multipart/init", BIG_FILE, "init-1").json
    assert first["fileId"] == again["fileId"]
    assert first["uploadId"] == again["uploadId"]
    assert [part["partNumber"] for part in again["parts"]] == [1, 2, 3]
    contents = [b"a" * 5 * MIB, b"b" * 5 * MIB, b"c" * MIB]
    for part, content in zip(again["parts"], contents, strict=True):
        assert appliance.fetch("PUT", part["uploadUrl"], content).status == 200
    ids = {"fileId": again["fileId"], "uploadId": again["uploadId"]}
    assert appliance.call("POST", "/upload/multipart/complete", ids).status == 200
    ended = post(appliance, "/upload/multipart/init", BIG_FILE, "init-1")
    assert (ended.status, ended.code) == (409, "CONFLICT")


def test_another_body_is_a_conflict(appliance: Appliance) -> None:
    post(appliance, "/upload/request", NEW_FILE, "other-body")
    refused = post(appliance, "/upload/request", NEW_FILE | {"fileSize": 15}, "other-body")
    assert (refused.status, refused.code) == (409, "IDEMPOTENCY_CONFLICT")
    assert refused.json["error"]["suggestion"]


def test_it_is_scoped_to_key_and_path(appliance: Appliance, test_key: str, outsider_key: str) -> None:
    answers = [
        post(appliance, "/upload/request", BIG_FILE, "scope"),
        post(appliance, "/upload/multipart/init", BIG_FILE, "scope"),
        post(appliance, "/upload/request", BIG_FILE, "scope", test_key),
        post(appliance, "/upload/request", BIG_FILE, "scope", outsider_key),
        post(appliance, "/upload/request", BIG_FILE, "Scope"),
    ]
    assert {answer.status for answer in answers} == {200}
    assert len({answer.json["fileId"] for answer in answers}) == 5


@pytest.mark.parametrize("value", ["", "x" * 256, "a\tb", "ümlaut"])
def test_a_key_that_is_none(appliance: Appliance, value: str) -> None:
    refused = appliance.call("POST", "/upload/request", NEW_FILE, headers={"Idempotency-Key": value.encode("latin-1")})
    assert (refused.status, refused.code) == (400, "VALIDATION_ERROR")
    assert refused.json["error"]["details"].keys() == {"Idempotency-Key"}


def test_the_longest_key_and_one_of_signs(appliance: Appliance) -> None:
    for value in ("x" * 255, "'; DROP TABLE file; -- \"%00 ~"):
        answers = [post(appliance, "/upload/request", NEW_FILE, value).json["fileId"] for _ in range(2)]
        assert len(set(answers)) == 1


def test_other_calls_do_not_look_at_it(appliance: Appliance) -> None:
    file = appliance.upload()
    for path in (f"/files/{file['key']}", "/files"):
        assert appliance.call("GET", path, headers={"Idempotency-Key": "x" * 300}).status == 200


def test_32_at_once_make_one_file(appliance: Appliance) -> None:
    start = threading.Barrier(32)

    def go(_: int) -> Answer:
        start.wait()
        return post(appliance, "/upload/multipart/init", BIG_FILE, "at once")

    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(go, range(32)))
    outcomes = Counter(answer.status for answer in answers)
    assert outcomes[200] >= 1
    assert outcomes[200] + outcomes[409] == 32
    assert len({answer.json["fileId"] for answer in answers if answer.status == 200}) == 1
    assert {answer.code for answer in answers if answer.status == 409} <= {"IDEMPOTENCY_CONFLICT"}


# From here on in this process, with the clock in our hand.


def ask(app: App, path: str = "/upload/request", body: Any = NEW_FILE, idempotency_key: str = "k") -> TestResponse:
    return app.client().post(f"/api/v1{path}", json=body, headers={"Idempotency-Key": idempotency_key})


def test_failures_are_not_remembered(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    too_large = NEW_FILE | {"fileSize": 5 * MIB}
    Project.update(tier="free").execute()
    assert ask(app, body=too_large).status_code == 413
    Project.update(tier="pro").execute()
    assert ask(app, body=too_large).status_code == 200, "what was refused may be tried again with the same key"
    with monkeypatch.context() as patched:
        patched.setattr(app.ctx.store, "create_multipart", _unavailable)
        assert ask(app, "/upload/multipart/init", BIG_FILE).status_code == 503
    assert Idempotency.select().count() == 1
    assert ask(app, "/upload/multipart/init", BIG_FILE).status_code == 200
    assert File.select().where(File.status == "FAILED").count() == 1


def test_a_body_that_is_too_deep_is_refused_with_and_without_a_key(app: App) -> None:
    junk: list[object] = []
    for _ in range(300):
        junk = [junk]
    assert ask(app, body=NEW_FILE | {"junk": junk}).status_code == 400


def _unavailable(*_: object) -> None:
    raise StorageUnavailable("the store is away")


def test_a_crash_between_file_and_record_leaves_neither(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object) -> None:
        raise RuntimeError("the power failed")

    with monkeypatch.context() as patched:
        patched.setattr(queries, "_KEEP", "INSERT INTO nowhere VALUES (?, ?, ?, ?, ?, ?)")
        assert ask(app).status_code == 500
    assert (File.select().count(), Idempotency.select().count()) == (0, 0)
    assert Project.get().storage_reserved_bytes == 0
    with monkeypatch.context() as patched:
        patched.setattr(uploads, "keep_upload_id", crash)  # after the store has begun the upload, before its uploadId is saved
        assert ask(app, "/upload/multipart/init", BIG_FILE).status_code == 500
    assert Idempotency.select().count() == 0
    assert ask(app, "/upload/multipart/init", BIG_FILE).status_code == 200


def test_a_fresh_url_puts_the_deadline_off(app: App) -> None:
    now = clock.now_ms()
    with travelled_to(now) as advance:
        first = ask(app).json
        file = File.get()
        advance(HOUR_MS)
        again = ask(app).json
        put_off = File.get()
        assert first["uploadUrl"] != again["uploadUrl"]
        assert put_off.deadline_at == put_off.sweep_at == file.deadline_at + HOUR_MS
        lifecycle.expire(app.ctx, file)  # the sweeper had read the row before
        assert File.get().status == "UPLOADING"
        advance(HOUR_MS + 15 * 60_000)
        sweeper.sweep_due(app.ctx)
        ended = ask(app)
        assert (ended.status_code, ended.json["error"]["code"]) == (410, "UPLOAD_EXPIRED")


def test_an_upload_that_was_deleted_is_not_made_again(app: App) -> None:
    slot = ask(app).json
    assert app.client().delete(f"/api/v1/files/{slot['key']}").status_code == 200
    ended = ask(app)
    assert (ended.status_code, ended.json["error"]["code"]) == (404, "UPLOAD_NOT_FOUND")


def test_after_a_day_the_key_is_free_and_then_the_record_goes(app: App) -> None:
    with travelled_to(clock.now_ms()) as advance:
        first = ask(app).json["fileId"]
        ask(app, idempotency_key="another")
        advance(idempotency.KEPT_MS - 1)
        assert ask(app).json["fileId"] == first
        assert idempotency.purge_expired(app.ctx.stopping) == 0
        advance(1)
        assert ask(app).json["fileId"] != first
        assert idempotency.purge_expired(app.ctx.stopping) == 1
        assert Idempotency.select().count() == 1


def test_records_go_in_batches(app: App) -> None:
    for number in range(2500):
        Idempotency.insert(
            api_key=app.caller.api_key_id,
            endpoint="POST /x",
            idempotency_key=str(number),
            body_hash="",
            resource_id="",
            created_at=number,
        ).execute()
    assert idempotency.purge_expired(app.ctx.stopping) == 2500


@pytest.mark.long
def test_a_sigkill_leaves_nothing_locked(tmp_path: Path) -> None:
    with running(tmp_path) as appliance:
        first = post(appliance, "/upload/request", NEW_FILE, "killed").json
        appliance.kill()
        appliance.start()
        assert post(appliance, "/upload/request", NEW_FILE, "killed").json["fileId"] == first["fileId"]
