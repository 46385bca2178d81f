"""The appliance's clock put forward and back while it runs, and a store whose clock is another."""

from __future__ import annotations

import random
import re
from contextlib import ExitStack, nullcontext
from typing import Any

import pytest

from tests.conftest import App
from tests.support.clock import put_by, travelled_to
from tests.support.completed_rows import completed as completed_in_rows
from tests.support.killed_uploads import completed, requested
from tests.support.store_proxy import Answered, Asked, PassOn, proxied
from tests.support.stored import put
from uploadkit.auth import sessions
from uploadkit.config import RateLimitsConfig
from uploadkit.context import Context
from uploadkit.coordination.rate_limits import RateLimits
from uploadkit.core import clock
from uploadkit.core.errors import StorageUnavailable
from uploadkit.db.models import Admin, File, FileRoute, Project, WebhookDelivery
from uploadkit.files import single_upload
from uploadkit.files.single_upload import UploadRequest
from uploadkit.maintenance import sweeper
from uploadkit.net.safe_post import Outcome
from uploadkit.objectstore.store import ObjectStore
from uploadkit.observability import diagnosis
from uploadkit.projects import usage
from uploadkit.webhooks import delivery as webhook_delivery
from uploadkit.webhooks import event_log, leases

MINUTE_MS = 60_000
JUMPS = (20 * MINUTE_MS, 0, -20 * MINUTE_MS, 0, 20 * MINUTE_MS)


def statuses(*ids: str) -> list[str]:
    return [File.get_by_id(file_id).status for file_id in ids]


def test_no_upload_is_thrown_away_early_when_the_clock_is_put_forward_and_back(app: App) -> None:
    """An upload has 75 minutes. After 60 of them the clock is put to minute 80, to 60, to 40, and so on."""
    with travelled_to(clock.now_ms()) as advance:
        arrived = requested(app, app.caller)
        late = single_upload.request_upload(app.ctx, app.caller, UploadRequest("b.jpg", 4, "image/jpeg", "default", {}))
        file = completed(app, app.caller)
        for minute in (0, 30, 60):
            for jump in JUMPS:
                with put_by(jump):
                    sweeper.sweep_due(app.ctx)
                    assert statuses(arrived["id"], late.file.id) == ["UPLOADING", "UPLOADING"], (minute, jump)
            advance(30 * MINUTE_MS if minute < 60 else 0)
        with put_by(JUMPS[0]):
            assert put(late.upload_url, b"\xff\xd8\xff\xe0") == 200
            assert single_upload.complete_upload(app.ctx, app.caller, late.file.id, {}).status == "UPLOADED"
            sweeper.sweep_due(app.ctx)
            advance(14 * MINUTE_MS)
            sweeper.sweep_due(app.ctx)
            assert statuses(arrived["id"]) == ["UPLOADING"]
            advance(2 * MINUTE_MS)
            sweeper.sweep_due(app.ctx)
            assert statuses(arrived["id"]) == ["FAILED"], "but it is, when its time is over"
            assert not File.select().where(File.sweep_at <= clock.now_ms()).exists()
        app.ctx.store.head(file["key"])
    row = Project.get_by_id(app.project.id)
    assert (row.storage_used_bytes, row.storage_reserved_bytes, row.uploads_reserved) == (8, 0, 0)
    assert usage.find_differences() == []


def test_a_late_put_is_looked_for_after_the_deadline_by_both_clocks(app: App) -> None:
    """The second look at `pending/` must not come while the URL is still good."""
    with travelled_to(clock.now_ms()) as advance:
        slot = requested(app, app.caller)
        single_upload.complete_upload(app.ctx, app.caller, slot["id"], {})
        advance(60 * MINUTE_MS)
        with put_by(20 * MINUTE_MS):
            sweeper.sweep_due(app.ctx)
            assert File.get_by_id(slot["id"]).sweep_at == clock.now_ms() + 15 * MINUTE_MS
            advance(15 * MINUTE_MS)
            sweeper.sweep_due(app.ctx)
        assert File.get_by_id(slot["id"]).sweep_at is None


def test_rates_sessions_and_events_stand_it(app: App) -> None:
    limits = RateLimits(RateLimitsConfig())
    admin = Admin.create(id="a", email="a@example.com", password_hash="x", created_at=0, password_changed_at=0)
    token = sessions.begin(app.ctx.config, admin, "127.0.0.1", "test")
    refused = []
    for jump in JUMPS:
        with put_by(jump) if jump else nullcontext():
            standing = limits.count_request("key", 3)
            assert standing
            refused.append(standing.retry_after_seconds is not None)
            assert standing.retry_after_seconds is None or standing.retry_after_seconds <= 60
            assert token in sessions.find([token])
            completed(app, app.caller)
    assert refused == [False, False, False, True, True], "nobody gets more requests by a clock that is wrong"
    made = [file.id for file in File.select().order_by(File.id)]
    reported = [event.file_id for event in event_log.feed(app.caller, 0, 100).items]
    assert sorted(reported) == made, "none is left out of the feed, whatever time it was"


@pytest.mark.parametrize("jumps", [(20,), (-20,), (20, -20), (-20, 20)], ids=str)
def test_no_webhook_is_lost_stuck_or_sent_twice_at_once(app: App, jumps: tuple[int, ...]) -> None:
    """Deliveries that take up to 29 s, fail up to three times, and are cut off now and then, while the clock is put by 20 minutes."""
    chance, step_seconds, schedule_seconds = random.Random(str(jumps)), 3, sum(app.ctx.config.webhooks.retry_schedule_seconds)
    lease_seconds = app.ctx.config.webhooks.timeout_seconds + 30
    jump_at = dict(zip(sorted(chance.sample(range(60, 900), len(jumps))), jumps, strict=True))
    failures = {}
    in_flight: dict[leases.Lease, int] = {}
    made_at, arrived_after = {}, {}

    def post(url: str, *_: Any, **__: Any) -> Outcome:
        failures[url] -= 1
        return Outcome(500 if failures[url] >= 0 else 200, None, None, None, 5)

    with ExitStack() as clocks:
        advance = clocks.enter_context(travelled_to(clock.now_ms()))
        for second in range(0, 3 * 3600, step_seconds):
            for at in [at for at in jump_at if at <= second]:
                clocks.enter_context(put_by(jump_at.pop(at) * MINUTE_MS))
            if second % 30 == 0 and second < 900:
                url = f"https://{second}.example/"
                FileRoute.update(webhook_url=url).execute()
                failures[url] = chance.randint(0, 3)
                made_at[completed_in_rows(app).id] = second
            for lease in leases.lease_due(app.ctx):
                assert lease.delivery_id not in [flying.delivery_id for flying in in_flight], "sent by two at once"
                is_cut_off = chance.random() < 0.1
                if not is_cut_off:
                    in_flight[lease] = second + chance.randint(0, 29)
            for lease in [lease for lease, until in in_flight.items() if until <= second]:
                webhook_delivery.deliver(app.ctx, lease, post)
                del in_flight[lease]
            for (file_id,) in WebhookDelivery.select(WebhookDelivery.file_id).where(WebhookDelivery.status == "delivered").tuples():
                arrived_after.setdefault(file_id, second - made_at[file_id])
            advance(step_seconds * 1000)
    assert sorted(arrived_after) == sorted(made_at), "all of them"
    flights = 4 * (30 + lease_seconds + 2 * step_seconds)
    assert max(arrived_after.values()) <= schedule_seconds + flights + 20 * 60


def test_a_store_whose_clock_is_20_minutes_ahead(app: App) -> None:
    ahead_ms = 20 * MINUTE_MS

    def rule(asked: Asked, pass_on: PassOn) -> Answered:
        is_signed = "authorization" in map(str.lower, asked.headers)
        answered = pass_on(asked) if not is_signed else Answered.error(403, "RequestTimeTooSkewed")
        there = clock.to_datetime(clock.now_ms() + ahead_ms)
        return Answered(answered.status, answered.headers | {"Date": there.strftime("%a, %d %b %Y %H:%M:%S GMT")}, answered.body)

    facts = requested(app, app.caller)
    with proxied(app.ctx.store.address, rule) as address:
        ctx = Context(app.ctx.config, ObjectStore(address))
        with pytest.raises(StorageUnavailable, match="its clock and this machine's differ") as refused:
            single_upload.complete_upload(ctx, app.caller, facts["id"], {})
        assert "NTP" in (refused.value.suggestion or "")
        assert "clock" in (ctx.store_watch.failure() or "")
        began = clock.monotonic_ms()
        found = {finding.name: finding for finding in diagnosis.examine(ctx.config, ctx.store)}
        took_seconds = (clock.monotonic_ms() - began) / 1000
        sweeper.sweep_due(ctx)
    assert found["clock"].outcome == "failed"
    reported = re.search(r"(\d+) s behind", found["clock"].detail)
    assert reported
    assert abs(int(reported[1]) - ahead_ms / 1000) <= 1 + took_seconds, "as near as a header in whole seconds and the way there allow"
    assert (found["bucket"].outcome, found["bucket"].suggestion) == ("failed", "Set this machine's clock (NTP)")
    assert single_upload.complete_upload(app.ctx, app.caller, facts["id"], {}).status == "UPLOADED"
