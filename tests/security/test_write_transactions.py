"""While one request writes, all others that want to write wait: no statement of a write transaction reads more, the more rows there are."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import App
from tests.support.single_uploads import upload
from uploadkit.db import read_deadline
from uploadkit.db.connection import execute, write
from uploadkit.webhooks import outbox

ROWS = 3_000
# Each row that a statement goes through costs it some; looking up a hundred keys, or writing a row with all its indexes, a few hundred.
MOST_STEPS = 2_000
_NUMBERS = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :rows)"
_FILES = f"""
{_NUMBERS}
INSERT INTO file (number, id, project_id, environment, route_slug, api_key_id, key, file_name, size_bytes, content_type, visibility, status,
                  expires_at, deadline_at, created_at, updated_at, uploaded_at, failure)
SELECT i, 'f' || i, :project, 'live', 'default', :key, 'k/' || i, 'a.jpg', 5, 'image/jpeg', 'public',
       CASE i % 3 WHEN 0 THEN 'UPLOADED' WHEN 1 THEN 'FAILED' ELSE 'DELETED' END, 0, 0, 0, 0, iif(i % 3 = 1, NULL, 0),
       iif(i % 3 = 1, 'aborted', NULL) FROM n
"""
_EVENTS = f"""
{_NUMBERS}
INSERT INTO event (id, at, event, project_id, environment, file_id, key, file_name, route_slug, status, size_bytes, content_type,
                   visibility, file_created_at)
SELECT 'e' || i, 0, 'upload.completed', :project, 'live', 'f' || i, 'k/' || i, 'a.jpg', 'default', 'UPLOADED', 5, 'image/jpeg', 'public', 0
  FROM n
"""
_DELIVERIES = f"""
{_NUMBERS}
INSERT INTO webhook_delivery (id, destination_id, project_id, environment, event_id, event, file_id, payload, status, next_attempt_at,
                              created_at, ended_at)
SELECT 'd' || i, (SELECT id FROM webhook_destination), :project, 'live', 'e' || i, 'onUploadComplete', 'f' || i, '{{}}',
       iif(i % 100, 'delivered', 'pending'), iif(i % 100, NULL, 4000000000000), 0, iif(i % 100, 0, NULL) FROM n
"""
_AUDIT = f"{_NUMBERS} INSERT INTO audit SELECT 'a' || i, 0, 'cli', 'deleted', 'file', 'f' || i, :project, '{{}}' FROM n"
_ATTEMPTS = f"{_NUMBERS} INSERT INTO idempotency SELECT :key, 'POST /x', 'i' || i, '', 'f' || i, 4000000000000 FROM n"


class Watched:
    """The steps of each statement that the writing connection runs."""

    def __init__(self) -> None:
        self.most: dict[str, int] = {}
        self._now = ""

    def watch(self, connection: sqlite3.Connection) -> None:
        connection.set_trace_callback(self._begins)
        connection.set_progress_handler(self._step, 10)

    def _begins(self, sql: str) -> None:
        self._now = sql
        self.most[sql] = 0

    def _step(self) -> bool:
        self.most[self._now] = self.most.get(self._now, 0) + 10
        return False


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    steps = Watched()
    monkeypatch.setattr(read_deadline, "leave_alone", steps.watch)
    return steps


def fill(app: App) -> None:
    with write():
        outbox._destination_id(app.project.id, "live", "https://example.com/hook")
        for sql in (_FILES, _EVENTS, _DELIVERIES, _AUDIT, _ATTEMPTS):
            execute(sql, {"rows": ROWS, "project": app.project.id, "key": app.caller.api_key_id})
        execute("UPDATE project SET storage_used_bytes = 5 * :rows, files_stored = :rows", {"rows": ROWS})


def test_nothing_that_writes_reads_all_that_a_project_has(watched: Watched, app: App) -> None:
    fill(app)
    webhooks = app.ctx.config.webhooks.model_copy(update={"max_waiting": 100})
    app.ctx.config = app.ctx.config.model_copy(update={"webhooks": webhooks})
    surface = app.client()
    events = ["onUploadComplete", "file.deleted", "file.failed"]
    hooked = {"slug": "hooked", "webhookUrl": "https://example.com/hook", "webhookEvents": events}
    route = f"/api/v1/projects/{app.project.id}/file-routes"
    body = {"fileName": "a.jpg", "fileSize": 5, "contentType": "image/jpeg", "routeSlug": "hooked"}
    file = upload(app, app.caller)

    def call(method: str, path: str, body: Any = None, **headers: str) -> Any:
        answer = surface.open(path, method=method, json=body, headers=headers)
        assert answer.status_code < 500, (path, answer.json)
        return answer.json

    assert call("POST", route, hooked)["slug"] == "hooked"
    page = {**hooked, "slug": "page", "anonymousUploads": True, "allowedOrigins": ["https://a.example"]}
    assert call("POST", route, page)["slug"] == "page"
    token = call("POST", "/api/v1/upload-tokens", {"routeSlug": "page", "maxFiles": 10})["token"]

    def of_the_api() -> None:
        slot = call("POST", "/api/v1/upload/request", body, **{"Idempotency-Key": "x"})
        call("POST", "/api/v1/upload/request", body, **{"Idempotency-Key": "x"})
        call("DELETE", f"/api/v1/files/{slot['key']}")
        begun = call("POST", "/api/v1/upload/multipart/init", {**body, "fileSize": 11 * 1024**2})
        ids = {"fileId": begun["fileId"], "uploadId": begun["uploadId"]}
        call("POST", "/api/v1/upload/multipart/parts", ids)
        call("POST", "/api/v1/upload/multipart/abort", ids)

    def of_pages() -> None:
        for address in (f"/api/uploadkit/t/{token}/page", "/api/uploadkit/page"):
            begin = {"fileName": "a.jpg", "contentType": "image/jpeg", "contentLength": 5}
            slot = call("POST", address, {"action": "request-upload", **begin}, Origin="https://a.example")
            ids = {"fileId": slot["fileId"], "key": slot["key"]}
            call("POST", address, {"action": "upload-complete", **ids}, Origin="https://a.example")
            assert call("POST", address, {"action": "upload-abort", **ids}, Origin="https://a.example") == {"aborted": True}

    calls: dict[str, Callable[[], Any]] = {
        "the API": of_the_api,
        "pages": of_pages,
        "an upload that is complete": lambda: upload(app, app.caller),
        "metadata": lambda: call("PATCH", f"/api/v1/files/{file.key}", {"metadata": {"a": 1}}),
        "deleting what is not there": lambda: call("DELETE", "/api/v1/files", {"keys": [f"none/{number}" for number in range(100)]}),
        "deleting": lambda: call("DELETE", "/api/v1/files", {"keys": ["k/3", "k/6", "k/9"]}),
        "a token": lambda: call("POST", "/api/v1/upload-tokens", {"routeSlug": "default"}),
        "a test of a webhook": lambda: call("POST", "/api/v1/webhooks/test", {"routeSlug": "hooked"}),
        "redelivering": lambda: call("POST", "/api/v1/webhooks/deliveries/d2/redeliver"),
        "deleting a delivery": lambda: call("DELETE", "/api/v1/webhooks/deliveries/d2"),
        "an API key": lambda: call("POST", f"/api/v1/projects/{app.project.id}/keys", {"name": "x"}),
        "a project": lambda: call("PATCH", f"/api/v1/projects/{app.project.id}", {"name": "x"}),
    }
    for name, one in calls.items():
        watched.most.clear()
        one()
        assert watched.most, f"{name} wrote nothing"
        assert not (dear := {sql: steps for sql, steps in watched.most.items() if steps > MOST_STEPS}), f"{name}: {dear}"
