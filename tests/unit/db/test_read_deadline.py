"""What a request reads is ended by a deadline, wherever SQLite is at that moment; what it writes is not."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from peewee import OperationalError

from tests.conftest import App, new_app
from tests.support.clock import travelled_to
from uploadkit.auth import api_keys
from uploadkit.core import clock
from uploadkit.db import connection as db_connection
from uploadkit.db import read_deadline
from uploadkit.db.connection import execute
from uploadkit.db.models import File, Project, database
from uploadkit.db.read_deadline import ReadTookTooLong
from uploadkit.objectstore.store import ObjectStore
from uploadkit.projects import usage

ROWS = 2000
HOSTILE_NAME = "aab" + "a" * 240 + "baa"
ENDLESS = "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
MUCH = "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 50000) SELECT count(*) FROM n"
_FILL = """
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :rows)
INSERT INTO file (number, id, project_id, environment, route_slug, key, file_name, size_bytes, content_type, visibility, status,
                  expires_at, deadline_at, created_at, updated_at, uploaded_at)
SELECT :first + i, :environment || i, :project, :environment, 'default', :environment || '/' || i, :name, 5, 'image/jpeg', 'public',
       'UPLOADED', 0, 0, 0, 0, 0 FROM n
"""
_FILL_EVENTS = """
INSERT INTO event (id, at, event, project_id, environment, file_id, key, file_name, route_slug, status)
SELECT id, number >> 20, 'upload.completed', project_id, environment, id, key, 'n', 'default', 'UPLOADED' FROM file
"""


@pytest.fixture(scope="module")
def stocked(tmp_path_factory: pytest.TempPathFactory, app_bucket: ObjectStore) -> Iterator[App]:
    """A app with thousands of files and events, live and test."""
    with new_app(tmp_path_factory.mktemp("stocked") / "data", app_bucket) as app:
        with db_connection.write():
            for environment, first in (("live", clock.now_ms() << 20), ("test", 1)):
                values = {"rows": ROWS, "first": first, "environment": environment, "project": app.project.id, "name": HOSTILE_NAME}
                execute(_FILL, values)
            execute(_FILL_EVENTS)
        usage.repair()
        yield app


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Requests whose reads may take no time at all: what SQLite asks back about at all, it ends."""
    begin = read_deadline.begin
    monkeypatch.setattr(read_deadline, "begin", lambda seconds: begin(0))
    yield
    read_deadline.end()


def reads() -> dict[str, Callable[[], object]]:
    """Statements that keep SQLite at work in ways of their own."""
    phrase = f'file_name : "{"a" * 60}b{"a" * 60}"'
    return {
        "steps": lambda: execute(ENDLESS).fetchall(),
        "rows, one by one": lambda: [list(execute("SELECT length(file_name) FROM file").fetchall()) for _ in range(100_000)],
        "peewee": lambda: [list(File.select().limit(1000)) for _ in range(100_000)],
        "within the index of names": lambda: [
            execute("SELECT count(*) FROM file_search WHERE file_search MATCH ?", (phrase,)).fetchall() for _ in range(10_000)
        ],
        "LIKE": lambda: [
            execute("SELECT count(*) FROM file WHERE file_name LIKE ?", (f"%{'a' * 100}c%",)).fetchall() for _ in range(10_000)
        ],
        "instr": lambda: [
            execute("SELECT count(*) FROM file WHERE instr(file_name, ?)", ("a" * 100 + "c",)).fetchall() for _ in range(10_000)
        ],
        "our own function": lambda: [
            execute("SELECT count(*) FROM file WHERE name_contains(file_name, ?)", ("a" * 100 + "c",)).fetchall() for _ in range(10_000)
        ],
        "a sort": lambda: [execute("SELECT file_name FROM file ORDER BY random(), key").fetchall() for _ in range(10_000)],
    }


@pytest.mark.parametrize("what", reads())
def test_whatever_a_statement_does_it_is_ended_and_the_connection_is_good(stocked: App, what: str) -> None:
    connection = database.connection()
    began = time.monotonic()
    with pytest.raises(ReadTookTooLong) as ended, read_deadline.within(0.2):
        reads()[what]()
    assert time.monotonic() - began < 10, "0.2 s, on a machine that has other things to do"
    assert ended.value.retry_after_seconds
    assert database.connection() is connection
    assert File.select().count() == 2 * ROWS, "without a deadline any statement runs to its end"
    with db_connection.write():
        Project.update(name="still writable").where(Project.id == stocked.project.id).execute()
    assert Project.get_by_id(stocked.project.id).name == "still writable"


def test_a_transaction_is_never_ended_by_the_time_of_its_readers(stocked: App) -> None:
    """Threads out of time write together, each for longer than it may read: all of it is there, nothing half."""

    def write(number: int) -> None:
        read_deadline.begin(0)
        try:
            with db_connection.write():
                execute(MUCH).fetchall()
                execute("INSERT INTO setting (name, value) VALUES (?, 'a')", (f"a{number}",))
                execute(MUCH).fetchall()
                execute("INSERT INTO setting (name, value) VALUES (?, 'b')", (f"b{number}",))
            with pytest.raises(OperationalError, match="interrupted"):  # the thread's own connection is held to it
                execute(MUCH).fetchall()
        finally:
            read_deadline.end()
            database.close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(24)))
    assert execute("SELECT count(*) FROM setting WHERE name GLOB '[ab][0-9]*'").fetchone()[0] == 48
    assert database.writer.connection() is not database.connection()


def test_what_a_request_waits_for_elsewhere_does_not_count(stocked: App) -> None:
    with travelled_to(1_790_000_000_000) as advance, read_deadline.within(2):
        execute(MUCH).fetchall()
        advance(3_600_000)  # the store was slow
        assert execute(MUCH).fetchone()[0] > 50_000


def test_the_statements_of_a_request_share_its_time(stocked: App) -> None:
    began = time.monotonic()
    with pytest.raises(ReadTookTooLong), read_deadline.within(0.3):
        any(time.monotonic() - began > 30 or not execute(MUCH).fetchall() for _ in itertools.count())
    with read_deadline.within(60):
        execute(MUCH).fetchall()


def test_other_threads_have_their_own_time(stocked: App) -> None:
    ended: list[Any] = []

    def work() -> None:
        ended.append(execute(MUCH).fetchone()[0])
        database.close()

    with read_deadline.within(0.001):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert ended[0] > 50_000


ADDRESSES = [
    "/api/v1/files?contentType=video/mp4",
    "/api/v1/files?routeSlug=other",
    f"/api/v1/files?search=b{'a' * 200}b",
    "/api/v1/files?search=aa&status=FAILED",
    "/api/v1/logs?status=UPLOADING",
    "/api/v1/usage",
]


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_read_that_takes_too_long_is_503_with_the_fix(stocked: App, hurried: None, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    key = api_keys.issue_key(stocked.ctx.config, stocked.caller, stocked.project.id, "sandbox", environment="test").plaintext
    surface = stocked.client()
    answer = surface.get(address, headers={"x-api-key": key})
    assert answer.status_code == 503, answer.json
    assert answer.headers["Retry-After"]
    assert answer.json["error"]["code"] == "STORAGE_UNAVAILABLE"
    assert "too long" in answer.json["error"]["message"]
    assert "read_timeout_seconds" in answer.json["error"]["suggestion"]
    monkeypatch.undo()
    assert surface.get(address, headers={"x-api-key": key}).status_code == 200


def test_no_address_answers_500_when_there_is_no_time(stocked: App, hurried: None) -> None:
    """Every address that is read from, as far as it needs no more than the ids that are there."""
    surface = stocked.client()
    values = {"slug": stocked.project.slug, "environment": "live", "project_id": stocked.project.id, "projectId": stocked.project.id}
    values |= {"file_id": "live1", "fileId": "live1", "key": "live/1", "filename": "no", "path": "no", "anything": "no"}
    seen = set()
    for rule in surface.application.url_map.iter_rules():
        if "GET" not in (rule.methods or ()) or "doctor" in rule.rule or rule.rule in ("/readyz", "/"):
            continue  # these two ask the store
        _, address = rule.build({name: values.get(name, "no") for name in rule.arguments}) or ("", "")
        answer = surface.get(address)
        answer.close()
        seen.add(answer.status_code)
        assert answer.status_code < 500 or (answer.status_code == 503 and answer.headers["Retry-After"]), address
    assert {200, 404} <= seen
