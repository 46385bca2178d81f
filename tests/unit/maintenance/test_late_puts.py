"""Bytes that came after the end of their upload, because somebody sent them slowly: with the clock in our hand and a real store."""

from __future__ import annotations

from socket import create_connection
from urllib.parse import urlsplit

import pytest

from tests.conftest import App
from tests.support.clock import travelled_to
from tests.support.stored import counters, objects, put
from uploadkit.core.ids import new_id
from uploadkit.db.models import File
from uploadkit.files import single_upload
from uploadkit.files.single_upload import UploadRequest, UploadSlot
from uploadkit.maintenance import late_puts, sweeper


def request(app: App, content: bytes = b"12345") -> UploadSlot:
    return single_upload.request_upload(app.ctx, app.caller, UploadRequest("a.jpg", len(content), "image/jpeg", "default", {}))


@pytest.fixture(autouse=True)
def nothing_of_others(app: App) -> None:
    """Houses share a bucket."""
    late_puts.remove(app.ctx)


def test_a_put_that_outlasts_its_upload(app: App) -> None:
    """Begun in time, its last byte comes after the row was swept for the last time."""
    slot = request(app)
    url = urlsplit(slot.upload_url)
    assert url.hostname
    with create_connection((url.hostname, url.port or 80), timeout=10) as slow:
        slow.sendall(f"PUT {url.path}?{url.query} HTTP/1.1\r\nHost: {url.netloc}\r\nContent-Type: image/jpeg\r\n".encode())
        slow.sendall(b"Content-Length: 5\r\n\r\n1234")
        with travelled_to(slot.file.deadline_at):
            sweeper.sweep_due(app.ctx)
        slow.sendall(b"5")
        assert slow.recv(100).startswith(b"HTTP/1.1 200")
    assert File.get_by_id(slot.file.id).sweep_at is None
    assert counters(app) == (0, 0, 0)
    assert slot.file.pending_key in objects(app), "nobody knows of it"
    assert late_puts.remove(app.ctx) == 1
    assert slot.file.pending_key not in objects(app)
    assert late_puts.remove(app.ctx) == 0


def test_what_is_under_way_or_still_to_be_swept_stays(app: App) -> None:
    under_way, complete, forgotten = request(app), request(app), new_id()
    for slot in (under_way, complete):
        assert put(slot.upload_url, b"12345") == 200
    single_upload.complete_upload(app.ctx, app.caller, complete.file.id, {})
    store = app.ctx.store
    others = [f"pending/doctor-{forgotten}/put", "pending/readiness-probe", f"pending/{forgotten}/x", f"elsewhere/{forgotten}"]
    for key in (*others, f"pending/{forgotten}"):
        store._client.put_object(Bucket=store.address.bucket, Key=key, Body=b"")
    assert late_puts.remove(app.ctx) == 1
    assert {under_way.file.pending_key, complete.file.pending_key, *others} <= objects(app)
    assert f"pending/{forgotten}" not in objects(app)
    assert single_upload.complete_upload(app.ctx, app.caller, under_way.file.id, {}).status == "UPLOADED"
    for key in others:
        store.delete(key)


def test_a_store_of_ones_own_has_a_lifecycle_rule_for_that(app: App) -> None:
    key = f"pending/{new_id()}"
    store = app.ctx.store
    store._client.put_object(Bucket=store.address.bucket, Key=key, Body=b"")
    storage = app.ctx.config.storage.model_copy(update={"mode": "byos"})
    app.ctx.config = app.ctx.config.model_copy(update={"storage": storage})
    assert late_puts.remove(app.ctx) == 0
    assert key in objects(app)
    store.delete(key)
