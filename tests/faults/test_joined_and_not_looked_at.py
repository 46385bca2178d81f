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

from tests.conftest import House, new_house
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


def sweep_after(ms: int, house: House) -> None:
    with travelled_to(clock.now_ms() + ms):
        sweeper.sweep_due(house.ctx)


def status(facts: Facts) -> str:
    return str(File.get_by_id(facts["id"]).status)


def complete(house: House, facts: Facts) -> File:
    return multipart_upload.complete_multipart(house.ctx, house.caller, facts["id"], facts["upload_id"], None, {"a": 1})


def events_of(facts: Facts) -> list[str]:
    return [event.event for event in Event.select().where(Event.file_id == facts["id"]).order_by(Event.sequence)]


def test_killed_at_every_moment_and_the_client_gone(tmp_path: Path, house_bucket: ObjectStore) -> None:
    ends = set()
    for moment in count(1):
        with new_house(tmp_path / str(moment), house_bucket) as house:
            facts = sent_in_parts(house, house.caller)
            kept = sent_in_parts(house, house.caller)
            complete(house, kept)
            connection.close()
        ended = steps.run(tmp_path / str(moment), house.ctx.store.address, "complete_in_parts", house.caller, facts, moment)
        sweep_after(MINUTE_MS, house)
        ends.add(status(facts))
        assert (facts["key"] in objects(house)) == (status(facts) == "UPLOADED"), "no object that nobody has looked at"
        if status(facts) == "UPLOADING":
            assert File.get_by_id(facts["id"]).deadline_at > clock.now_ms() + 60 * MINUTE_MS
        complete(house, facts)
        assert File.get_by_id(facts["id"]).metadata == {"a": 1}
        assert events_of(facts) == ["upload.requested", "upload.completed"]
        settle_and_check(house, kept["key"], 1)
        if ended is not None:
            assert ends == {"UPLOADING", "UPLOADED"}
            return


class Gate:
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
def gate(house: House) -> Iterator[Gate]:
    gate = Gate()
    with proxied(house.ctx.store.address, gate.rule) as address:
        straight = house.ctx.store
        house.ctx.store = ObjectStore(address, timeout_seconds=1)
        yield gate
        gate.open.set()
        house.ctx.store = straight


def asked_in_vain(house: House, gate: Gate) -> Facts:
    """An upload whose parts the store was asked to put together, and did not answer."""
    facts = sent_in_parts(house, house.caller)
    with pytest.raises(StorageUnavailable):
        complete(house, facts)
    return facts


def late(gate: Gate) -> None:
    gate.open.set()
    assert gate.joined.wait(30)


def test_a_store_that_puts_parts_together_late(house: House, gate: Gate) -> None:
    facts = asked_in_vain(house, gate)
    sweep_after(MINUTE_MS, house)
    assert status(facts) == "UPLOADING"
    late(gate)
    sweep_after(2 * MINUTE_MS, house)
    file = File.get_by_id(facts["id"])
    assert (file.status, file.metadata, file.sweep_at) == ("UPLOADED", {"a": 1}, None)
    assert events_of(facts) == ["upload.requested", "upload.completed"]
    assert counters(house) == (SIZE, 0, 0)
    assert complete(house, facts).id == file.id, "the client's repeat answers the file"


def test_a_store_that_never_did(house: House, gate: Gate) -> None:
    """It is asked some times, then the upload has its deadline as ever, and can be completed until then."""
    facts = asked_in_vain(house, gate)
    with travelled_to(clock.now_ms()) as advance:
        for _ in range(20):
            advance(MINUTE_MS)
            sweeper.sweep_due(house.ctx)
        file = File.get_by_id(facts["id"])
        assert (file.status, file.sweep_at) == ("UPLOADING", file.deadline_at)
        late(gate)
        assert complete(house, facts).status == "UPLOADED"


def test_past_its_deadline_what_is_joined_becomes_a_file(house: House, gate: Gate) -> None:
    facts = asked_in_vain(house, gate)
    late(gate)
    sweep_after(24 * 60 * MINUTE_MS, house)
    assert status(facts) == "UPLOADED"


def test_past_its_deadline_what_is_not_joined_ends(house: House, gate: Gate) -> None:
    facts = asked_in_vain(house, gate)
    sweep_after(24 * 60 * MINUTE_MS, house)
    assert status(facts) == "FAILED"
    assert counters(house) == (0, 0, 0)


def test_a_join_under_way_is_left_alone(house: House, gate: Gate) -> None:
    facts = sent_in_parts(house, house.caller)
    with house.ctx.locks.held(facts["id"]):
        lifecycle.expect_joined(File.get_by_id(facts["id"]), {})
        sweep_after(24 * 60 * MINUTE_MS, house)
    assert status(facts) == "UPLOADING"
    with travelled_to(clock.now_ms() + 24 * 60 * MINUTE_MS):
        assert File.get_by_id(facts["id"]).sweep_at <= clock.now_ms() + MINUTE_MS, "and looked at soon"


def test_what_comes_together_after_an_abort_goes(house: House, gate: Gate) -> None:
    facts = asked_in_vain(house, gate)
    multipart_upload.abort_multipart(house.ctx, house.caller, facts["id"], facts["upload_id"])
    gate.open.set()  # SeaweedFS has thrown the parts away; another store may have begun
    with suppress(StorageUnavailable):
        house.ctx.store._client.put_object(Bucket=house.ctx.store.address.bucket, Key=facts["key"], Body=b"late")
    sweep_after(MINUTE_MS, house)
    assert facts["key"] not in objects(house)


def test_what_is_not_as_declared_goes(house: House, gate: Gate) -> None:
    slot = multipart_upload.start_multipart(house.ctx, house.caller, UploadRequest("b", SIZE, "video/mp4", "default", {}))
    for part, content in zip(slot.part_urls, (b"%PDF-1.7".ljust(len(PARTS[0])), *PARTS[1:]), strict=True):
        assert put(part.upload_url, content, None) == 200
    facts = {"id": slot.file.id, "key": slot.file.key, "upload_id": slot.file.upload_id}
    with pytest.raises(StorageUnavailable):
        complete(house, facts)
    late(gate)
    sweep_after(MINUTE_MS, house)
    assert status(facts) == "FAILED"
    assert facts["key"] not in objects(house)
    with pytest.raises(UploadNotVerified):
        complete(house, facts)


def test_a_new_deadline_does_not_put_off_the_look(house: House, gate: Gate) -> None:
    facts = asked_in_vain(house, gate)
    multipart_upload.start_multipart_again(house.ctx, house.caller, facts["id"])
    late(gate)
    sweep_after(MINUTE_MS, house)
    assert status(facts) == "UPLOADED"


def test_a_store_that_fails_for_hours_is_looked_at_within_a_minute_of_its_return(house: House, gate: Gate) -> None:
    facts = asked_in_vain(house, gate)
    late(gate)
    with travelled_to(clock.now_ms()) as advance:
        with away(house):
            for _ in range(60):
                advance(MINUTE_MS)
                sweeper.sweep_due(house.ctx)
            assert status(facts) == "UPLOADING"
        advance(MINUTE_MS)
        sweeper.sweep_due(house.ctx)
        assert status(facts) == "UPLOADED"


@contextmanager
def away(house: House) -> Iterator[None]:
    store = house.ctx.store
    house.ctx.store = ObjectStore(replace(store.address), outage=lambda: "it is away")
    yield
    house.ctx.store = store


def test_an_aborted_upload_stays_aborted(house: House, gate: Gate) -> None:
    facts = asked_in_vain(house, gate)
    multipart_upload.abort_multipart(house.ctx, house.caller, facts["id"], facts["upload_id"])
    late(gate)
    sweep_after(MINUTE_MS, house)
    assert status(facts) == "FAILED"
    with pytest.raises(UploadNotFound):
        complete(house, facts)
