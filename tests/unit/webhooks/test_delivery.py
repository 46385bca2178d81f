"""The outbox and its delivery, with the clock in our hand: schedule, leases, pauses, and what goes where."""

from __future__ import annotations

import email.utils
import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.conftest import App
from tests.support.clock import travelled_to
from tests.support.completed_rows import completed
from uploadkit import config
from uploadkit.auth import api_keys, callers
from uploadkit.core import clock
from uploadkit.core.errors import Conflict, Forbidden, NotFound, ValidationFailed
from uploadkit.db.connection import execute, write
from uploadkit.db.models import Audit, File, FileRoute, WebhookAttempt, WebhookDelivery, WebhookDestination, database
from uploadkit.files import lifecycle, single_upload
from uploadkit.files import service as files
from uploadkit.net.safe_post import Outcome
from uploadkit.projects import file_routes
from uploadkit.projects import service as projects
from uploadkit.schemas.webhooks import DeliveryObject
from uploadkit.webhooks import delivery as webhook_delivery
from uploadkit.webhooks import event_log, leases, outbox
from uploadkit.webhooks import secrets as webhook_secrets
from uploadkit.webhooks.leases import Lease
from uploadkit.webhooks.retries import LONGEST_RETRY_AFTER_MS, next_attempt_at

NOON = 1_900_000_000_000
MINUTE_MS = 60_000
URL = "https://receiver.example/hook"
ALL_EVENTS = ["onUploadComplete", "file.failed", "file.deleted"]


@dataclass
class Calls:
    """Stands for the network: remembers calls, answers as told."""

    status: int | None = 200
    retry_after: str | None = None
    made: list[tuple[int, str, dict[str, Any]]] = field(default_factory=list)

    def post(self, url: str, body: bytes, headers: dict[str, str], **_: Any) -> Outcome:
        self.made.append((clock.now_ms(), url, json.loads(body)))
        error = None if self.status else "ConnectionRefusedError: nobody there"
        return Outcome(self.status, "body", self.retry_after, error, 5)

    @property
    def times(self) -> list[int]:
        return [at for at, _, _ in self.made]


@pytest.fixture
def calls() -> Calls:
    return Calls()


@pytest.fixture
def wired(app: App) -> App:
    """A app whose file route `default` wants to be told everything."""
    FileRoute.update(webhook_url=URL, webhook_events=ALL_EVENTS).execute()
    return app


@pytest.fixture
def at_noon() -> Iterator[Callable[[int], None]]:
    with travelled_to(NOON) as advance:
        yield advance


def send_due(app: App, calls: Calls) -> int:
    """Send what is due, as the dispatcher does, one after another."""
    sent = 0
    while held := leases.lease_due(app.ctx):
        for lease in held:
            webhook_delivery.deliver(app.ctx, lease, calls.post)
            sent += 1
    return sent


def only() -> WebhookDelivery:
    (delivery,) = WebhookDelivery.select()
    return delivery


# What goes into the outbox.


def test_the_outbox_is_written_with_the_state(wired: App) -> None:
    woken = []
    wired.ctx.signals.wake_webhooks = lambda: woken.append(execute("SELECT count(*) FROM webhook_delivery").fetchone()[0])
    file = completed(wired)
    assert woken == [1], "once, after the commit"
    delivery = only()
    assert (delivery.event, delivery.file_id, delivery.status) == ("onUploadComplete", file.id, "pending")
    (event,) = event_log.feed(wired.caller, 0, 10).items
    assert delivery.event_id == event.id
    assert json.loads(delivery.payload) == {
        "id": event.id,
        "event": "onUploadComplete",
        "createdAt": clock.to_iso(event.at),
        "projectId": wired.project.id,
        "environment": "live",
        "file": {
            "id": file.id,
            "key": file.key,
            "url": f"http://127.0.0.1:8080/f/{file.key}",
            "fileName": "a.jpg",
            "fileSize": 5,
            "contentType": "image/jpeg",
            "name": "a.jpg",
            "size": 5,
            "type": "image/jpeg",
            "status": "UPLOADED",
            "metadata": {"by": "ann"},
            "clientMetadata": {},
            "createdAt": clock.to_iso(file.created_at),
        },
        "metadata": {"by": "ann"},
    }


def test_a_transaction_that_fails_leaves_no_event_and_no_delivery(wired: App, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("power cut")

    woken: list[int] = []
    wired.ctx.signals.wake_webhooks = lambda: woken.append(1)
    file = single_upload.request_upload(wired.ctx, wired.caller, single_upload.UploadRequest("a.jpg", 5, "image/jpeg", "default", {})).file
    monkeypatch.setattr(outbox, "on_commit", fail)
    with pytest.raises(RuntimeError):
        lifecycle.finish(wired.ctx, file, "etag", file.content_type, {}, sweep_at=None)
    assert File.get_by_id(file.id).status == "UPLOADING"
    assert event_log.feed(wired.caller, 0, 10).items == []
    assert not WebhookDelivery.select().exists()
    assert woken == []


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (["onUploadComplete"], ["onUploadComplete"]),
        (["file.deleted"], ["file.deleted"]),
        (ALL_EVENTS, ["onUploadComplete", "file.deleted", "file.failed"]),
        ([], []),
    ],
)
def test_a_file_route_is_told_what_it_asks_for(app: App, wanted: list[str], expected: list[str]) -> None:
    FileRoute.update(webhook_url=URL, webhook_events=wanted).execute()
    file = completed(app)
    files.delete_file(app.ctx, app.caller, file.key)
    failed = single_upload.request_upload(app.ctx, app.caller, single_upload.UploadRequest("b.jpg", 5, "image/jpeg", "default", {})).file
    lifecycle.abort(app.ctx, failed.id)
    assert [row.event for row in WebhookDelivery.select().order_by(WebhookDelivery.id)] == expected
    feed = event_log.feed(app.caller, 0, 10)
    assert [outbox.PUBLIC_EVENTS[event.status] for event in feed.items] == ["onUploadComplete", "file.deleted", "file.failed"]


def test_what_is_set_now_counts_and_an_unknown_file_route_is_told_nothing(wired: App) -> None:
    route = file_routes.create_file_route(wired.ctx.config, wired.caller, wired.project.id, {"slug": "gone", "webhook_url": URL})
    request = single_upload.UploadRequest("a.jpg", 5, "image/jpeg", "gone", {})
    file = single_upload.request_upload(wired.ctx, wired.caller, request).file
    file_routes.delete_file_route(wired.caller, route.id)
    lifecycle.finish(wired.ctx, file, "etag", file.content_type, {}, sweep_at=None)
    assert not WebhookDelivery.select().exists()
    before = single_upload.request_upload(
        wired.ctx, wired.caller, single_upload.UploadRequest("a.jpg", 5, "image/jpeg", "default", {})
    ).file
    FileRoute.update(webhook_url="https://new.example/").execute()
    lifecycle.finish(wired.ctx, before, "etag", before.content_type, {}, sweep_at=None)
    assert outbox.find_delivery(wired.caller, only().id).destination.url == "https://new.example/"


def test_the_payload_outlives_the_file(wired: App, calls: Calls) -> None:
    file = completed(wired)
    with write():
        execute("DELETE FROM file WHERE id = ?", (file.id,))
    assert send_due(wired, calls) == 1
    assert calls.made[0][2]["file"]["id"] == file.id
    (event,) = event_log.feed(wired.caller, 0, 10).items
    assert (event.size_bytes, event.content_type) == (5, "image/jpeg")


# The schedule.


def test_exactly_one_five_and_thirty_minutes(wired: App, calls: Calls, at_noon: Callable[[int], None]) -> None:
    calls.status = 500
    completed(wired)
    assert send_due(wired, calls) == 1
    for minutes in (1, 5, 30):
        assert leases.next_due() == clock.now_ms() + minutes * MINUTE_MS
        at_noon(minutes * MINUTE_MS - 1)
        assert send_due(wired, calls) == 0, "not a millisecond early"
        at_noon(1)
        assert send_due(wired, calls) == 1
    assert calls.times == [NOON, NOON + MINUTE_MS, NOON + 6 * MINUTE_MS, NOON + 36 * MINUTE_MS]
    delivery = only()
    assert (delivery.status, delivery.attempts, delivery.last_status_code) == ("dead", 4, 500)
    assert delivery.last_error == "The receiver answered 500"
    assert leases.next_due() is None
    at_noon(30 * 86_400_000)
    assert send_due(wired, calls) == 0


def test_success_ends_it(wired: App, calls: Calls, at_noon: Callable[[int], None]) -> None:
    calls.status = None
    completed(wired)
    send_due(wired, calls)
    assert only().last_error == "ConnectionRefusedError: nobody there"
    calls.status = 204
    at_noon(MINUTE_MS)
    assert send_due(wired, calls) == 1
    delivery = only()
    assert (delivery.status, delivery.attempts, delivery.ended_at, delivery.last_error) == ("delivered", 2, NOON + MINUTE_MS, None)
    assert [a.status_code for a in outbox.attempts_of(delivery)] == [None, 204]
    assert len({payload["id"] for _, _, payload in calls.made}) == 1


@pytest.mark.parametrize("status", [199, 300, 304, 400, 404, 410, 429, 503])
def test_only_2xx_is_success(wired: App, calls: Calls, status: int) -> None:
    calls.status = status
    completed(wired)
    send_due(wired, calls)
    assert only().status == "pending"


@pytest.mark.parametrize(
    ("retry_after", "expected_ms"),
    [
        (None, 60_000),
        ("5", 60_000),
        ("90", 90_000),
        (" 3600 ", 3_600_000),
        ("999999999999", LONGEST_RETRY_AFTER_MS),
        ("9" * 5000, 60_000),
        ("-5", 60_000),
        ("1.5", 60_000),
        ("soon", 60_000),
        ("", 60_000),
        ("٥٠٠", 60_000),
        (email.utils.formatdate((NOON + 600_000) / 1000, usegmt=True), 600_000),
        (email.utils.formatdate((NOON - 600_000) / 1000, usegmt=True), 60_000),
        (email.utils.formatdate((NOON + 600_000) / 1000), 600_000),  # -0000
        (email.utils.formatdate((NOON + 600_000) / 1000).removesuffix(" -0000"), 600_000),
        ("Fri, 31 Dec 9999 23:59:59 GMT", LONGEST_RETRY_AFTER_MS),
        ("Fri, 99 Foo 99999 99:99:99 GMT", 60_000),
    ],
)
def test_retry_after_may_put_off_but_not_for_ever(retry_after: str | None, expected_ms: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        try:
            at = next_attempt_at(NOON, 1, (60, 300, 1800), retry_after)
        finally:
            elsewhere.undo()
            time.tzset()
    assert at == NOON + expected_ms


def test_the_schedule_is_what_is_configured() -> None:
    assert [next_attempt_at(0, attempts, (1, 2)) for attempts in (1, 2, 3)] == [1000, 2000, None]
    assert next_attempt_at(0, 1, ()) is None
    assert next_attempt_at(0, 4, (60, 300, 1800), "90") is None, "Retry-After adds no attempt"


def test_retry_after_of_a_receiver_is_heard(wired: App, calls: Calls, at_noon: Callable[[int], None]) -> None:
    calls.status, calls.retry_after = 503, "120"
    completed(wired)
    send_due(wired, calls)
    assert only().next_attempt_at == NOON + 120_000


# Leases.


def test_two_workers_never_hold_the_same_delivery(wired: App, at_noon: Callable[[int], None]) -> None:
    for number in range(8):
        FileRoute.update(webhook_url=f"https://receiver-{number}.example/").execute()
        for _ in range(3):
            completed(wired)
    WebhookDestination.update(arrived=True).execute()
    found: list[str] = []

    def work() -> None:
        found.extend(lease.delivery_id for lease in leases.lease_due(wired.ctx))

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == len(set(found)) == leases.MOST_IN_FLIGHT * 3 // 4, "what one project may have"


def test_a_lease_that_ran_out_is_due_again_and_its_late_result_changes_nothing(
    wired: App, calls: Calls, at_noon: Callable[[int], None]
) -> None:
    completed(wired)
    (late,) = leases.lease_due(wired.ctx)
    assert leases.lease_due(wired.ctx) == []
    at_noon(30_000 + 30_000)
    (again,) = leases.lease_due(wired.ctx)
    assert again.delivery_id == late.delivery_id
    calls.status = 500
    webhook_delivery.deliver(wired.ctx, late, calls.post)
    assert (only().status, only().attempts) == ("delivering", 0), "it belongs to the other one now"
    calls.status = 200
    webhook_delivery.deliver(wired.ctx, again, calls.post)
    assert (only().status, only().attempts) == ("delivered", 1)
    assert WebhookAttempt.select().count() == 2, "both calls were made, both are told"


def test_leases_are_released_at_the_start(wired: App, calls: Calls) -> None:
    completed(wired)
    assert len(leases.lease_due(wired.ctx)) == 1
    assert leases.release_all() == 1
    assert send_due(wired, calls) == 1
    assert leases.release_all() == 0


def backlog(app: App, url: str, count: int = 1, *, arrived: bool | None = None) -> None:
    """Completed uploads whose events go to `url`, where the last attempt arrived, failed, or none was made yet."""
    FileRoute.update(webhook_url=url).where(FileRoute.project == app.project).execute()
    for _ in range(count):
        completed(app)
    WebhookDestination.update(arrived=arrived).where(WebhookDestination.url == url).execute()


def urls_of(held: list[Lease]) -> list[str]:
    return [WebhookDelivery.get_by_id(lease.delivery_id).destination.url for lease in held]


def test_at_most_two_in_flight_to_one_server(wired: App) -> None:
    for path in ("a", "b", "c"):
        backlog(wired, f"https://slow.example/{path}", 4, arrived=True)
    backlog(wired, "https://quick.example/")
    assert sorted(urls_of(leases.lease_due(wired.ctx))) == ["https://quick.example/", *["https://slow.example/a"] * 2]
    assert leases.lease_due(wired.ctx) == []


@pytest.mark.parametrize(("arrived", "most"), [(True, 12), (None, 9), (False, 3)])
def test_what_does_not_arrive_gets_a_part_of_the_senders(wired: App, arrived: bool | None, most: int) -> None:
    shop = another_project(wired)
    for number in range(20):
        backlog(wired if number % 2 else shop, f"https://receiver-{number}.example/", 2, arrived=arrived)
    assert len(leases.lease_due(wired.ctx)) == most
    backlog(wired, "https://proven.example/", 2, arrived=True)
    assert urls_of(leases.lease_due(wired.ctx)) == ([] if arrived else ["https://proven.example/"] * 2)


def test_receivers_that_hang_hold_up_nobody(wired: App, calls: Calls, at_noon: Callable[[int], None]) -> None:
    """Eight servers that hang at every call, each with a backlog, beside one that answers: every upload of its is sent at once."""
    for number in range(8):
        backlog(wired, f"https://hangs-{number}.example/", 10)
    hanging: list[tuple[int, Lease]] = []
    for step in range(60):
        if step % 3 == 0:
            backlog(wired, "https://good.example/", arrived=True if step else None)
        held = leases.lease_due(wired.ctx)
        assert urls_of(held).count("https://good.example/") == (1 if step % 3 == 0 else 0), f"step {step}"
        for lease, url in zip(held, urls_of(held), strict=True):
            if url == "https://good.example/":
                calls.status = 200
                webhook_delivery.deliver(wired.ctx, lease, calls.post)
            else:
                hanging.append((clock.now_ms() + 30_000, lease))
        at_noon(2000)
        calls.status = None
        for _, lease in [late for late in hanging if late[0] <= clock.now_ms()]:
            webhook_delivery.deliver(wired.ctx, lease, calls.post)
        hanging = [late for late in hanging if late[0] > clock.now_ms()]
    tried = WebhookDestination.select().where(WebhookDestination.arrived == False)  # noqa: E712
    assert tried.count() == 8, "and those that hang are tried in turn"


def another_project(app: App, name: str = "Shop") -> App:
    """Another tenant of the same appliance."""
    project = projects.create_project(app.ctx.config, app.caller, name)
    api_key = api_keys.issue_key(app.ctx.config, app.caller, project.id, "k").plaintext
    FileRoute.update(webhook_url=URL, webhook_events=["onUploadComplete"]).where(FileRoute.project == project).execute()
    return App(app.ctx, project, api_keys.find_caller(app.ctx.config, api_key), api_key)


@pytest.mark.parametrize("arrived", [True, None, False])
@pytest.mark.parametrize("theirs", [True, None, False])
def test_a_tenant_whose_receivers_hang_takes_no_turn_of_others(wired: App, theirs: bool | None, arrived: bool | None) -> None:
    """Whatever they are: new ones without an end, ones that say 200 after half a minute, or ones that failed."""
    shop = another_project(wired)
    for number in range(40):
        backlog(wired, f"https://hangs-{number}.example/", 3, arrived=theirs)
    assert leases.lease_due(wired.ctx), "as many as there is room for"
    backlog(shop, "https://shop.example/", arrived=arrived)
    assert urls_of(leases.lease_due(wired.ctx)) == ["https://shop.example/"], "at once"


def test_the_next_turn_is_for_the_project_with_the_fewest_calls(wired: App, calls: Calls) -> None:
    """However many destinations of the others were never called, or not for long."""
    shops = [another_project(wired, f"Shop {number}") for number in range(3)]
    for number in range(20):
        for shop in (wired, *shops[:2]):
            backlog(shop, f"https://{shop.project.slug}-{number}.example/")
    under_way = leases.lease_due(wired.ctx)
    assert len(under_way) == 9
    backlog(shops[2], "https://late.example/", arrived=False)
    assert urls_of(leases.lease_due(wired.ctx)) == ["https://late.example/"], "at once: a quarter is left for who has none"
    assert leases.lease_due(wired.ctx) == []
    calls.status = None
    webhook_delivery.deliver(wired.ctx, under_way[0], calls.post)
    assert len(leases.lease_due(wired.ctx)) == 1


def test_looking_for_what_is_due_keeps_no_write_waiting(wired: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """All destinations are looked through; a tenant may have a thousand."""
    for number in range(3):
        backlog(wired, f"https://receiver-{number}.example/")
    look, was_locked = leases._chosen, []
    monkeypatch.setattr(leases, "_chosen", lambda now: was_locked.append(database.in_transaction()) or look(now))
    assert len(leases.lease_due(wired.ctx)) == 3
    assert was_locked == [False]


def test_what_is_deleted_while_it_is_chosen_is_not_sent(wired: App, monkeypatch: pytest.MonkeyPatch) -> None:
    backlog(wired, "https://receiver.example/", 2, arrived=True)
    gone, stays = WebhookDelivery.select().order_by(WebhookDelivery.created_at)
    look = leases._chosen

    def deleted_meanwhile(now: int) -> list[tuple[str, str]]:
        found = list(look(now))
        outbox.delete_delivery(wired.caller, gone.id)
        return found

    monkeypatch.setattr(leases, "_chosen", deleted_meanwhile)
    assert [lease.delivery_id for lease in leases.lease_due(wired.ctx)] == [stays.id]


def test_two_projects_behind_one_server_take_turns(wired: App, calls: Calls, at_noon: Callable[[int], None]) -> None:
    backlog(wired, "https://shared.example/one", 50, arrived=True)
    first, second = leases.lease_due(wired.ctx)
    backlog(wired, "https://shared.example/other", 3)
    found = []
    for lease in (first, second):
        at_noon(10)
        webhook_delivery.deliver(wired.ctx, lease, calls.post)
        found += urls_of(leases.lease_due(wired.ctx))
    assert found == ["https://shared.example/other", "https://shared.example/one"]


def test_a_delivery_that_was_deleted_while_it_was_sent(wired: App, calls: Calls) -> None:
    completed(wired)
    (lease,) = leases.lease_due(wired.ctx)

    def delete_then_answer(url: str, body: bytes, headers: dict[str, str], **more: Any) -> Outcome:
        with write():
            execute("DELETE FROM webhook_delivery")
        return calls.post(url, body, headers, **more)

    webhook_delivery.deliver(wired.ctx, lease, delete_then_answer)
    webhook_delivery.deliver(wired.ctx, lease, calls.post)
    assert len(calls.made) == 1


# Pauses.


def die(app: App, calls: Calls, count: int, advance: Callable[[int], None]) -> None:
    calls.status = 500
    for _ in range(count):
        completed(app)
    for _ in range(4):
        send_due(app, calls)
        advance(30 * MINUTE_MS)


def test_twenty_dead_in_a_row_pause_a_destination_and_nothing_is_dropped(wired: App, calls: Calls, at_noon: Callable[[int], None]) -> None:
    die(wired, calls, 19, at_noon)
    (destination,) = WebhookDestination.select()
    assert (destination.dead_in_a_row, destination.paused_at) == (19, None)
    die(wired, calls, 1, at_noon)
    (destination,) = WebhookDestination.select()
    assert destination.paused_at is not None
    before = len(calls.made)
    for _ in range(3):
        completed(wired)
    FileRoute.update(webhook_url="https://other.example/").execute()
    completed(wired)
    calls.status = 200
    assert send_due(wired, calls) == 1, "others go on"
    at_noon(86_400_000)
    assert send_due(wired, calls) == 0
    assert leases.next_due() is None
    outbox.resume(wired.caller, destination.id)
    assert send_due(wired, calls) == 3
    assert len(calls.made) == before + 4
    assert WebhookDelivery.select().where(WebhookDelivery.status == "dead").count() == 20
    assert [entry.action for entry in Audit.select().where(Audit.subject_kind == "webhook_destination")] == ["resumed"]


def test_a_test_event_that_arrives_ends_a_pause_and_one_that_fails_says_nothing(
    wired: App, calls: Calls, at_noon: Callable[[int], None]
) -> None:
    die(wired, calls, 20, at_noon)
    completed(wired)
    failing = outbox.send_test(wired.ctx.config, wired.caller, "default")
    assert send_due(wired, calls) == 1
    failed = outbox.find_delivery(wired.caller, failing.id)
    assert (failed.status, failed.attempts, failed.event) == ("dead", 1, "webhook.test")
    (destination,) = WebhookDestination.select()
    assert destination.dead_in_a_row == 20
    assert destination.paused_at is not None
    calls.status = 200
    outbox.send_test(wired.ctx.config, wired.caller, "default")
    assert send_due(wired, calls) == 2, "the test, and then what waited"
    (destination,) = WebhookDestination.select()
    assert (destination.dead_in_a_row, destination.paused_at) == (0, None)


def test_one_delivery_that_dies_again_and_again_counts_once(wired: App, calls: Calls, at_noon: Callable[[int], None]) -> None:
    die(wired, calls, 1, at_noon)
    for _ in range(3):
        outbox.redeliver(wired.caller, only().id)
        for _ in range(4):
            assert send_due(wired, calls) == 1
            at_noon(30 * MINUTE_MS)
    assert only().status == "dead"
    (destination,) = WebhookDestination.select()
    assert destination.dead_in_a_row == 1
    outbox.resume(wired.caller, destination.id)
    outbox.redeliver(wired.caller, only().id)
    for _ in range(4):
        send_due(wired, calls)
        at_noon(30 * MINUTE_MS)
    assert WebhookDestination.get().dead_in_a_row == 1, "counted from the resumption"


def test_a_redelivery_goes_to_a_paused_destination_once(wired: App, calls: Calls, at_noon: Callable[[int], None]) -> None:
    die(wired, calls, 20, at_noon)
    waiting = completed(wired)
    dead: WebhookDelivery = WebhookDelivery.get(status="dead")
    assert send_due(wired, calls) == 0
    assert DeliveryObject.of(outbox.redeliver(wired.caller, dead.id)).paused is False
    assert send_due(wired, calls) == 1
    at_noon(86_400_000)
    assert send_due(wired, calls) == 0, "further ones wait as all others"
    assert DeliveryObject.of(outbox.find_delivery(wired.caller, dead.id)).paused is True
    calls.status = 200
    outbox.redeliver(wired.caller, dead.id)
    assert send_due(wired, calls) == 2, "it arrives, which ends the pause"
    assert calls.made[-1][2]["file"]["id"] == waiting.id
    assert WebhookDestination.get().paused_at is None


def test_one_that_arrives_begins_the_count_anew(wired: App, calls: Calls, at_noon: Callable[[int], None]) -> None:
    die(wired, calls, 19, at_noon)
    calls.status = 200
    completed(wired)
    send_due(wired, calls)
    die(wired, calls, 19, at_noon)
    (destination,) = WebhookDestination.select()
    assert (destination.dead_in_a_row, destination.paused_at) == (19, None)


def test_the_sandbox_has_destinations_of_its_own(wired: App, calls: Calls, at_noon: Callable[[int], None]) -> None:
    issued = api_keys.issue_key(wired.ctx.config, callers.COMMAND_LINE, wired.project.id, "x", environment="test")
    tester = api_keys.find_caller(wired.ctx.config, issued.plaintext)
    calls.status = 500
    for _ in range(20):
        completed(wired, tester)
    for _ in range(4):
        send_due(wired, calls)
        at_noon(30 * MINUTE_MS)
    completed(wired)
    calls.status = 200
    assert send_due(wired, calls) == 1, "the live one is not paused"
    (live,) = outbox.list_deliveries(wired.caller, None, 100, None).items
    assert len(outbox.list_deliveries(tester, None, 100, None).items) == 20
    with pytest.raises(NotFound):
        outbox.find_delivery(tester, live.id)
    (paused,) = outbox.list_destinations(tester, 10, None).items
    assert paused.paused_at is not None
    with pytest.raises(NotFound):
        outbox.resume(wired.caller, paused.id)


# What people do.


def test_redeliver_begins_the_schedule_anew_with_the_same_event(wired: App, calls: Calls, at_noon: Callable[[int], None]) -> None:
    die(wired, calls, 1, at_noon)
    outbox.redeliver(wired.caller, only().id)
    assert send_due(wired, calls) == 1
    delivery = only()
    assert (delivery.status, delivery.attempts, delivery.next_attempt_at) == ("pending", 5, clock.now_ms() + MINUTE_MS)
    calls.status = 200
    outbox.redeliver(wired.caller, delivery.id)
    assert send_due(wired, calls) == 1
    assert only().status == "delivered"
    outbox.redeliver(wired.caller, delivery.id)
    assert send_due(wired, calls) == 1, "a delivered one, too"
    assert len({payload["id"] for _, _, payload in calls.made}) == 1
    assert len(outbox.attempts_of(only())) == 7


def test_what_is_being_tried_can_not_be_redelivered_or_deleted(wired: App, calls: Calls) -> None:
    completed(wired)
    (lease,) = leases.lease_due(wired.ctx)
    for act in (outbox.redeliver, outbox.delete_delivery):
        with pytest.raises(Conflict):
            act(wired.caller, lease.delivery_id)
    webhook_delivery.deliver(wired.ctx, lease, calls.post)
    outbox.delete_delivery(wired.caller, lease.delivery_id)
    assert not WebhookDelivery.select().exists()
    assert not WebhookAttempt.select().exists()
    with pytest.raises(NotFound):
        outbox.delete_delivery(wired.caller, lease.delivery_id)


def test_a_test_event_needs_a_url(app: App) -> None:
    with pytest.raises(Conflict, match="no webhookUrl"):
        outbox.send_test(app.ctx.config, app.caller, "default")
    with pytest.raises(NotFound):
        outbox.send_test(app.ctx.config, app.caller, "nowhere")


def test_secrets_are_made_once_and_rotate(wired: App) -> None:
    first = webhook_secrets.show_secrets(wired.caller, wired.project.id)
    assert webhook_secrets.show_secrets(wired.caller, wired.project.id) == first
    second = webhook_secrets.rotate_secrets(wired.caller, wired.project.id)
    assert second.current == first.next
    assert second.next not in (first.current, first.next)
    (entry,) = Audit.select().where(Audit.subject_kind == "webhook_secret")
    assert (entry.action, entry.actor, entry.details) == ("rotated", wired.caller.api_key_id, {})
    issued = api_keys.issue_key(wired.ctx.config, callers.COMMAND_LINE, wired.project.id, "x", environment="test")
    with pytest.raises(Forbidden):
        webhook_secrets.show_secrets(api_keys.find_caller(wired.ctx.config, issued.plaintext), wired.project.id)


def test_no_secret_is_kept_beside_an_attempt_or_logged(wired: App, calls: Calls, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    completed(wired)
    send_due(wired, calls)
    signing = webhook_secrets.signing_secrets(wired.project.id)
    (attempt,) = outbox.attempts_of(only())
    for secret in (signing.current, signing.next):
        assert secret not in caplog.text
        assert secret not in json.dumps(attempt.request_headers)
    assert "/hook" not in caplog.text, "the path of a webhook URL may be a secret in itself"
    assert "https://receiver.example:443: delivered" in caplog.text


def test_what_a_receiver_says_stays_out_of_the_log(wired: App, at_noon: Callable[[int], None], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    message = ["Redirects are not followed (to https://other.example/secret)", "The answer can't be read: BadStatusLine: secret"]
    for status, error in zip((301, None), message, strict=True):
        completed(wired)
        (lease,) = leases.lease_due(wired.ctx)
        outcome = Outcome(status, None, None, error, 5)
        webhook_delivery.deliver(wired.ctx, lease, lambda *_, outcome=outcome, **__: outcome)
    assert {delivery.last_error for delivery in WebhookDelivery.select()} == set(message), "but people may see it"
    assert "secret" not in caplog.text
    assert "pending, answered 301" in caplog.text
    assert "pending, no answer" in caplog.text


@pytest.mark.parametrize("url", ["http://127.0.0.1/", "http://10.0.0.1/", "http://[::1]/", "http://localhost/"])
def test_set_up_refuses_private_addresses_and_names_the_line(app: App, url: str) -> None:
    with pytest.raises(ValidationFailed) as refused:
        file_routes.create_file_route(app.ctx.config, app.caller, app.project.id, {"slug": "x", "webhook_url": url})
    assert "webhooks.allowed_private_cidrs" in (refused.value.suggestion or "")
    assert list(refused.value.details or {}) == ["webhookUrl"]
    allowing = config.load(None, {"UPLOADKIT_WEBHOOKS__ALLOWED_PRIVATE_CIDRS": '["127.0.0.0/8", "10.0.0.1/32", "::1/128"]'})
    assert file_routes.create_file_route(allowing, app.caller, app.project.id, {"slug": "x", "webhook_url": url}).webhook_url == url


# The feed.


def test_the_feed_has_no_gaps_and_no_repeats(wired: App) -> None:
    files_made = [completed(wired) for _ in range(5)]
    seen, after = [], 0
    while True:
        feed = event_log.feed(wired.caller, after, 2)
        seen += [event.file_id for event in feed.items]
        after = feed.next_after
        if not feed.has_more:
            break
    assert seen == [file.id for file in files_made]
    assert event_log.feed(wired.caller, after, 2) == event_log.Feed([], after, False, False)
    late = completed(wired)
    assert [event.file_id for event in event_log.feed(wired.caller, after, 2).items] == [late.id]


def test_readers_of_the_feed_beside_writers_miss_nothing(wired: App) -> None:
    done = threading.Event()
    made: list[str] = []

    def write_some() -> None:
        for _ in range(30):
            made.append(completed(wired).id)

    writers = [threading.Thread(target=write_some) for _ in range(4)]
    for writer in writers:
        writer.start()
    seen: list[str] = []
    after = 0
    while not done.is_set():
        if not any(writer.is_alive() for writer in writers):
            done.set()  # one last look
        feed = event_log.feed(wired.caller, after, random.randint(1, 20))
        while True:
            seen += [event.file_id for event in feed.items]
            after = feed.next_after
            if not feed.has_more:
                break
            feed = event_log.feed(wired.caller, after, 20)
    assert sorted(seen) == sorted(made)
    assert len(seen) == 120


def test_the_feed_reads_its_index(wired: App) -> None:
    completed(wired)
    plan = execute(
        "EXPLAIN QUERY PLAN SELECT * FROM event WHERE project_id = ? AND environment = ? AND status <> 'UPLOADING' AND sequence > ? "
        "ORDER BY sequence LIMIT 20",
        (wired.project.id, "live", 0),
    ).fetchall()
    assert any("event_feed" in row[3] for row in plan)
    assert not any("TEMP B-TREE" in row[3] for row in plan)
