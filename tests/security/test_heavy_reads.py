"""A tenant whose file names make searches dear: others are answered meanwhile.

`HEAVY_ROWS=60000` has as many files as took the appliance down once; a few thousand took it minutes.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.appliance import Answer, Appliance, running

ROWS = int(os.environ.get("HEAVY_ROWS", "5000"))
AT_ONCE = 20
# All of their trigrams are in each name, hundreds of times; none is in any name.
SEARCHES = ("aab" + "a" * 249 + "baa", "b" + "a" * 200 + "b", "ab" + "a" * 241 + "ba", "b" + "a" * 50 + "b" + "a" * 50)
_FILL = """
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
INSERT INTO file (number, id, project_id, environment, route_slug, key, file_name, size_bytes, content_type, visibility, status,
                  expires_at, deadline_at, created_at, updated_at, uploaded_at)
SELECT i, 'hostile' || i, ?, 'live', 'default', 'hostile/' || i, ?, 5, 'image/jpeg', 'public', 'UPLOADED', 0, 0, 0, 0, 0 FROM n
"""


@pytest.fixture(scope="module")
def besieged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    home: Path = tmp_path_factory.mktemp("besieged")
    with running(home, DATABASE__READ_TIMEOUT_SECONDS="2") as appliance:
        (project,) = appliance.call("GET", "/projects").json["items"]
        appliance.stop()
        with closing(sqlite3.connect(appliance.data_dir / "uploadkit.db")) as connection, connection:
            connection.execute(_FILL, (ROWS, project["id"], "aab" + "a" * 240 + "baa"))
        appliance.start()
        yield appliance


def test_many_hostile_searches_at_once_stop_nobody(besieged: Appliance) -> None:
    """All have their answers in seconds, found or refused; what else is asked meanwhile does not wait for them."""

    def search(number: int) -> tuple[Answer, float]:
        began = time.monotonic()
        return besieged.call("GET", f"/files?limit=100&search={SEARCHES[number % len(SEARCHES)]}"), time.monotonic() - began

    with ThreadPoolExecutor(AT_ONCE) as pool:
        for _ in range(2):
            searches = [pool.submit(search, number) for number in range(AT_ONCE)]
            for call in (
                lambda: besieged.fetch("GET", f"{besieged.base}/healthz"),
                lambda: besieged.call("GET", "/files?limit=1"),
                lambda: besieged.request(5),
                lambda: besieged.call("GET", "/files/by-id/hostile1"),
            ):
                began = time.monotonic()
                assert call().status == 200
                assert time.monotonic() - began < 5
            for answer, seconds in (each.result() for each in searches):
                assert seconds < 20
                if answer.status == 503:
                    assert answer.code == "STORAGE_UNAVAILABLE"
                    assert answer.headers["Retry-After"]
                else:
                    assert (answer.status, answer.json["items"]) == (200, [])
    assert len(besieged.call("GET", f"/files?search={'a' * 240}&limit=100").json["items"]) == 100
    assert "Traceback" not in besieged.log()


def test_a_search_text_has_a_longest_length(besieged: Appliance) -> None:
    refused = besieged.call("GET", f"/files?search={'é' * 256}")
    assert (refused.status, refused.code) == (400, "VALIDATION_ERROR")
    assert refused.json["error"]["details"] == {"search": ["must have at most 255 characters"]}
    assert besieged.call("GET", f"/files?search={'é' * 255}").status == 200
