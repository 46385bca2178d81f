"""Clients that do everything at once: a file is never changed, counted twice or half there."""

from __future__ import annotations

import hashlib
import os
import random
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import App
from tests.property.driver import Driver, new_driver
from tests.property.model import Model, Step, explanation
from tests.support.appliance import JPEG, Appliance, running, wait_until
from tests.support.clock import travelled_to
from tests.support.stored import put
from uploadkit.core import clock
from uploadkit.core.clock import HOUR_MS
from uploadkit.core.errors import InvalidParts
from uploadkit.db.models import File
from uploadkit.files import multipart_upload, single_upload
from uploadkit.objectstore.store import ObjectStore

SIZE = 64 * 1024
ROUNDS = int(os.environ.get("RACE_ROUNDS", "50"))


def bytes_of(number: int) -> bytes:
    return bytes([number % 256]) * SIZE


def test_puts_that_race_complete_never_change_a_file(appliance: Appliance) -> None:
    for _ in range(10):
        slot = appliance.request(SIZE).json
        assert appliance.put(slot, bytes_of(0)).status == 200
        # Of three PUTs at a time to one place, the bundled store's gate breaks the oldest off.
        with ThreadPoolExecutor(2) as two, ThreadPoolExecutor(4) as four:
            puts = [two.submit(appliance.put, slot, bytes_of(n)) for n in range(1, 9)]
            completes = [four.submit(appliance.complete, slot) for _ in range(4)]
        assert {put.result().status for put in puts} == {200}
        answers = [complete.result() for complete in completes]
        if any(answer.status == 200 for answer in answers):
            (file,) = {answer.body for answer in answers if answer.status == 200}
            file = next(answer.json for answer in answers if answer.status == 200)
            content = appliance.read(file["url"]).body
            assert content in [bytes_of(n) for n in range(9)]
            assert file["etag"] == hashlib.md5(content).hexdigest()
            appliance.put(slot, bytes_of(99))
            assert appliance.complete(slot).json == file
            assert appliance.read(file["url"]).body == content
        else:  # the object changed under every look; nothing was promised
            assert {answer.code for answer in answers} == {"CONFLICT"}


def test_complete_abort_and_delete_at_once_leave_the_books_right(tmp_path: Path) -> None:
    with running(tmp_path) as appliance:
        kept = 0
        for _ in range(15):
            slot = appliance.request(SIZE).json
            appliance.put(slot, bytes_of(1))
            calls = [
                lambda slot=slot: appliance.complete(slot).status,
                lambda slot=slot: appliance.complete(slot).status,
                lambda slot=slot: appliance.call("DELETE", f"/files/{slot['key']}").status,
                lambda slot=slot: appliance.call("PATCH", f"/files/{slot['key']}", {"metadata": {"a": 1}}).status,
            ]
            with ThreadPoolExecutor(4) as pool:
                statuses = [future.result() for future in [pool.submit(call) for call in calls]]
            assert set(statuses) <= {200, 404, 409}, statuses
            now = appliance.call("GET", f"/files/{slot['key']}")
            kept += now.status == 200 and now.json["status"] == "UPLOADED"
        with closing(sqlite3.connect(appliance.data_dir / "uploadkit.db")) as database:
            ((used, reserved, under_way),) = database.execute(
                "SELECT storage_used_bytes, storage_reserved_bytes, uploads_reserved FROM project"
            )
            ((held,),) = database.execute("SELECT sum(reserved_bytes) FROM file")
        assert (used, under_way) == (kept * SIZE, 0)
        assert reserved == held


class Race:
    """Two uploads of a project of their own, each brought somewhere on its way, and then a handful of steps, all at the same moment."""

    def __init__(self, driver: Driver, number: int) -> None:
        self.driver, self.chance, self.model = driver, random.Random(number), Model()
        self.project, self.keys = f"p{number}", [f"a{number}", f"b{number}"]
        self.uploads = [f"u{number}", f"v{number}"]

    def take(self, verb: str, *arguments: Any) -> None:
        step = Step(verb, arguments)
        assert self.driver.take(step) == self.model.take(step, clock.now_ms()), step

    def prepare(self) -> None:
        self.take("new_project", self.project)
        for key in self.keys:
            self.take("new_key", key, self.project, False)
        for name in self.uploads:
            self.take("request", name, self.keys[0], 500, self.chance.random() < 0.4)
            if sent := self.chance.choice(["", "right", "right", "right", "wrong"]):
                self.take("put", name, sent)
            if self.chance.random() < 0.2:
                self.take("complete", name, self.keys[0], "early")

    def steps(self) -> list[Step]:
        """Most about the first upload."""
        return [self._step(place) for place in range(self.chance.choice([3, 4, 5]))]

    def _step(self, place: int) -> Step:
        upload = self.chance.choice([self.uploads[0], self.uploads[0], self.uploads[1]])
        about, key, note = (upload, self.chance.choice(self.keys)), self.chance.choice(self.keys), f"n{place}"
        often = [Step("complete", (*about, note))] * 3 + [Step("abort", about), Step("delete", about), Step("sweep")] * 2
        now_and_then = [
            Step("patch", (*about, note)),
            Step("delete_many", (self.uploads[:: self.chance.choice([1, -1])], key)),
            Step("request", (upload, self.keys[0], 500, self.model.uploads[upload].in_parts)),
            Step("request", (f"{self.project} new", self.keys[0], 7_500, False)),
            Step("change_tier", (self.project, self.chance.choice(["free", "pro"]))),
            Step("new_key", (f"{self.project} key {place}", self.project, False)),
            Step("revoke", (key,)),
            Step("delete_project", (self.project,)),
        ]
        # A part that is put anew while the parts are put together may make the store refuse them: nothing that an order explains.
        if not self.model.uploads[upload].in_parts:
            now_and_then.append(Step("put", (upload, self.chance.choice(["other", "wrong"]))))
        return self.chance.choice(often + now_and_then)

    def run(self, steps: list[Step]) -> list[tuple[Step, Any]]:
        together = threading.Barrier(len(steps))

        def take(step: Step) -> Any:
            together.wait()
            return self.driver.take(step)

        with ThreadPoolExecutor(len(steps)) as pool:
            return list(zip(steps, pool.map(take, steps), strict=True))


@pytest.mark.timeout(180 + ROUNDS)
def test_whatever_happens_at_once_some_order_of_it_explains(
    tmp_path: Path, app_bucket: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Random steps on the same files from several threads: every answer, and what is there in the end, is what one after the other gives.

    RACE_ROUNDS says how many; a failure names the round, which begins the same way each time.
    """
    monkeypatch.setattr(multipart_upload, "MULTIPART_ABOVE_BYTES", 0)
    with new_driver(tmp_path / "data", app_bucket) as driver:
        for number in range(ROUNDS):
            race = Race(driver, number)
            with travelled_to(clock.now_ms()) as advance:
                race.prepare()
                advance(race.chance.choice([0, 0, HOUR_MS, 2 * HOUR_MS]))
                done = race.run(race.steps())
                seen = driver.seen(race.project)
                assert explanation(race.model, clock.now_ms(), done, seen), f"round {number}: {[(str(s), a) for s, a in done]}\n{seen}"
                driver.check(race.uploads)
        driver.settle()


def test_two_contents_for_one_part_in_the_same_second(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """SeaweedFS keeps both, and tells the time to the second: the client has to say which one counts, nobody guesses."""
    monkeypatch.setattr(multipart_upload, "MULTIPART_ABOVE_BYTES", 0)
    first, last = (hashlib.md5(content).hexdigest() for content in (JPEG + b"1", JPEG + b"2"))

    def sent_twice() -> File | None:
        request = single_upload.UploadRequest("a.jpg", len(JPEG) + 1, "image/jpeg", "default", {})
        slot = multipart_upload.start_multipart(app.ctx, app.caller, request)
        for content in (JPEG + b"1", JPEG + b"2"):
            assert put(slot.part_urls[0].upload_url, content, None) == 200
        (part,) = app.ctx.store.list_parts(slot.file.key, slot.file.upload_id or "") or ()
        assert {first, last} >= {part.etag, *part.rivals} >= {last}
        return slot.file if part.rivals else None  # None: a second ended in between

    file = wait_until(sent_twice)
    ids = (app.ctx, app.caller, file.id, file.upload_id)
    with pytest.raises(InvalidParts, match="same second"):
        multipart_upload.complete_multipart(*ids, None, {})
    slot = multipart_upload.resume_multipart(*ids, None)
    assert (slot.arrived, [part.number for part in slot.part_urls]) == ([], [1]), "it is to be sent once more"
    with pytest.raises(InvalidParts, match="another ETag"):
        multipart_upload.complete_multipart(*ids, [(1, "0" * 32)], {})
    multipart_upload.complete_multipart(*ids, [(1, f'"{last}"')], {})
    stored = app.ctx.store.head(file.key)
    assert stored
    assert stored.first_bytes == JPEG + b"2"
