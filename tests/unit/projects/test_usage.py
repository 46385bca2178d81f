"""Use by month, counters against rows, and the purge of the sandbox: services with the clock in our hand, and a real store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tests.conftest import App
from tests.support.clock import travelled_to
from tests.support.single_uploads import request, upload
from tests.support.stored import objects, put
from uploadkit.auth.callers import Caller
from uploadkit.core import clock
from uploadkit.core.clock import DAY_MS
from uploadkit.core.errors import StorageUnavailable, UploadNotVerified
from uploadkit.db import connection
from uploadkit.db.models import File, FileRoute, Project, Usage, WebhookDelivery
from uploadkit.files import multipart_upload, single_upload
from uploadkit.files import service as files
from uploadkit.files.service import FileFilter
from uploadkit.files.single_upload import UploadRequest
from uploadkit.maintenance import old_files, sweeper
from uploadkit.projects import quotas, usage
from uploadkit.webhooks import event_log
from uploadkit.webhooks.event_log import EventFilter


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


@pytest.fixture
def sandbox(app: App) -> Caller:
    return replace(app.caller, environment="test")


# Months.


def test_use_is_counted_in_the_month_it_happens_in(app: App, sandbox: Caller) -> None:
    with travelled_to(at("2026-03-31 23:59:59.999")) as advance:
        file = upload(app, app.caller)
        upload(app, sandbox, b"1")
        advance(1)
        upload(app, app.caller, b"123")
        files.delete_file(app.ctx, app.caller, file.key)
        now = usage.present(app.caller)
        assert (now.period, now.storage_used_bytes, now.storage_reserved_bytes, now.uploads) == ("2026-04", 3, 0, 1)
        assert now.limits == app.ctx.config.tiers["pro"]
        months = usage.history(app.caller)
        assert [tuple(month) for month in months[:3]] == [("2026-04", 1, 3, 5), ("2026-03", 1, 5, 0), ("2026-02", 0, 0, 0)]
        assert [month.period for month in months[3:]] == ["2026-01", *(f"2025-{n:02}" for n in range(12, 4, -1))]
        assert usage.find_differences() == []


def test_the_sandbox_has_figures_of_its_own_and_no_quota(app: App, sandbox: Caller) -> None:
    upload(app, app.caller)
    file = upload(app, sandbox, b"123")
    request(app, sandbox)
    now = usage.present(sandbox)
    assert (now.storage_used_bytes, now.storage_reserved_bytes, now.uploads) == (3, 0, 1)
    assert (now.limits.max_storage, now.limits.max_uploads_per_month) == (None, None)
    assert now.limits.requests_per_minute == app.ctx.config.tiers["pro"].requests_per_minute
    files.delete_file(app.ctx, sandbox, file.key)
    assert usage.present(sandbox).storage_used_bytes == 0
    assert tuple(usage.history(sandbox)[0])[1:] == (1, 3, 3)
    assert tuple(usage.history(app.caller)[0])[1:] == (1, 5, 0)


# Counters against rows.


def fail(app: App, caller: Caller | None = None) -> None:
    slot = request(app, caller or app.caller)
    put(slot.upload_url, b"%PDF-")
    with pytest.raises(UploadNotVerified):
        single_upload.complete_upload(app.ctx, caller or app.caller, slot.file.id, {})


def abort(app: App) -> None:
    files.delete_file(app.ctx, app.caller, request(app, app.caller).file.key)


def expire(app: App) -> None:
    slot = request(app, app.caller)
    with travelled_to(slot.file.deadline_at):
        sweeper.sweep_due(app.ctx)


def delete(app: App) -> None:
    files.delete_file(app.ctx, app.caller, upload(app, app.caller).key)


LIVES: dict[str, Callable[[App], object]] = {
    "requested": lambda app: request(app, app.caller),
    "completed": lambda app: upload(app, app.caller),
    "failed": fail,
    "aborted": abort,
    "expired": expire,
    "deleted": delete,
    "test": lambda app: upload(app, replace(app.caller, environment="test")),
}


def test_the_counters_agree_after_everything_that_can_happen(app: App) -> None:
    for name, live in LIVES.items():
        live(app)
        assert usage.find_differences() == [], name
    sweeper.sweep_due(app.ctx)
    assert usage.find_differences() == []
    with travelled_to(clock.now_ms() + 2 * DAY_MS):
        sweeper.sweep_due(app.ctx)
        old_files.purge_test_files(app.ctx)
    assert usage.find_differences() == []


@pytest.mark.parametrize(
    ("statement", "environment", "counter", "off_by"),
    [
        ("UPDATE project SET storage_used_bytes = storage_used_bytes + 7", "live", "storage_used_bytes", 7),
        ("UPDATE project SET storage_reserved_bytes = storage_reserved_bytes + 1", "live", "storage_reserved_bytes", 1),
        ("UPDATE project SET uploads_reserved = uploads_reserved + 2", "live", "uploads_reserved", 2),
        ("UPDATE project SET files_stored = files_stored + 3", "live", "files_stored", 3),
        ("UPDATE usage SET uploads = uploads + 1 WHERE environment = 'live'", "live", "uploads", 1),
        ("UPDATE usage SET bytes_uploaded = 0 WHERE environment = 'test'", "test", "bytes_uploaded", -5),
        ("UPDATE usage SET bytes_deleted = bytes_deleted + 3 WHERE environment = 'test'", "test", "bytes_deleted", 3),
    ],
)
def test_a_counter_that_is_wrong_is_found_and_set_right(
    app: App, sandbox: Caller, statement: str, environment: str, counter: str, off_by: int
) -> None:
    upload(app, app.caller)
    upload(app, sandbox)
    request(app, app.caller)
    with connection.write():
        connection.execute(statement)
    (found,) = usage.find_differences()
    assert (found.project_id, found.environment, found.counter) == (app.project.id, environment, counter)
    assert found.counted - found.recomputed == off_by
    assert bool(found.period) == statement.startswith("UPDATE usage")
    assert usage.repair() == [found]
    assert usage.find_differences() == []
    assert usage.repair() == []


def test_a_month_that_is_missing_is_made_anew(app: App) -> None:
    upload(app, app.caller)
    Usage.delete().execute()
    assert {found.counter for found in usage.repair()} == {"uploads", "bytes_uploaded"}
    assert usage.history(app.caller)[0].bytes_uploaded == 5


# The purge of the sandbox.


def purge_all(app: App) -> None:
    """Rounds of housekeeping until nothing changes."""
    old_files.purge_test_files(app.ctx)
    sweeper.sweep_due(app.ctx)
    old_files.purge_test_files(app.ctx)


def test_test_files_go_24_hours_after_their_creation(app: App, sandbox: Caller) -> None:
    start = clock.now_ms()
    with travelled_to(start) as advance:
        done, live = upload(app, sandbox), upload(app, app.caller)
        unfinished = request(app, sandbox).file
        fail(app, sandbox)
        deleted = upload(app, sandbox)
        files.delete_file(app.ctx, sandbox, deleted.key)
        advance(1)
        younger = upload(app, sandbox)
        advance(DAY_MS - 2)
        purge_all(app)
        assert File.get_by_id(done.id).status == "UPLOADED"
        assert done.key in objects(app)
        advance(1)
        purge_all(app)
        assert {file.id for file in File.select()} == {live.id, younger.id}
        assert {key for key in objects(app) if app.project.id in key} == {live.key, younger.key}
        assert not objects(app) & {file.pending_key for file in (done, unfinished, deleted)}
        log = event_log.list_events(sandbox, EventFilter(status="DELETED"), 100, None).items
        assert {entry.file_id for entry in log} >= {done.id, unfinished.id}
        assert next(entry.detail for entry in log if entry.file_id == done.id) == "Test files are purged 24 hours after their creation"
        assert usage.find_differences() == []
        assert usage.present(sandbox).storage_used_bytes == 5
        assert usage.history(sandbox)[0].uploads + usage.history(sandbox)[1].uploads == 3


def test_a_row_stays_until_no_url_can_bring_its_bytes_back(app: App, sandbox: Caller) -> None:
    slot = request(app, sandbox)
    with travelled_to(slot.file.created_at + DAY_MS):
        File.update(deadline_at=clock.now_ms() + 1000).execute()
        purge_all(app)
        assert File.get_by_id(slot.file.id).status == "DELETED"
        assert put(slot.upload_url, b"12345") == 200
    with travelled_to(slot.file.created_at + DAY_MS + 1000):
        purge_all(app)
    assert not File.select().exists()
    assert slot.file.pending_key not in objects(app)


def test_a_multipart_test_upload_is_purged_with_its_parts(app: App, sandbox: Caller) -> None:
    slot = multipart_upload.start_multipart(app.ctx, sandbox, UploadRequest("b", 11 * 1024**2, "video/mp4", "default", {}))
    with travelled_to(slot.file.created_at + DAY_MS):
        purge_all(app)
    assert not File.select().exists()
    assert app.ctx.store.list_parts(slot.file.key, slot.file.upload_id or "") is None


def test_a_purge_that_is_cut_off_goes_on(app: App, sandbox: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store away, a crash after each step: nothing is lost, nothing stays."""
    made = [upload(app, sandbox) for _ in range(3)]
    unfinished = request(app, sandbox).file
    with travelled_to(unfinished.created_at + DAY_MS):
        with monkeypatch.context() as patched:
            patched.setattr(app.ctx.store, "delete", _away)
            purge_all(app)
            assert File.select().count() == 4
        with monkeypatch.context() as patched:
            patched.setattr(quotas, "remember_purged", _crash)
            with pytest.raises(RuntimeError):
                purge_all(app)
            assert File.select().count() == 4
        sweeper.sweep_due(app.ctx)
    with travelled_to(unfinished.created_at + DAY_MS + 3_600_000):
        for _ in range(2):
            purge_all(app)
    assert not File.select().exists()
    assert not objects(app) & {key for file in made for key in (file.key, file.pending_key)}
    assert usage.find_differences() == []


def _away(key: str) -> None:
    raise StorageUnavailable("the store is away")


def _crash(file: File) -> None:
    raise RuntimeError("a crash")


def test_deliveries_of_a_purged_file_stay(app: App, sandbox: Caller) -> None:
    FileRoute.update(webhook_url="https://example.com/hook").execute()
    file = upload(app, sandbox)
    with travelled_to(file.created_at + DAY_MS):
        purge_all(app)
    assert not File.select().where(File.id == file.id).exists()
    assert [delivery.file_id for delivery in WebhookDelivery.select()] == [file.id]


def test_the_sandbox_and_the_live_files_never_meet(app: App, sandbox: Caller) -> None:
    live, test = upload(app, app.caller), upload(app, sandbox)
    for caller, own in ((app.caller, live), (sandbox, test)):
        for wanted in (FileFilter(), FileFilter(search="a.jpg"), FileFilter(search="a."), FileFilter(content_type="image/*")):
            assert [file.id for file in files.list_files(caller, wanted, 100, None).items] == [own.id]
        assert {entry.file_id for entry in event_log.list_events(caller, EventFilter(), 100, None).items} == {own.id}
    assert Project.get_by_id(app.project.id).storage_used_bytes == live.size_bytes


def test_uploads_by_day_count_each_once(app: App) -> None:
    def rendered() -> list[int]:
        return [day.uploads for day in usage.last_days(app.caller, 3)]

    with travelled_to(at("2026-04-08T23:30:00")) as advance:
        assert rendered() == [0, 0, 0]
        for expected in (1, 2):  # the second is counted beside the first, which has settled by then
            upload(app, app.caller)
            assert rendered() == rendered() == [0, 0, expected]
            advance(10 * 60_000)
            assert rendered() == [0, 0, expected]
        advance(20 * 60_000)
        upload(app, app.caller)
        assert rendered() == [0, 2, 1]
        advance(2 * DAY_MS)
        assert rendered() == [1, 0, 0]
        advance(-2 * DAY_MS)  # a clock that is put right
        assert rendered() == [0, 2, 1]
        assert [day.uploads for day in usage.last_days(app.caller, 1)] == [1]
