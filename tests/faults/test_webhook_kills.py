"""SIGKILL at random moments while files are uploaded and the receiver often fails: every event arrives, under one id.

The suite runs a bounded version. The whole one: WEBHOOK_UPLOADS=1000 WEBHOOK_KILLS=10 pytest -s tests/faults/test_webhook_kills.py
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import sqlite3
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import urllib3

from tests.support.appliance import JPEG, Answer, Appliance, running, wait_until
from tests.support.receivers import Handler, Received, receiving

UPLOADS = int(os.environ.get("WEBHOOK_UPLOADS", "60"))
KILLS = int(os.environ.get("WEBHOOK_KILLS", "3"))
FAILURES = 0.3
SETTINGS = {
    "WEBHOOKS__ALLOWED_PRIVATE_CIDRS": '["127.0.0.0/8"]',
    # Enough tries that three failures in ten leave nothing dead, and short pauses.
    "WEBHOOKS__RETRY_SCHEDULE_SECONDS": "[1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]",
}


class FlakyReceiver:
    """Fails three calls in ten: by an error, by hanging up before or in the middle of its answer, or by doing its work and failing then."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, str]] = []  # event id, event, file id: all that came
        self.accepted: list[tuple[str, str, str]] = []  # those that were answered by 200

    def __call__(self, handler: Handler, received: Received) -> None:
        body = received.json
        reported = (body["id"], body["event"], body["file"]["id"])
        assert received.headers["webhook-id"] == body["id"]
        self.calls.append(reported)
        if random.random() < FAILURES:
            if random.random() < 0.5:
                handler.reply(random.choice([500, 502, 429]))
            else:
                handler.connection.close()
            return
        self.accepted.append(reported)
        handler.reply(200)


class Uploads:
    """Completes `UPLOADS` files from four threads, whatever happens to the appliance; leaves as many unfinished now and then."""

    def __init__(self, appliance: Appliance) -> None:
        self.appliance = appliance
        self.completed: set[str] = set()
        self.unfinished: set[str] = set()
        self._numbers = itertools.count()
        self._threads = [threading.Thread(target=self._work) for _ in range(4)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while (number := next(self._numbers)) < UPLOADS:
            if number % 10 == 0:
                self._stored(number)
            self._completed(number)

    def _stored(self, number: int) -> dict[str, Any]:
        """An upload that is in the store, and not complete. After a restart the store has another port: begin again then."""
        content = JPEG + str(number).encode()
        while True:
            slot = _patiently(lambda: self.appliance.request(len(content)), 200).json
            self.unfinished.add(slot["fileId"])
            with contextlib.suppress(urllib3.exceptions.HTTPError):
                if self.appliance.put(slot, content).status == 200:
                    return dict(slot)

    def _completed(self, number: int) -> None:
        slot = self._stored(number)
        self.unfinished.discard(slot["fileId"])
        _patiently(lambda: self.appliance.complete(slot), 200)
        self.completed.add(slot["fileId"])


def _patiently(call: Callable[[], Answer], status: int) -> Answer:
    """Make a call until it is answered so: meanwhile the appliance may be away, or its store."""

    def attempt() -> Answer | None:
        with contextlib.suppress(urllib3.exceptions.HTTPError):
            answer = call()
            return answer if answer.status == status else None
        return None

    found: Answer = wait_until(attempt, 120, "the call to be answered")
    return found


@pytest.mark.timeout(60 + UPLOADS * 2 + KILLS * 30)
def test_every_completed_upload_is_told_whatever_dies(tmp_path: Path) -> None:
    flaky = FlakyReceiver()
    with receiving(flaky) as receiver, running(tmp_path, **SETTINGS) as appliance:
        project = appliance.project_id
        (route,) = appliance.call("GET", f"/projects/{project}/file-routes").json["items"]
        assert appliance.call("PATCH", f"/file-routes/{route['id']}", {"webhookUrl": receiver.url}).status == 200
        uploads, began = Uploads(appliance), time.monotonic()
        uploads.start()
        for moment in sorted(random.sample(range(UPLOADS // 20, UPLOADS - 1), KILLS)):
            wait_until(lambda moment=moment: len(uploads.completed) >= moment, 300, "uploads to go on")  # type: ignore[misc]
            appliance.kill()
            appliance.start()
        uploads.join()
        wait_until(lambda: not _undelivered(appliance), 300, "the outbox to be empty")
        seconds = time.monotonic() - began
        dead = appliance.call("GET", "/webhooks/deliveries?status=dead").json["items"]
    assert dead == []
    assert len(uploads.completed) == UPLOADS
    assert {event for _, event, _ in flaky.calls} == {"onUploadComplete"}
    assert {file for _, _, file in flaky.accepted} == uploads.completed, "each one at least once"
    assert {file for _, _, file in flaky.calls} == uploads.completed, "and none that was not completed"
    assert not {file for _, _, file in flaky.calls} & uploads.unfinished
    ids_of = defaultdict(set)
    for event_id, _, file in flaky.calls:
        ids_of[file].add(event_id)
    assert all(len(ids) == 1 for ids in ids_of.values()), "duplicates carry the same id"
    _report(flaky, uploads, seconds)


def _undelivered(appliance: Appliance) -> int:
    """How many deliveries are still to be sent: asked once, since between two questions they move from one state to the other."""
    with contextlib.closing(sqlite3.connect(f"file:{appliance.data_dir / 'uploadkit.db'}?mode=ro", uri=True)) as connection:
        (count,) = connection.execute("SELECT count(*) FROM webhook_delivery WHERE status NOT IN ('delivered', 'dead')").fetchone()
        return int(count)


def _report(flaky: FlakyReceiver, uploads: Uploads, seconds: float) -> None:
    accepted = Counter(event_id for event_id, _, _ in flaky.accepted)
    twice = sum(count - 1 for count in accepted.values())
    print(
        f"\n{UPLOADS} uploads, {KILLS} kills, {seconds:.0f} s: {len(accepted)} events arrived; {len(flaky.calls)} calls, "
        f"{len(flaky.calls) - len(flaky.accepted)} failed by the receiver, {twice} accepted a second time; "
        f"{len(uploads.unfinished)} unfinished uploads told of: 0"
    )
