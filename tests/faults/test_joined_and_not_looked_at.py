"""What a store has put together under the final key is looked at within a minute, whatever became of the one who asked for it.

Nothing is lost by that: what is as declared becomes a file, parts that were not put together stay until the deadline.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from tests.conftest import App, new_app
from tests.faults import steps
from tests.faults.steps import Facts
from tests.support.clock import travelled_to
from tests.support.killed_uploads import PARTS, sent_in_parts, settle_and_check
from tests.support.store_proxy import Answered, Asked, PassOn, proxied
from tests.support.stored import counters, objects, put
from uploadkit.core import clock
from uploadkit.core.errors import StorageUnavailable, UploadNotFound, UploadNotVerified
from uploadkit.db import connection
from uploadkit.db.models import Event, File
from uploadkit.files import lifecycle, multipart_upload
from uploadkit.files.single_upload import UploadRequest
from uploadkit.maintenance import sweeper
from uploadkit.objectstore.store import ObjectStore

SIZE = sum(map(len, PARTS))
MINUTE_MS = 60_000


def sweep_after(ms: int, app: App) -> None:
    with travelled_to(clock.now_ms() + ms):
        sweeper.sweep_due(app.ctx)


def status(facts: Facts) -> str:
    return str(File.get_by_id(facts["id"]).status)


def complete(app: App, facts: Facts) -> File:
    return multipart_upload.complete_multipart(app.ctx, app.caller, facts["id"], facts["upload_id"], None, {"a": 1})


def events_of(facts: Facts) -> list[str]:
    return [event.event for event in Event.select().where(Event.file_id == facts["id"]).order_by(Event.sequence)]


def test_killed_at_every_moment_and_the_client_gone(tmp_path: Path, app_bucket: ObjectStore) -> None:
    ends = set()
    for moment in count(1):
        with new_app(tmp_path / str(moment), app_bucket) as app:
            facts = sent_in_parts(app, app.caller)
            kept = sent_in_parts(app, app.caller)
            complete(app, kept)
            connection.close()
        ended = steps.run(tmp_path / str(moment), app.ctx.store.address, "complete_in_parts", app.caller, facts, moment)
        sweep_after(MINUTE_MS, app)
        ends.add(status(facts))
        assert (facts["key"] in objects(app)) == (status(facts) == "UPLOADED"), "no object that nobody has looked at"
        if status(facts) == "UPLOADING":
            assert File.get_by_id(facts["id"]).deadline_at > clock.now_ms() + 60 * MINUTE_MS
        complete(app, facts)
        assert File.get_by_id(facts["id"]).metadata == {"a": 1}
        assert events_of(facts) == ["upload.requested", "upload.completed"]
        settle_and_check(app, kept["key"], 1)
        if ended is not None:
            assert ends == {"UPLOADING", "UPLOADED"}
            return


class Relay:
    """A store that does not answer while it is closed: it puts parts together once it opens, and nobody waits for its answer any more."""

    def __init__(self) -> None:
        self.asked, self.open, self.joined = threading.Event(), threading.Event(), threading.Event()

    def rule(self, asked: Asked, pass_on: PassOn) -> Answered:
        if asked.method == "POST" and "uploadId" in asked.query:
            self.asked.set()
            self.open.wait(60)
            answered = pass_on(asked)
            self.joined.set()
            return answered
        return pass_on(asked)


@pytest.fixture
def relay(app: App) -> Iterator[Relay]:
    relay = Relay()
    with proxied(app.ctx.store.address, relay.rule) as address:
        straight = app.ctx.store
        app.ctx.store = ObjectStore(address, timeout_seconds=1)
        yield relay
        relay.open.set()
        app.ctx.store = straight


def asked_in_vain(app: App, relay: Relay) -> Facts:
    """An upload whose parts the store was asked to put together, and did not answer."""
    facts = sent_in_parts(app, app.caller)
    with pytest.raises(StorageUnavailable):
        complete(app, facts)
    return facts


def late(relay: Relay) -> None:
    relay.open.set()
    assert relay.joined.wait(30)


def test_a_store_that_puts_parts_together_late(app: App, relay: Relay) -> None:
    facts = asked_in_vain(app, relay)
    sweep_after(MINUTE_MS, app)
    assert status(facts) == "UPLOADING"
    late(relay)
    sweep_after(2 * MINUTE_MS, app)
    file = File.get_by_id(facts["id"])
    assert (file.status, file.metadata, file.sweep_at) == ("UPLOADED", {"a": 1}, None)
    assert events_of(facts) == ["upload.requested", "upload.completed"]
    assert counters(app) == (SIZE, 0, 0)
    assert complete(app, facts).id == file.id, "the client's repeat answers the file"


def test_a_store_that_never_did(app: App, relay: Relay) -> None:
    """It is asked some times, then the upload has its deadline as ever, and can be completed until then."""
    facts = asked_in_vain(app, relay)
    with travelled_to(clock.now_ms()) as advance:
        for _ in range(20):
            advance(MINUTE_MS)
            sweeper.sweep_due(app.ctx)
        file = File.get_by_id(facts["id"])
        assert (file.status, file.sweep_at) == ("UPLOADING", file.deadline_at)
        late(relay)
        assert complete(app, facts).status == "UPLOADED"


def test_past_its_deadline_what_is_joined_becomes_a_file(app: App, relay: Relay) -> None:
    facts = asked_in_vain(app, relay)
    late(relay)
    sweep_after(24 * 60 * MINUTE_MS, app)
    assert status(facts) == "UPLOADED"


def test_past_its_deadline_what_is_not_joined_ends(app: App, relay: Relay) -> None:
    facts = asked_in_vain(app, relay)
    sweep_after(24 * 60 * MINUTE_MS, app)
    assert status(facts) == "FAILED"
    assert counters(app) == (0, 0, 0)


def test_a_join_under_way_is_left_alone(app: App, relay: Relay) -> None:
    facts = sent_in_parts(app, app.caller)
    with app.ctx.locks.held(facts["id"]):
        lifecycle.expect_joined(File.get_by_id(facts["id"]), {})
        sweep_after(24 * 60 * MINUTE_MS, app)
    assert status(facts) == "UPLOADING"
    with travelled_to(clock.now_ms() + 24 * 60 * MINUTE_MS):
        assert File.get_by_id(facts["id"]).sweep_at <= clock.now_ms() + MINUTE_MS, "and looked at soon"


def test_what_comes_together_after_an_abort_goes(app: App, relay: Relay) -> None:
    facts = asked_in_vain(app, relay)
    multipart_upload.abort_multipart(app.ctx, app.caller, facts["id"], facts["upload_id"])
    relay.open.set()  # SeaweedFS has thrown the parts away; another store may have begun
    with suppress(StorageUnavailable):
        app.ctx.store._client.put_object(Bucket=app.ctx.store.address.bucket, Key=facts["key"], Body=b"late")
    sweep_after(MINUTE_MS, app)
    assert facts["key"] not in objects(app)


def test_what_is_not_as_declared_goes(app: App, relay: Relay) -> None:
    slot = multipart_upload.start_multipart(app.ctx, app.caller, UploadRequest("b", SIZE, "video/mp4", "default", {}))
    for part, content in zip(slot.part_urls, (b"%PDF-1.7".ljust(len(PARTS[0])), *PARTS[1:]), strict=True):
        assert put(part.upload_url, content, None) == 200
    facts = {"id": slot.file.id, "key": slot.file.key, "upload_id": slot.file.upload_id}
    with pytest.raises(StorageUnavailable):
        complete(app, facts)
    late(relay)
    sweep_after(MINUTE_MS, app)
    assert status(facts) == "FAILED"
    assert facts["key"] not in objects(app)
    with pytest.raises(UploadNotVerified):
        complete(app, facts)


def test_a_new_deadline_does_not_put_off_the_look(app: App, relay: Relay) -> None:
    facts = asked_in_vain(app, relay)
    multipart_upload.start_multipart_again(app.ctx, app.caller, facts["id"])
    late(relay)
    sweep_after(MINUTE_MS, app)
    assert status(facts) == "UPLOADED"


def test_a_store_that_fails_for_hours_is_looked_at_within_a_minute_of_its_return(app: App, relay: Relay) -> None:
    facts = asked_in_vain(app, relay)
    late(relay)
    with travelled_to(clock.now_ms()) as advance:
        with away(app):
            for _ in range(60):
                advance(MINUTE_MS)
                sweeper.sweep_due(app.ctx)
            assert status(facts) == "UPLOADING"
        advance(MINUTE_MS)
        sweeper.sweep_due(app.ctx)
        assert status(facts) == "UPLOADED"


@contextmanager
def away(app: App) -> Iterator[None]:
    store = app.ctx.store
    app.ctx.store = ObjectStore(replace(store.address), outage=lambda: "it is away")
    yield
    app.ctx.store = store


def test_an_aborted_upload_stays_aborted(app: App, relay: Relay) -> None:
    facts = asked_in_vain(app, relay)
    multipart_upload.abort_multipart(app.ctx, app.caller, facts["id"], facts["upload_id"])
    late(relay)
    sweep_after(MINUTE_MS, app)
    assert status(facts) == "FAILED"
    with pytest.raises(UploadNotFound):
        complete(app, facts)
