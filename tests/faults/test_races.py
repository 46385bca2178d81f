"""Clients that do everything at once: a file is never changed, counted twice or half there."""

from __future__ import annotations

import hashlib
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from tests.appliance import Appliance, running

SIZE = 64 * 1024


def bytes_of(number: int) -> bytes:
    return bytes([number % 256]) * SIZE


def test_puts_that_race_complete_never_change_a_file(appliance: Appliance) -> None:
    for _ in range(10):
        slot = appliance.request(SIZE).json
        assert appliance.put(slot, bytes_of(0)).status == 200
        with ThreadPoolExecutor(8) as pool:
            puts = [pool.submit(appliance.put, slot, bytes_of(n)) for n in range(1, 9)]
            completes = [pool.submit(appliance.complete, slot) for _ in range(4)]
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
