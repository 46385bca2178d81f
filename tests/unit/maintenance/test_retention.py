"""History: what goes after so many days, and that the counters go on agreeing with the rows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.conftest import App
from tests.support.clock import travelled_to
from tests.support.single_uploads import request, upload
from uploadkit.config import HousekeepingConfig
from uploadkit.core import clock
from uploadkit.core.clock import DAY_MS
from uploadkit.db.models import Event, File, FileRoute, Project, WebhookAttempt, WebhookDelivery, WebhookDestination
from uploadkit.files import lifecycle
from uploadkit.files import service as files
from uploadkit.maintenance import retention, sweeper
from uploadkit.projects import quotas, usage
from uploadkit.webhooks import event_log


def keep(app: App, days: int | None) -> None:
    app.ctx.config = app.ctx.config.model_copy(update={"housekeeping": HousekeepingConfig(history_days=days)})


def deliver(app: App, file: File, name: str, status: str) -> None:
    now = clock.now_ms()
    common = {"project": app.project, "environment": "live", "created_at": now}
    destination, _ = WebhookDestination.get_or_create(url="u", defaults={"id": "d", "origin": "u", **common})
    waits = {"pending": {"next_attempt_at": now}, "delivering": {"leased_until": now}}.get(status, {"ended_at": now})
    reported = {"event_id": "e", "event": "onUploadComplete", "file_id": file.id, "payload": "{}"}
    WebhookDelivery.create(id=name, destination=destination, status=status, **reported, **waits, **common)
    WebhookAttempt.create(id=f"try-{name}", delivery=name, started_at=now, duration_ms=1)


def test_history_goes_after_its_days(app: App) -> None:
    keep(app, 2)
    deleted, kept = upload(app, app.caller), upload(app, app.caller)
    failed = request(app, app.caller).file
    for number, status in enumerate(("delivered", "dead", "pending", "delivering")):
        deliver(app, deleted, str(number), status)
    files.delete_file(app.ctx, app.caller, deleted.key)
    with travelled_to(max(deleted.deadline_at, failed.deadline_at)):
        sweeper.sweep_due(app.ctx)
        ended_at = clock.now_ms()
        assert retention.forget(app.ctx) == 0
    with travelled_to(ended_at + 2 * DAY_MS + 1):
        assert retention.forget(app.ctx) > 0
        assert retention.forget(app.ctx) == 0
    assert [file.id for file in File.select()] == [kept.id]
    assert not Event.select().exists()
    assert {delivery.id for delivery in WebhookDelivery.select()} == {"2", "3"}, "what has still to be sent stays"
    assert {attempt.id for attempt in WebhookAttempt.select()} == {"try-2", "try-3"}
    assert usage.find_differences() == []


def test_a_reader_of_the_feed_learns_that_it_came_too_late(app: App) -> None:
    keep(app, 2)
    old = upload(app, app.caller)
    request(app, app.caller)
    first = event_log.feed(app.caller, 0, 10)
    assert [event.file_id for event in first.items] == [old.id]
    with travelled_to(clock.now_ms() + 3 * DAY_MS):
        retention.forget(app.ctx)
        young = upload(app, app.caller)
        late = event_log.feed(app.caller, 0, 10)
        assert ([event.file_id for event in late.items], late.gap) == ([young.id], True)
        assert not event_log.feed(app.caller, first.next_after, 10).gap, "it had read all that was forgotten"
        assert not event_log.feed(replace(app.caller, environment="test"), 0, 10).gap, "nor was anything of the sandbox"


def test_a_gap_that_was_noted_early_stays_noted(app: App) -> None:
    """Uploads beyond those kept that failed go early, with their events; older events go in their turn, and must not take the note back."""
    keep(app, 2)
    upload(app, app.caller)
    failed = request(app, app.caller).file
    lifecycle.abort(app.ctx, failed.id)
    seen = event_log.feed(app.caller, 0, 1).next_after
    with travelled_to(failed.deadline_at), pytest.MonkeyPatch.context() as patched:
        sweeper.sweep_due(app.ctx)
        patched.setattr(retention, "MOST_FAILED", 0)
        assert retention.forget_early(app.ctx) == 1
        assert event_log.feed(app.caller, seen, 10).gap
    with travelled_to(failed.deadline_at + 3 * DAY_MS):
        retention.forget(app.ctx)
        assert event_log.feed(app.caller, seen, 10).gap


def test_destinations_go_when_nothing_refers_to_them(app: App) -> None:
    keep(app, 2)
    deliver(app, upload(app, app.caller), "one", "delivered")
    common = {"project": app.project, "environment": "live", "origin": "u", "created_at": clock.now_ms()}
    WebhookDestination.create(id="named", url="https://named.example/", **common)
    WebhookDestination.create(id="unused", url="https://unused.example/", **common)
    FileRoute.update(webhook_url="https://named.example/").execute()
    retention.forget(app.ctx)
    assert {destination.id for destination in WebhookDestination.select()} == {"d", "named"}
    with travelled_to(clock.now_ms() + 3 * DAY_MS):
        retention.forget(app.ctx)
    assert {destination.id for destination in WebhookDestination.select()} == {"named"}


def test_a_dead_letter_is_kept_for_its_days_from_its_death(app: App) -> None:
    keep(app, 2)
    deliver(app, upload(app, app.caller), "late", "pending")
    died_at = clock.now_ms() + 3 * DAY_MS
    WebhookDelivery.update(status="dead", next_attempt_at=None, ended_at=died_at).execute()
    with travelled_to(died_at + 2 * DAY_MS):
        retention.forget(app.ctx)
        assert WebhookDelivery.select().exists()
    with travelled_to(died_at + 2 * DAY_MS + 1):
        retention.forget(app.ctx)
    assert not WebhookDelivery.select().exists()


def test_what_still_has_to_be_swept_is_not_forgotten(app: App) -> None:
    keep(app, 1)
    file = upload(app, app.caller)
    files.delete_file(app.ctx, app.caller, file.key)
    with travelled_to(file.created_at + 3 * DAY_MS):
        retention.forget(app.ctx)
        assert File.get_by_id(file.id).sweep_at is not None
        sweeper.sweep_due(app.ctx)
        retention.forget(app.ctx)
    assert not File.select().exists()


def test_history_can_be_kept_for_ever(app: App) -> None:
    keep(app, None)
    file = upload(app, app.caller)
    with travelled_to(file.created_at + 10_000 * DAY_MS):
        assert retention.forget(app.ctx) == 0
    assert Event.select().exists()


def test_a_crash_in_the_middle_costs_nothing(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(app, 1)
    gone = [upload(app, app.caller) for _ in range(3)]
    for file in gone:
        files.delete_file(app.ctx, app.caller, file.key)
    real, calls = quotas.remember_purged, []

    def crash_at_the_second(file: File) -> None:
        calls.append(file)
        if len(calls) == 2:
            raise RuntimeError("a crash")
        real(file)

    with travelled_to(gone[-1].deadline_at + 2 * DAY_MS):
        sweeper.sweep_due(app.ctx)
        with monkeypatch.context() as patched:
            patched.setattr(quotas, "remember_purged", crash_at_the_second)
            with pytest.raises(RuntimeError):
                retention.forget(app.ctx)
        assert File.select().count() == 3
        assert usage.find_differences() == []
        retention.forget(app.ctx)
    assert not File.select().exists()
    assert usage.find_differences() == []


def test_more_than_a_batch_goes_in_one_run(app: App) -> None:
    keep(app, 1)
    other = replace(app.caller, environment="test")
    for caller in (app.caller, other):
        for _ in range(3):
            request(app, caller)
    File.update(status="FAILED", failure="aborted", sweep_at=None, reserved_bytes=0).execute()
    Project.update(storage_reserved_bytes=0, uploads_reserved=0).execute()
    with pytest.MonkeyPatch.context() as patched, travelled_to(clock.now_ms() + 2 * DAY_MS):
        patched.setattr(retention, "_BATCH", 2)
        assert retention.forget(app.ctx) == 12
    assert not File.select().exists()
    assert not Event.select().exists()
