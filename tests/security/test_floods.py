"""What outside input can make many of has a bound: uploads that come to nothing, test files, tokens, deliveries, audit entries, windows."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from tests.conftest import App
from tests.support.clock import travelled_to
from uploadkit.auth import api_keys, audit
from uploadkit.auth.actors import ApiKey
from uploadkit.auth.callers import COMMAND_LINE, Caller
from uploadkit.coordination import idempotency, rate_limits
from uploadkit.core import clock
from uploadkit.core.errors import (
    Conflict,
    Forbidden,
    NotFound,
    RateLimited,
    RouteNotFound,
    StorageUnavailable,
    TierLimitExceeded,
    ValidationFailed,
)
from uploadkit.core.sizes import MIB
from uploadkit.db import disk as database_disk
from uploadkit.db.connection import execute, write
from uploadkit.db.models import (
    AnonymousBegun,
    Audit,
    Event,
    File,
    FileRoute,
    Project,
    UploadToken,
    WebhookAttempt,
    WebhookDelivery,
    database,
)
from uploadkit.files import anonymous_uploads, lifecycle, multipart_upload, single_upload, upload_tokens
from uploadkit.files.queries import upload_tokens as token_queries
from uploadkit.files.service import delete_file
from uploadkit.files.single_upload import UploadRequest
from uploadkit.maintenance import retention, sweeper
from uploadkit.net.safe_post import Outcome
from uploadkit.observability import diagnosis, health
from uploadkit.projects import file_routes, quotas
from uploadkit.projects import service as projects
from uploadkit.projects.queries import counters
from uploadkit.webhooks import delivery as webhook_delivery
from uploadkit.webhooks import event_log, outbox
from uploadkit.webhooks.leases import lease_due

GOOD = "https://shop.example.com"


def new(size: int = 10, name: str = "a.jpg", slug: str = "default", **metadata: str) -> UploadRequest:
    return UploadRequest(name, size, "image/jpeg", slug, metadata, metadata)


def with_settings(app: App, section: str, **settings: Any) -> None:
    present = getattr(app.ctx.config, section).model_copy(update=settings)
    app.ctx.config = app.ctx.config.model_copy(update={section: present})


def open_route(app: App, project: Project | None = None, slug: str = "drop", **rules: Any) -> FileRoute:
    chosen = {"slug": slug, "anonymous_uploads": True, "allowed_origins": [GOOD], **rules}
    return file_routes.create_file_route(app.ctx.config, COMMAND_LINE, (project or app.project).id, chosen)


def visitor(app: App, address: str = "192.0.2.1") -> Caller:
    return anonymous_uploads.find_caller(app.ctx.config, "drop", GOOD, address)


def begin_and_abort(app: App, caller: Caller, slug: str = "drop") -> str:
    slot = multipart_upload.start_multipart(app.ctx, caller, new(11 * MIB, slug=slug, message="x" * 4000))
    multipart_upload.abort_multipart(app.ctx, caller, slot.file.id, str(slot.file.upload_id))
    return slot.file.id


def test_what_one_address_and_all_together_begin_is_bounded(app: App) -> None:
    open_route(app)
    with_settings(app, "browser", anonymous_uploads_per_hour=3, anonymous_uploads_per_day=5)
    with travelled_to(1_800_000_000_000) as advance:
        for _ in range(3):
            begin_and_abort(app, visitor(app))
        with pytest.raises(RateLimited, match="3 uploads were begun from this address in this hour") as refused:
            begin_and_abort(app, visitor(app))
        assert refused.value.retry_after_seconds == 3600
        advance(3600_000)
        for number in range(2):
            begin_and_abort(app, visitor(app, f"192.0.2.{number}"))
        with pytest.raises(RateLimited, match="5 uploads were begun in this project in this day"):
            begin_and_abort(app, visitor(app, "192.0.2.7"))
        assert File.select().count() == 5
        advance(2 * 86_400_000)
        begin_and_abort(app, visitor(app))
        anonymous_uploads.forget_counts(app.ctx)
        assert AnonymousBegun.select().count() == 2, "this hour's and this day's"


def test_what_browsers_abort_is_forgotten_after_a_day(app: App) -> None:
    open_route(app, webhook_url="https://hooks.example.com/x", webhook_events=["file.failed"])
    with travelled_to(clock.now_ms()) as advance:
        ids = [begin_and_abort(app, visitor(app)) for _ in range(3)]
        kept = begin_and_abort(app, app.caller, "default")
        newest = Event.select().order_by(Event.sequence.desc()).get()
        advance(retention.KEPT_OF_BROWSERS_MS)
        sweeper.sweep_due(app.ctx)
        assert retention.forget_early(app.ctx) == 0
        WebhookDelivery.update(status="dead", next_attempt_at=None, ended_at=clock.now_ms()).where(
            WebhookDelivery.file_id == ids[0]
        ).execute()
        advance(1)
        assert retention.forget_early(app.ctx) == 3
    assert [file.id for file in File.select()] == [kept]
    assert {event.file_id for event in Event.select()} == {kept}
    assert {delivery.file_id for delivery in WebhookDelivery.select()} == set(ids[1:]), "what is on its way still arrives"
    assert event_log.feed(app.caller, 0, 10).gap
    assert not event_log.feed(app.caller, newest.sequence, 10).gap


def test_of_failed_uploads_the_newest_are_kept(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "MOST_FAILED", 2)
    with travelled_to(clock.now_ms()) as advance:
        ids = [begin_and_abort(app, app.caller, "default") for _ in range(5)]
        assert retention.forget_early(app.ctx) == 0, "what is still to be swept"
        advance(2 * 3600_000)
        sweeper.sweep_due(app.ctx)
    alive = single_upload.request_upload(app.ctx, app.caller, new()).file
    assert retention.forget_early(app.ctx) == 3
    assert {file.id for file in File.select()} == {*ids[3:], alive.id}
    assert retention.forget_early(app.ctx) == 0


def test_the_metadata_of_a_request_stays_with_the_file(app: App) -> None:
    file = single_upload.request_upload(app.ctx, app.caller, new(user="ann")).file
    lifecycle.leave_uploading(app.ctx, file, "aborted", "test")
    reported = {event.event: (event.metadata, event.client_metadata) for event in Event.select()}
    assert reported == {"upload.requested": ({}, {}), "upload.aborted": ({"user": "ann"}, {"user": "ann"})}


def test_the_sandbox_has_limits_of_its_own(app: App) -> None:
    test_key = api_keys.issue_key(app.ctx.config, app.caller, app.project.id, "t", environment="test")
    tester = api_keys.find_caller(app.ctx.config, test_key.plaintext)
    with_settings(app, "sandbox", max_files=2, max_storage=100, max_rows=3)
    first = single_upload.request_upload(app.ctx, tester, new()).file
    with pytest.raises(TierLimitExceeded, match="test sandbox of this project is full: 10 bytes") as refused:
        single_upload.request_upload(app.ctx, tester, new(91))
    assert "sandbox.max_storage" in str(refused.value.suggestion)
    single_upload.request_upload(app.ctx, tester, new())
    with pytest.raises(TierLimitExceeded, match="2 files"):
        single_upload.request_upload(app.ctx, tester, new())
    lifecycle.abort(app.ctx, first.id)
    single_upload.request_upload(app.ctx, tester, new())
    lifecycle.abort(app.ctx, first.id)
    File.update(status="DELETED").where(File.id == first.id).execute()
    File.update(status="FAILED", failure="aborted").where(File.status == "UPLOADING").execute()
    with pytest.raises(TierLimitExceeded, match="3 uploads were begun"):
        single_upload.request_upload(app.ctx, tester, new())
    assert Project.get_by_id(app.project.id).storage_reserved_bytes == 0
    assert single_upload.request_upload(app.ctx, app.caller, new(1000)).file.reserved_bytes == 1000, "live keys have their tier's"


def test_a_database_disk_that_is_nearly_full_takes_no_new_uploads(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    content = b"\xff\xd8\xff\xe0abcdef"
    slot = single_upload.request_upload(app.ctx, app.caller, new(len(content)))
    total = 100 << 30
    monkeypatch.setattr(database_disk.psutil, "disk_usage", lambda path: SimpleNamespace(total=total, free=MIB))
    monkeypatch.setattr(database_disk, "_LOOK_EVERY_MS", 0)
    for begin in (single_upload.request_upload, multipart_upload.start_multipart):
        with pytest.raises(StorageUnavailable, match="No new upload can begin now: the disk under the database is nearly full"):
            begin(app.ctx, app.caller, new(11 * MIB))
    check = next(check for check in health.check(app.ctx) if check.name == "disk")
    assert (check.ok, "no new upload begins" in check.detail) == (False, True)
    assert single_upload.request_again(app.ctx, app.caller, slot.file.id).file.status == "UPLOADING"
    delete_file(app.ctx, app.caller, slot.file.key)
    monkeypatch.undo()
    app.ctx.database_disk._checked_at = None
    assert single_upload.request_upload(app.ctx, app.caller, new()).file.id


def hooked(app: App) -> None:
    route = file_routes.find_file_route(app.project.id, "default")
    changes = {"webhook_url": "https://hooks.example.com/x", "webhook_events": ["file.failed"]}
    file_routes.update_file_route(app.ctx.config, app.caller, route.id, changes)


def test_what_waits_for_a_destination_is_bounded(app: App, caplog: pytest.LogCaptureFixture) -> None:
    hooked(app)
    with_settings(app, "webhooks", max_waiting=2)
    for _ in range(4):
        begin_and_abort(app, app.caller, "default")
    assert WebhookDelivery.select().count() == 2
    assert len(event_log.feed(app.caller, 0, 10).items) == 4, "the feed has all of them"
    assert "2 deliveries wait" in caplog.text


def test_test_events_that_wait_are_bounded(app: App) -> None:
    """Asked for without an end, at one URL or at a new one each time."""
    hooked(app)
    for number in range(outbox.MOST_TESTS_WAITING):
        FileRoute.update(webhook_url=f"https://hooks.example.com/{number // 2}").execute()
        outbox.send_test(app.ctx.config, app.caller, "default")
    with pytest.raises(RateLimited):
        outbox.send_test(app.ctx.config, app.caller, "default")
    for lease in lease_due(app.ctx):
        webhook_delivery.deliver(app.ctx, lease, lambda *_, **__: Outcome(500, "no", None, None, 1))
    assert outbox.send_test(app.ctx.config, app.caller, "default"), "there is room again"


def test_what_was_sent_by_hand_is_bounded(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    hooked(app)
    monkeypatch.setattr(webhook_delivery, "MOST_ATTEMPTS_KEPT", 3)
    with travelled_to(clock.now_ms()) as advance:
        delivery = outbox.send_test(app.ctx.config, app.caller, "default")
        for _ in range(5):
            (lease,) = lease_due(app.ctx)
            webhook_delivery.deliver(app.ctx, lease, lambda *_, **__: Outcome(500, "no", None, None, 1))
            outbox.redeliver(app.caller, delivery.id)
            advance(1)
        assert WebhookAttempt.select().count() == 3
        (lease,) = lease_due(app.ctx)
        webhook_delivery.deliver(app.ctx, lease, lambda *_, **__: Outcome(200, "yes", None, None, 1))
        advance(retention.KEPT_TEST_EVENTS_MS + 1)
        retention.forget_early(app.ctx)
        assert WebhookDelivery.select().count() == WebhookAttempt.select().count() == 0


def test_audit_entries_of_a_project_are_bounded(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "MOST_AUDITED", 3)
    before = {entry.id for entry in Audit.select().where(Audit.project_id == "")}
    for number in range(5):
        with write():
            audit.record(ApiKey("k"), "created", "file_route", f"r{number}", app.project.id)
    retention.forget_early(app.ctx)
    kept = [entry.subject_id for entry in Audit.select().where(Audit.project_id == app.project.id).order_by(Audit.id)]
    assert kept == ["r2", "r3", "r4"]
    assert {entry.id for entry in Audit.select().where(Audit.project_id == "")} == before


def test_keys_of_a_project_are_bounded(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_keys, "MOST_KEYS", 3)
    for _ in range(2):
        api_keys.revoke_key(app.caller, api_keys.issue_key(app.ctx.config, app.caller, app.project.id, "x").key.id)
    with pytest.raises(TierLimitExceeded, match="revoked ones included"):
        api_keys.issue_key(app.ctx.config, app.caller, app.project.id, "x")


def test_the_windows_of_addresses_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_limits, "MOST_WINDOWS", 3)
    windows = rate_limits.MemoryWindows()
    for name in ("a", "b", "c", "a", "d"):
        assert windows.acquire_entry(name, 2, 60)
    assert list(windows._windows) == ["c", "a", "d"], "those that came last"
    assert not windows.acquire_entry("a", 2, 60)


def test_what_was_deleted_unfinished_came_to_nothing(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """Deleting an upload that had failed took its row out of those of which the newest are kept, and left 35 KB for 90 days."""
    monkeypatch.setattr(retention, "MOST_FAILED", 2)
    with travelled_to(clock.now_ms()) as advance:
        for _ in range(5):
            key = single_upload.request_upload(app.ctx, app.caller, new()).file.key
            for _ in range(2):  # what is under way is aborted by it
                delete_file(app.ctx, app.caller, key)
        assert {file.status for file in File.select()} == {"DELETED"}
        advance(2 * 3600_000)
        sweeper.sweep_due(app.ctx)
        assert retention.forget_early(app.ctx) == 3
    assert File.select().count() == 2
    assert {event.file_id for event in Event.select()} == {file.id for file in File.select()}


def test_a_project_whose_uploads_fail_and_fail_has_to_wait(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """One key makes 20,000 upload tokens, each with requests of its own."""
    open_route(app)
    monkeypatch.setattr(quotas, "MOST_FAILED", 3)
    monkeypatch.setattr(retention, "MOST_FAILED", 1)
    woken: list[bool] = []
    app.ctx.signals.wake_forgetting = lambda: woken.append(True)
    with travelled_to(clock.now_ms()) as advance:
        for _ in range(6):
            begin_and_abort(app, visitor(app))
        for number in range(4):
            issued = upload_tokens.issue_token(app.ctx.config, app.caller, ["default"], {})
            begin_and_abort(app, upload_tokens.find_caller(app.ctx.config, issued.plaintext) if number else app.caller, "default")
        for caller in (app.caller, upload_tokens.find_caller(app.ctx.config, issued.plaintext)):
            with pytest.raises(RateLimited, match="3 uploads of this project failed"):
                begin_and_abort(app, caller, "default")
        assert len(woken) == 2
        begin_and_abort(app, visitor(app))
        advance(2 * 3600_000)
        sweeper.sweep_due(app.ctx)
        retention.forget_early(app.ctx)
        assert begin_and_abort(app, app.caller, "default")


def test_one_token_for_very_many_files_fails_a_thousand_times_beside(app: App) -> None:
    issued = upload_tokens.issue_token(app.ctx.config, app.caller, ["default"], {}, max_files=5000)
    holder = upload_tokens.find_caller(app.ctx.config, issued.plaintext)
    UploadToken.update(uploads_begun=6020).execute()
    with pytest.raises(Forbidden, match="6020 uploads were begun"):
        single_upload.request_upload(app.ctx, holder, new())


def test_what_a_token_has_taken_is_read_from_indexes_alone() -> None:
    """A row may have 16 KiB of metadata before the columns that are asked for: with 10,000 files, all writers waited for a second."""
    for sql in (token_queries._TAKEN, token_queries._REFUSED, counters._COME_TO_NOTHING.replace("?", "1")):
        plan = [row[3] for row in execute(f"EXPLAIN QUERY PLAN {sql}", {"token": "x", "now": 1}).fetchall()]
        assert all("USING COVERING INDEX file_" in step for step in plan), plan


def test_the_deliveries_of_a_file_are_found_by_the_file(app: App) -> None:
    hooked(app)
    file_id = begin_and_abort(app, app.caller, "default")
    outsider = projects.create_project(app.ctx.config, COMMAND_LINE, "Outsider", None)
    executed: list[str] = []
    database.connection().set_trace_callback(executed.append)
    assert len(outbox.deliveries_of_file(app.caller, file_id)) == 1
    database.connection().set_trace_callback(None)
    assert outbox.deliveries_of_file(replace(app.caller, project_id=outsider.id), file_id) == []
    assert outbox.deliveries_of_file(replace(app.caller, environment="test"), file_id) == []
    (sql,) = (sql for sql in executed if "webhook_delivery" in sql)
    plan = [row[3] for row in execute(f"EXPLAIN QUERY PLAN {sql}").fetchall()]
    assert any("webhook_delivery_by_file" in step for step in plan), plan


def test_idempotency_keys_of_a_project_are_bounded(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idempotency, "MOST_KEPT", 2)
    other = api_keys.find_caller(app.ctx.config, api_keys.issue_key(app.ctx.config, app.caller, app.project.id, "other").plaintext)
    with travelled_to(clock.now_ms()) as advance:
        for number in range(5):
            attempt = idempotency.attempt_of((app.caller, other)[number % 2].api_key_id, "POST /x", str(number), {})
            with write():
                idempotency.run_once(app.ctx.locks, attempt, lambda remember, number=number: remember(f"made {number}"), lambda _: None)
            advance(1)
        assert idempotency.purge_expired(app.ctx.stopping) == 3
        assert idempotency.purge_expired(app.ctx.stopping) == 0
        kept = [made for (made,) in execute("SELECT resource_id FROM idempotency ORDER BY created_at").fetchall()]
        assert kept == ["made 3", "made 4"], "the newest, whichever key they came with"


def test_test_events_that_are_kept_are_bounded(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    hooked(app)
    monkeypatch.setattr(outbox, "MOST_TESTS_KEPT", 2)
    file_id = begin_and_abort(app, app.caller, "default")
    with travelled_to(clock.now_ms()) as advance:
        for _ in range(6):
            newest = outbox.send_test(app.ctx.config, app.caller, "default")
            for lease in lease_due(app.ctx):
                webhook_delivery.deliver(app.ctx, lease, lambda *_, **__: Outcome(500, "no", None, None, 1))
            advance(1)
    kept = list(WebhookDelivery.select().order_by(WebhookDelivery.created_at))
    assert [delivery.file_id for delivery in kept] == [file_id, None, None]
    assert kept[-1].id == newest.id


def test_urls_that_webhooks_go_to_are_bounded(app: App, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    hooked(app)
    monkeypatch.setattr(outbox, "MOST_DESTINATIONS", 2)
    for number in range(2):
        FileRoute.update(webhook_url=f"https://hooks.example.com/{number}").execute()
        outbox.send_test(app.ctx.config, app.caller, "default")
    FileRoute.update(webhook_url="https://hooks.example.com/new").execute()
    with pytest.raises(Conflict, match="to 2 URLs"):
        outbox.send_test(app.ctx.config, app.caller, "default")
    assert begin_and_abort(app, app.caller, "default"), "uploads go on"
    assert "2 URLs" in caplog.text
    WebhookDelivery.delete().execute()
    retention.forget_early(app.ctx)
    assert outbox.send_test(app.ctx.config, app.caller, "default")


def test_what_waits_in_a_project_is_bounded(app: App, caplog: pytest.LogCaptureFixture) -> None:
    """At a new URL each time."""
    hooked(app)
    with_settings(app, "webhooks", max_waiting=2)
    for number in range(6):
        FileRoute.update(webhook_url=f"https://hooks.example.com/{number}").execute()
        begin_and_abort(app, app.caller, "default")
    assert WebhookDelivery.select().count() == 4
    assert "twice as many in its project" in caplog.text


def test_what_is_told_of_the_sandbox_is_bounded(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is emptied each day, and may be filled each day; its log and its webhooks were kept for 90."""
    hooked(app)
    monkeypatch.setattr(retention, "MOST_IN_SANDBOX", 4)
    issued = api_keys.issue_key(app.ctx.config, app.caller, app.project.id, "t", environment="test")
    tester = api_keys.find_caller(app.ctx.config, issued.plaintext)
    with travelled_to(clock.now_ms()) as advance:
        for _ in range(5):
            for caller in (app.caller, tester):
                begin_and_abort(app, caller, "default")
            advance(1)
        WebhookDelivery.update(status="dead", next_attempt_at=None, ended_at=clock.now_ms()).execute()
        retention.forget_early(app.ctx)
    assert Event.select().where(Event.environment == "test").count() == 4
    assert Event.select().where(Event.environment == "live").count() == 10
    assert WebhookDelivery.select().where(WebhookDelivery.environment == "test").count() == 2
    assert WebhookDelivery.select().where(WebhookDelivery.environment == "live").count() == 5
    assert event_log.feed(tester, 0, 10).gap
    assert not event_log.feed(app.caller, 0, 10).gap


def test_the_project_is_in_the_address(app: App) -> None:
    outsider = projects.create_project(app.ctx.config, app.caller, "Outsider")
    open_route(app, outsider)
    with pytest.raises(RouteNotFound, match="no such file route"):
        visitor(app)
    assert not anonymous_uploads.allows("drop", GOOD), "who comes first gets no other project's uploads"
    open_route(app)
    assert visitor(app).project_id == app.project.id
    for named, expected in ((outsider.id, outsider), ("outsider", outsider), (app.project.id, app.project)):
        assert anonymous_uploads.find_caller(app.ctx.config, "drop", GOOD, "192.0.2.1", named).project_id == expected.id
    for wrong in ("", "nobody", "t", app.project.id.upper()):
        with pytest.raises(RouteNotFound):
            anonymous_uploads.find_caller(app.ctx.config, "drop", GOOD, "192.0.2.1", wrong)
    projects.delete_project(app.caller, outsider.id)
    with pytest.raises(RouteNotFound):
        anonymous_uploads.find_caller(app.ctx.config, "drop", GOOD, "192.0.2.1", outsider.id)


def test_a_short_address_of_before_stays_with_its_origins(app: App) -> None:
    other = projects.create_project(app.ctx.config, app.caller, "Other")
    route = open_route(app, other)
    FileRoute.update(short_origins=[GOOD]).where(FileRoute.id == route.id).execute()
    assert visitor(app).project_id == other.id
    added = "https://victim.example.com"
    file_routes.update_file_route(app.ctx.config, COMMAND_LINE, route.id, {"allowed_origins": [GOOD, added]})
    assert not anonymous_uploads.allows("drop", added), "no origin comes to it any more"
    assert anonymous_uploads.allows("drop", added, other.id)
    file_routes.update_file_route(app.ctx.config, COMMAND_LINE, route.id, {"allowed_origins": [added]})
    assert not anonymous_uploads.allows("drop", GOOD)
    file_routes.update_file_route(app.ctx.config, COMMAND_LINE, route.id, {"slug": "moved", "allowed_origins": [GOOD]})
    assert not anonymous_uploads.allows("moved", GOOD)


@pytest.mark.parametrize("slug", ["p", "t", "tus", "T", "Tus"])
def test_reserved_slugs(app: App, slug: str) -> None:
    with pytest.raises(ValidationFailed, match="slug is reserved"):
        file_routes.create_file_route(app.ctx.config, app.caller, app.project.id, {"slug": slug})
    route = file_routes.create_file_route(app.ctx.config, app.caller, app.project.id, {"slug": "free"})
    with pytest.raises(ValidationFailed, match="slug is reserved"):
        file_routes.update_file_route(app.ctx.config, app.caller, route.id, {"slug": slug})
    with pytest.raises(NotFound):
        file_routes.find_file_route(app.project.id, slug)


def test_the_doctor_names_addresses_of_before(app: App) -> None:
    other = projects.create_project(app.ctx.config, app.caller, "Other")
    route = open_route(app, other)
    assert diagnosis._addresses().outcome == "ok"
    FileRoute.update(short_origins=[GOOD]).where(FileRoute.id == route.id).execute()
    assert "'drop' of project other" in diagnosis._addresses().detail
    FileRoute.update(slug="t").where(FileRoute.id == route.id).execute()
    assert "'t' of project other" in diagnosis._addresses().detail
