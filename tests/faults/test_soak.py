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
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.appliance import Appliance, running, wait_until
from tests.support.load import Load
from tests.support.receivers import Handler, Received, receiving

SECONDS = int(os.environ.get("SOAK_SECONDS", "10"))
IS_LONG = SECONDS > 60
SECONDS_BETWEEN_KILLS = (2, 25) if IS_LONG else (2, 5)
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
        load = Load(appliance, with_parts=IS_LONG)  # those would be too long to wait for in the suite
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
    project = appliance.project_id
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
