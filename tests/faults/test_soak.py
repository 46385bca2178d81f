"""Everything at once, for as long as one likes, under SIGKILL: uploads, uploads in parts, deletions, aborts, repeated completes, webhooks.

Afterwards rows = objects = quota = events, nothing that was acknowledged is lost or counted twice, and no file has ever changed.
The suite runs it for some seconds; `make soak` for ten minutes (SOAK_SECONDS says how long).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import sqlite3
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import urllib3

from tests.support.appliance import JPEG, Appliance, running, wait_until
from tests.support.receivers import Handler, Received, receiving

SECONDS = int(os.environ.get("SOAK_SECONDS", "10"))
IS_LONG = SECONDS > 60
SECONDS_BETWEEN_KILLS = (2, 25) if IS_LONG else (2, 5)
MIB = 1024**2
SETTINGS = {
    "WEBHOOKS__ALLOWED_PRIVATE_CIDRS": '["127.0.0.0/8"]',
    "WEBHOOKS__RETRY_SCHEDULE_SECONDS": json.dumps([1] * 16),
    "WEBHOOKS__PAUSE_AFTER_DEAD_DELIVERIES": "1000000",
    # What nobody completes is over soon, so that the end can be waited for.
    "STORAGE__PRESIGN_EXPIRES_SECONDS": "10",
    "HOUSEKEEPING__ABANDONED_UPLOAD_SECONDS": "1",
    "HOUSEKEEPING__INTERVAL_SECONDS": "1",
    "STORAGE__BUNDLED__MAX_DISK_BYTES": "10GB",
}


@dataclass
class Facts:
    """What was acknowledged: by file id the file's URL and SHA-256, and the ids whose deletion was answered by 200."""

    uploaded: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    perhaps_deleted: set[str] = field(default_factory=set)
    kills: int = 0
    calls: Counter[str] = field(default_factory=Counter)


class Load:
    """Four clients that do all sorts of things until told to stop. Broken connections and refusals are part of it; wrong bytes are not."""

    def __init__(self, appliance: Appliance) -> None:
        self.appliance, self.facts = appliance, Facts()
        self.wrong: list[str] = []
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._work, args=(number,)) for number in range(4)]

    @contextlib.contextmanager
    def going_on(self) -> Any:
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._over.set()
            for thread in self._threads:
                thread.join()

    def _work(self, number: int) -> None:
        chance = random.Random(number)
        acts = [self._upload] * 12 + [self._upload_and_delete] * 4 + [self._abandon, self._read]
        # One in parts that dies on the way has a deadline by its size, most of a minute: too long to wait for in the suite.
        acts += [self._upload_in_parts, self._abort] * IS_LONG
        while not self._over.is_set():
            act = chance.choice(acts)
            with contextlib.suppress(urllib3.exceptions.HTTPError):
                act(chance)
                self.facts.calls[act.__name__] += 1

    def _upload(self, chance: random.Random) -> tuple[str, str] | None:
        content = JPEG + chance.randbytes(chance.randrange(10, 20_000))
        slot = self.appliance.request(len(content))
        if slot.status != 200 or self.appliance.put(slot.json, content).status != 200:
            return None
        done = self.appliance.complete(slot.json)
        if done.status == 200 and chance.random() < 0.3:
            again = self.appliance.complete(slot.json)
            if again.status == 200 and again.json != done.json:
                self.wrong.append("a repeated complete answered something else")
        return self._acknowledged(done, content)

    def _acknowledged(self, done: Any, content: bytes) -> tuple[str, str] | None:
        if done.status != 200:
            return None
        file = done.json
        self.facts.uploaded[file["id"]] = (file["url"], hashlib.sha256(content).hexdigest(), file["key"])
        return file["id"], file["key"]

    def _upload_in_parts(self, chance: random.Random) -> None:
        content = b"\x00\x00\x00\x20ftypisom" + chance.randbytes(11 * MIB)
        body = {"fileName": "b", "fileSize": len(content), "contentType": "video/mp4", "routeSlug": "default"}
        slot = self.appliance.call("POST", "/upload/multipart/init", body)
        if slot.status != 200:
            return
        for part in slot.json["parts"]:
            start = (part["partNumber"] - 1) * slot.json["partSize"]
            if self.appliance.fetch("PUT", part["uploadUrl"], content[start : start + slot.json["partSize"]]).status != 200:
                return
        ids = {"fileId": slot.json["fileId"], "uploadId": slot.json["uploadId"]}
        if made := self._acknowledged(self.appliance.call("POST", "/upload/multipart/complete", ids), content):
            self._delete(*made)  # they would fill the disk

    def _upload_and_delete(self, chance: random.Random) -> None:
        if made := self._upload(chance):
            self._delete(*made)

    def _delete(self, file_id: str, key: str) -> None:
        self.facts.perhaps_deleted.add(file_id)  # the answer may be lost
        if self.appliance.call("DELETE", f"/files/{key}").status == 200:
            self.facts.deleted.add(file_id)

    def _abandon(self, chance: random.Random) -> None:
        slot = self.appliance.request(50)
        if slot.status == 200 and chance.random() < 0.5:
            self.appliance.put(slot.json, JPEG + b"x" * (50 - len(JPEG)))

    def _abort(self, chance: random.Random) -> None:
        body = {"fileName": "b", "fileSize": 11 * MIB, "contentType": "video/mp4", "routeSlug": "default"}
        slot = self.appliance.call("POST", "/upload/multipart/init", body)
        if slot.status == 200:
            ids = {"fileId": slot.json["fileId"], "uploadId": slot.json["uploadId"]}
            self.appliance.call("POST", "/upload/multipart/abort", ids)

    def _read(self, chance: random.Random) -> None:
        known = list(self.facts.uploaded.items())
        if not known:
            return
        file_id, (url, digest, _) = chance.choice(known)
        answer = self.appliance.read(url)
        if answer.status == 200 and hashlib.sha256(answer.body).hexdigest() != digest:
            self.wrong.append(f"the bytes of {file_id} have changed")


class FlakyReceiver:
    """Fails three calls in ten; keeps the events that it has taken, by id."""

    def __init__(self) -> None:
        self.taken: dict[str, str] = {}

    def __call__(self, handler: Handler, received: Received) -> None:
        if random.random() < 0.3:
            handler.reply(500)
            return
        self.taken[received.json["id"]] = received.json["file"]["id"]
        handler.reply(200)


@pytest.mark.timeout(SECONDS + 400)
def test_everything_at_once_for_a_while(tmp_path: Path) -> None:
    flaky = FlakyReceiver()
    with receiving(flaky) as receiver, running(tmp_path, **SETTINGS) as appliance:
        _tell(appliance, receiver.url)
        load = Load(appliance)
        with load.going_on():
            until = time.monotonic() + SECONDS
            while time.monotonic() < until:
                # Not for luck: this is how long it may work undisturbed.
                time.sleep(min(random.uniform(*SECONDS_BETWEEN_KILLS), max(0, until - time.monotonic())))
                appliance.kill()
                appliance.start()
                load.facts.kills += 1
        _let_it_settle(appliance)
        _check(appliance, load, flaky)
        assert "Traceback" not in appliance.log()
    done = ", ".join(f"{name.strip('_')} {count}" for name, count in sorted(load.facts.calls.items()))
    print(
        f"\n{SECONDS} s, {load.facts.kills} kills; {done}; {len(load.facts.uploaded)} uploads acknowledged, {len(flaky.taken)} events taken"
    )


def _tell(appliance: Appliance, url: str) -> None:
    project = appliance.call("GET", "/projects").json["items"][0]["id"]
    (route,) = appliance.call("GET", f"/projects/{project}/file-routes").json["items"]
    assert appliance.call("PATCH", f"/file-routes/{route['id']}", {"webhookUrl": url}).status == 200


def _rows(appliance: Appliance, sql: str) -> list[tuple[Any, ...]]:
    with contextlib.closing(sqlite3.connect(f"file:{appliance.data_dir / 'uploadkit.db'}?mode=ro", uri=True)) as connection:
        return connection.execute(sql).fetchall()


def _let_it_settle(appliance: Appliance) -> None:
    """Until every upload has ended, every deadline is past and swept, and every delivery is through."""
    left = (
        "SELECT count(*) FROM file WHERE status = 'UPLOADING' OR sweep_at IS NOT NULL",
        "SELECT count(*) FROM webhook_delivery WHERE status NOT IN ('delivered', 'dead')",
    )
    for sql in left:
        wait_until(lambda sql=sql: _rows(appliance, sql) == [(0,)], 240, sql)  # type: ignore[misc]


def _check(appliance: Appliance, load: Load, flaky: FlakyReceiver) -> None:
    facts = load.facts
    assert facts.kills > 0
    assert load.wrong == []
    for file_id, (url, digest, _) in facts.uploaded.items():
        answer = appliance.read(url)
        if file_id in facts.deleted or (file_id in facts.perhaps_deleted and answer.status == 404):
            assert answer.status == 404
        else:
            assert hashlib.sha256(answer.body).hexdigest() == digest, f"{file_id} is lost or changed"
    agrees = appliance.run("reconcile", "--json")
    report = json.loads(agrees.stdout)
    assert (agrees.returncode, report["findings"]) == (0, []), agrees.stdout
    assert report["objects"] == report["files"], "nothing is left under pending/"
    counted = appliance.run("usage", "verify")
    assert counted.returncode == 0, counted.stdout
    completed = [file_id for (file_id,) in _rows(appliance, "SELECT file_id FROM event WHERE status = 'UPLOADED'")]
    assert len(completed) == len(set(completed)), "no upload is completed twice"
    assert set(facts.uploaded) <= set(completed)
    assert appliance.call("GET", "/usage").json["uploads"] == len(completed), "none is counted twice"
    assert _rows(appliance, "SELECT count(*) FROM webhook_delivery WHERE status = 'dead'") == [(0,)]
    assert set(flaky.taken.values()) == set(completed), "every event arrives, and none of what did not happen"
    assert len(flaky.taken) == len(completed), "under one id each"
