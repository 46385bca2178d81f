"""Lists of files: filters, search, and pages that hold still while others add and delete. A real database; the store is never asked."""

from __future__ import annotations

import random
import sqlite3
import string
import threading
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.clock import travelled_to
from uploadkit import config
from uploadkit.auth import api_keys
from uploadkit.auth.callers import COMMAND_LINE, Caller
from uploadkit.context import Context
from uploadkit.core import ids
from uploadkit.core.data_dir import lock_data_dir
from uploadkit.core.errors import NotFound
from uploadkit.db import connection as db_connection
from uploadkit.db.connection import execute
from uploadkit.db.models import File, database
from uploadkit.files import lifecycle, single_upload
from uploadkit.files import service as files
from uploadkit.files.queries import search as file_search
from uploadkit.files.service import FileFilter
from uploadkit.files.single_upload import UploadRequest
from uploadkit.objectstore.address import StoreAddress
from uploadkit.objectstore.store import ObjectStore
from uploadkit.projects import service as projects
from uploadkit.projects import usage
from uploadkit.server import first_run
from uploadkit.webhooks import event_log
from uploadkit.webhooks.event_log import EventFilter
from uploadkit.webhooks.queries import events

NOON = 1_790_000_000_000
ALL = FileFilter()


@dataclass
class Desk:
    """Services over a fresh database, and a caller in a project that is empty."""

    ctx: Context
    first: Caller

    def new_project(self) -> Caller:
        project = projects.create_project(self.ctx.config, COMMAND_LINE, "Another")
        return replace(self.first, project_id=project.id, access="project")

    def add(self, caller: Caller, name: str = "a.jpg", content_type: str = "image/jpeg", status: str = "UPLOADED") -> File:
        file = single_upload.request_upload(self.ctx, caller, UploadRequest(name, 5, content_type, "default", {})).file
        self.set_status(file, status)
        return file

    def set_status(self, file: File, status: str) -> None:
        if status == "UPLOADED":
            lifecycle.finish(self.ctx, file, "etag", file.content_type, {}, sweep_at=None)
        elif status == "FAILED":
            lifecycle.leave_uploading(self.ctx, file, "not_verified", "not there")


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    data_dir = tmp_path_factory.mktemp("lists") / "data"
    loaded = config.load(None, {"UPLOADKIT_DATA__DIR": str(data_dir), "UPLOADKIT_DATABASE__SYNCHRONOUS": "NORMAL"})
    with lock_data_dir(data_dir):
        key = first_run.prepare(loaded).api_key
        assert key
        nowhere = ObjectStore(StoreAddress("http://127.0.0.1:9", "http://127.0.0.1:9", "us-east-1", "b", "path", "id", "secret"))
        yield Desk(Context(loaded, nowhere), api_keys.find_caller(loaded, key))
        database.close()


@pytest.fixture
def caller(desk: Desk) -> Caller:
    return desk.new_project()


def listed(caller: Caller, wanted: FileFilter = ALL, limit: int = 100, between: Callable[[], object] = lambda: None) -> list[str]:
    """The ids of all files that a walk through all pages comes by."""
    seen, cursor = [], None
    while True:
        page = files.list_files(caller, wanted, limit, cursor)
        seen += [file.id for file in page.items]
        if page.next_cursor is None:
            return seen
        assert len(page.items) == limit
        cursor = page.next_cursor
        between()


# Filters.


def test_every_filter_and_all_of_them_together(desk: Desk, caller: Caller) -> None:
    with travelled_to(NOON) as advance:
        old = desk.add(caller, "Holiday 1.jpg")
        advance(1000)
        video = desk.add(caller, "holiday 2.mp4", 'video/mp4; codecs="avc1"')
        advance(1000)
        failed = desk.add(caller, "holiday 3.JPG", "IMAGE/JPEG", "FAILED")
        new = desk.add(caller, "report.pdf", "application/pdf")
        gone = desk.add(caller, "holiday gone.jpg")
        files.delete_file(desk.ctx, caller, gone.key)
    cases: list[tuple[dict[str, Any], list[File]]] = [
        ({}, [new, failed, video, old]),
        ({"status": "DELETED"}, [gone]),
        ({"status": "FAILED"}, [failed]),
        ({"status": "UPLOADED"}, [new, video, old]),
        ({"route_slug": "default"}, [new, failed, video, old]),
        ({"route_slug": "nope"}, []),
        ({"content_type": "image/jpeg"}, [failed, old]),
        ({"content_type": "image/*"}, [failed, old]),
        ({"content_type": "Video/MP4"}, [video]),
        ({"content_type": "video/mp"}, []),
        ({"content_type": "video/mp_"}, []),
        ({"content_type": "vide%/*"}, []),
        ({"content_type": "*/*"}, [new, failed, video, old]),
        ({"search": "HOLIDAY"}, [failed, video, old]),
        ({"search": ".j"}, [failed, old]),
        ({"search": "y 3"}, [failed]),
        ({"since": NOON + 1000}, [new, failed, video]),
        ({"until": NOON + 1000}, [old]),
        ({"since": NOON + 1000, "until": NOON + 2000}, [video]),
        ({"since": -(10**15), "until": 10**18}, [new, failed, video, old]),
        ({"since": 10**18}, []),
        ({"search": "holiday", "status": "DELETED"}, [gone]),
        (
            {"search": "holi", "content_type": "image/*", "status": "UPLOADED", "route_slug": "default", "since": NOON, "until": NOON + 1},
            [old],
        ),
        ({"search": "ho", "content_type": "video/*", "since": NOON + 1}, [video]),
    ]
    for wanted, expected in cases:
        for limit in (1, 2, 100):
            assert listed(caller, FileFilter(**wanted), limit) == [file.id for file in expected], wanted


@pytest.mark.parametrize(
    ("name", "search"),
    [
        ("München.jpg", "MÜNCH"),
        ("Mu\u0308nchen.jpg", "münch"),
        ("München.jpg", "u\u0308nc"),
        ("東京タワー.jpg", "東京"),
        ("東京タワー.jpg", "京タワ"),
        ("ПРИВЕТ.jpg", "привет"),
        ("Привет.jpg", "пР"),
        ("ΣΊΣΥΦΟΣ.jpg", "σίσυ"),
        ("😀😃😄😁.gif", "😃😄😁"),
        ('say "hi".txt', 'y "hi"'),
        ("a AND b OR NOT c*.txt", "AND b OR"),
        ("x NEAR(y).txt", "NEAR(y"),
        ("col:umn^.txt", "col:umn^"),
        ("100% _really_.txt", "% _r"),
        ("it's.txt", "t's"),
        ("back\\slash.txt", "k\\s"),
        ("{curly}-[square].txt", "}-["),
        ("q", "Q"),
        ("É", "e\u0301"),
    ],
)
def test_a_search_takes_its_text_as_it_is(desk: Desk, caller: Caller, name: str, search: str) -> None:
    wanted, other = desk.add(caller, name), desk.add(caller, "something else.bin")
    assert listed(caller, FileFilter(search=search)) == [wanted.id]
    assert listed(caller, FileFilter(search="")) == [other.id, wanted.id]


@pytest.mark.parametrize("most_trigrams", [500, 1], ids=["in the index", "by a walk"])
def test_one_or_two_characters_are_found_wherever_they_stand(
    desk: Desk, caller: Caller, most_trigrams: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_search, "_MOST_TRIGRAMS", most_trigrams)
    letters, chance = "aÄ1.-σ京", random.Random(3)
    names = {"".join(chance.choices(letters, k=chance.randint(1, 4))) for _ in range(40)}
    made = {name: desk.add(caller, name).id for name in sorted(names)}
    desk.add(desk.new_project(), letters)
    for search in [*"aAäσς京x", *(first + second for first in "aÄ1σ" for second in "A.Σ京")]:
        wanted = {file_id for name, file_id in made.items() if search.casefold() in name.casefold()}
        assert set(listed(caller, FileFilter(search=search))) == wanted, search


@pytest.mark.parametrize(
    "search", ["\0", "\x1f", "jpg\x1f", "abc\0", '"', '""', "'", "*", '"*', "a*b", "(", "^a:b", "scope:lff", "-", "\ud7ff", "zz" * 120]
)
def test_a_search_that_finds_nothing_is_no_failure(desk: Desk, caller: Caller, search: str) -> None:
    desk.add(caller, "plain.jpg")
    assert listed(caller, FileFilter(search=search)) == []


def test_a_search_stays_in_its_project_and_environment(desk: Desk, caller: Caller) -> None:
    outsider, sandbox = desk.new_project(), replace(caller, environment="test")
    found = [(who, desk.add(who, "shared name.jpg").id) for who in (caller, outsider, sandbox)]
    for search in ("shared", "sh", ""):
        for who, file_id in found:
            assert listed(who, FileFilter(search=search)) == [file_id]


def test_the_index_follows_the_rows(desk: Desk, caller: Caller) -> None:
    kept, renamed, gone = (desk.add(caller, f"{name} photo.jpg") for name in ("kept", "renamed", "gone"))
    with db_connection.write():
        File.delete().where(File.id == gone.id).execute()
        File.update(file_name="another.jpg").where(File.id == renamed.id).execute()
    assert listed(caller, FileFilter(search="photo")) == [kept.id]
    assert listed(caller, FileFilter(search="another")) == [renamed.id]
    execute("INSERT INTO file_search (file_search, rank) VALUES ('integrity-check', 1)")
    database.execute_sql("VACUUM")
    execute("INSERT INTO file_search (file_search, rank) VALUES ('integrity-check', 1)")
    assert listed(caller, FileFilter(search="photo")) == [kept.id]


# Plans: what keeps a page cheap on a million rows.


@pytest.mark.parametrize(
    ("wanted", "plan"),
    [
        (FileFilter(), ["SEARCH t1 USING INDEX file_newest_first (project_id=? AND environment=? AND number<?)"]),
        (FileFilter(status="FAILED"), ["SEARCH t1 USING INDEX file_unfinished (project_id=? AND environment=? AND status=? AND number<?)"]),
        (FileFilter(status="DELETED"), ["SEARCH t1 USING INDEX file_deleted (project_id=? AND environment=? AND number<?)"]),
        (FileFilter(route_slug="a", content_type="image/*", since=5), [
            "SEARCH t1 USING INDEX file_newest_first (project_id=? AND environment=? AND number>? AND number<?)"
        ]),
        (FileFilter(search="a."), ["SCAN t2 VIRTUAL TABLE INDEX 192:M2<", "SEARCH t1 USING INTEGER PRIMARY KEY (rowid=?)"]),
        (FileFilter(search="abc", status="FAILED"), [
            "SCAN t2 VIRTUAL TABLE INDEX 192:M2<",
            "SEARCH t1 USING INTEGER PRIMARY KEY (rowid=?)",
        ]),
    ],
)  # fmt: skip
def test_pages_come_in_order_from_an_index(
    desk: Desk, caller: Caller, monkeypatch: pytest.MonkeyPatch, wanted: FileFilter, plan: list[str]
) -> None:
    statements: list[tuple[str, Any]] = []
    real = database.execute_sql

    def noting(sql: str, parameters: Any = None) -> Any:
        statements.append((sql, parameters))
        return real(sql, parameters)

    for _ in range(2):
        desk.add(caller)
    cursor = files.list_files(caller, ALL, 1, None).next_cursor
    with monkeypatch.context() as patched:
        patched.setattr(database, "execute_sql", noting)
        files.list_files(caller, wanted, 20, cursor)
    sql, parameters = statements[-1]
    assert [row[3] for row in real(f"EXPLAIN QUERY PLAN {sql}", parameters).fetchall()] == plan


# Pages that hold still.


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(st.integers(-3, 3), min_size=1, max_size=40),
    limit=st.integers(1, 7),
    changes=st.lists(st.tuples(st.sampled_from(["add", "delete"]), st.integers(0, 10**6)), max_size=30),
)
def test_pages_hold_still_whatever_the_clock_does(desk: Desk, steps: list[int], limit: int, changes: list[tuple[str, int]]) -> None:
    """Equal times, a clock that jumps back, and rows that come and go between two pages."""
    caller = desk.new_project()
    rest = iter(changes)
    with travelled_to(NOON) as advance:
        made = []
        for step in steps:
            advance(step)
            made.append(desk.add(caller))
        deleted: set[str] = set()

        def change() -> None:
            for what, number in (next(rest, ("", 0)), next(rest, ("", 0))):
                if what == "add":
                    advance(number % 5 - 2)
                    desk.add(caller)
                elif what == "delete" and (victim := made[number % len(made)]).id not in deleted:
                    files.delete_file(desk.ctx, caller, victim.key)
                    deleted.add(victim.id)

        seen = listed(caller, limit=limit, between=change)
    assert len(seen) == len(set(seen))
    assert {file.id for file in made} - deleted <= set(seen)
    by_id = {file.id: file for file in made}
    order = [by_id[file_id].created_at for file_id in seen if file_id in by_id]
    assert order == sorted(order, reverse=True)


@pytest.mark.long
def test_ten_thousand_files_while_eight_writers_add_and_delete(desk: Desk, caller: Caller) -> None:
    lasting, passing = 10_000, 3_000
    with travelled_to(NOON):  # many share a millisecond
        sample = desk.add(caller, "lasting photo.jpg")
    lasting_ids = {sample.id} | set(_copy(sample, lasting - 1, "lasting photo.jpg"))
    victims = [File.get_by_id(file_id) for file_id in _copy(sample, passing, "passing photo.jpg")]
    usage.repair()
    random.Random(4).shuffle(victims)
    over, failures, added = threading.Event(), [], []

    def write(number: int) -> None:
        try:
            mine = iter(victims[number::8])
            while not over.is_set():
                added.append(desk.add(caller, "late photo.jpg").id)
                if victim := next(mine, None):
                    files.delete_file(desk.ctx, caller, victim.key)
        except Exception as error:
            failures.append(error)
        finally:
            database.close()

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    try:
        walks = [listed(caller, wanted) for wanted in (ALL, FileFilter(search="photo"), FileFilter(status="UPLOADED"))]
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert not failures
    assert len(added) > 100
    for seen in walks:
        assert len(seen) == len(set(seen)), "a file was seen twice"
        assert lasting_ids <= set(seen), "a file was missed"
    assert usage.find_differences() == []


def _copy(sample: File, count: int, name: str) -> list[str]:
    """Make `count` rows like `sample`, ten to a millisecond; return their ids."""
    columns = dict(File.get_by_id(sample.id).__data__)
    newest = File.select(File.number).order_by(File.number.desc()).first().number
    rows: list[Mapping[str, Any]] = [
        columns | {"number": newest + 1 + (n // 10 << 20) + n % 10, "id": (new := ids.new_id()), "key": f"key/{new}", "file_name": name}
        for n in range(count)
    ]
    with db_connection.write():
        for start in range(0, count, 500):
            File.insert_many(rows[start : start + 500]).execute()
    return [row["id"] for row in rows]


# Deleting many.


def test_deleting_many(desk: Desk, caller: Caller) -> None:
    done, failed, outsiders = desk.add(caller), desk.add(caller, status="FAILED"), desk.add(desk.new_project())
    keys_given = [done.key, "nowhere", failed.key, done.key, outsiders.key, "nowhere"]
    deletion = files.delete_files(desk.ctx, caller, keys_given)
    assert (deletion.deleted, deletion.reclaimed_bytes) == (2, 5)
    assert list(deletion.failures) == ["nowhere", outsiders.key]
    assert {type(failure) for failure in deletion.failures.values()} == {NotFound}
    assert File.get_by_id(outsiders.id).status == "UPLOADED"
    again = files.delete_files(desk.ctx, caller, keys_given)
    assert (again.deleted, again.reclaimed_bytes, len(again.failures)) == (0, 0, 4)
    here = {caller.project_id, outsiders.project_id}  # other tests of this file copy rows, which no counter knows
    assert [difference for difference in usage.find_differences() if difference.project_id in here] == []


def test_uploads_under_way_are_not_tried_one_by_one_while_the_store_is_away(desk: Desk, caller: Caller) -> None:
    under_way = [desk.add(caller, status="UPLOADING") for _ in range(3)]
    done = desk.add(caller)
    deletion = files.delete_files(desk.ctx, caller, [file.key for file in (*under_way, done)])
    assert deletion.deleted == 1
    assert [failure.code for failure in deletion.failures.values()] == ["STORAGE_UNAVAILABLE"] * 3
    assert [File.get_by_id(file.id).status for file in under_way] == ["FAILED", "UPLOADING", "UPLOADING"]


# The log.


def test_each_change_of_state_is_in_the_log_once(desk: Desk, caller: Caller) -> None:
    file = desk.add(caller, "photo.jpg")
    files.delete_file(desk.ctx, caller, file.key)
    failed = desk.add(caller, status="FAILED")
    page = event_log.list_events(caller, EventFilter(), 100, None)
    assert [(e.event, e.status, e.detail) for e in page.items if e.file_id == file.id] == [
        ("file.deleted", "DELETED", None),
        ("upload.completed", "UPLOADED", None),
        ("upload.requested", "UPLOADING", None),
    ]
    assert next((e.event, e.detail) for e in page.items if e.file_id == failed.id) == ("upload.failed", "not there")
    assert [e.file_id for e in event_log.list_events(caller, EventFilter(status="FAILED"), 100, None).items] == [failed.id]
    assert [e.sequence for e in page.items] == sorted((e.sequence for e in page.items), reverse=True)
    later = page.items[0].at + 1
    assert not event_log.list_events(caller, EventFilter(since=later), 100, None).items
    assert not event_log.list_events(replace(caller, environment="test"), EventFilter(), 100, None).items


def test_the_log_by_operation_route_time_and_key(desk: Desk, caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    file, failed = desk.add(caller, "photo.jpg"), desk.add(caller, status="FAILED")
    with db_connection.write():
        File.update(api_key=None).where(File.id == failed.id).execute()
    outsider = replace(desk.new_project(), actor=caller.actor)
    desk.add(outsider)
    for most in (5000, 0):  # few files by that key, or too many to go by them
        monkeypatch.setattr(events, "_FEW_FILES", most)
        for wanted, found in (
            (EventFilter(event="upload.failed"), [failed]),
            (EventFilter(event="upload.completed", route_slug="default"), [file]),
            (EventFilter(event="upload.aborted"), []),
            (EventFilter(event="upload.failed", status="UPLOADED"), []),
            (EventFilter(route_slug="nope"), []),
            (EventFilter(until=file.created_at), []),
            (EventFilter(api_key_id=caller.api_key_id), [file, file]),
            (EventFilter(api_key_id=caller.api_key_id, status="UPLOADED", since=file.created_at), [file]),
            (EventFilter(api_key_id="nobody"), []),
        ):
            assert [entry.file_id for entry in event_log.list_events(caller, wanted, 100, None).items] == [one.id for one in found], wanted


def test_no_event_without_its_change(desk: Desk, caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    before = event_log.list_events(caller, EventFilter(), 100, None).items

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a crash")

    monkeypatch.setattr(events, "insert", fail)
    with pytest.raises(RuntimeError, match="a crash"):
        desk.add(caller, status="UPLOADING")
    monkeypatch.undo()
    assert event_log.list_events(caller, EventFilter(), 100, None).items == before
    assert files.list_files(caller, ALL, 100, None).items == []


def test_random_names_are_found_by_any_part_of_them(desk: Desk, caller: Caller) -> None:
    chosen = random.Random(8)
    alphabet = string.ascii_letters + string.digits + " .-_()'\"*:äößÉ東京😀"
    made = {desk.add(caller, "".join(chosen.choices(alphabet, k=chosen.randint(1, 40)))).id: "" for _ in range(60)}
    names = {file.id: file.file_name for file in File.select().where(File.id.in_(list(made)))}
    for _ in range(150):
        name = chosen.choice(list(names.values()))
        start = chosen.randrange(len(name))
        part = chosen.choice([str.upper, str.lower, str])(name[start : start + chosen.randint(1, 8)])
        expected = {file_id for file_id, other in names.items() if part.lower() in other.lower()}
        assert set(listed(caller, FileFilter(search=part))) == expected, part


# Long texts: a few of their trigrams are looked up, and the names that have these are looked at.


def test_a_long_text_finds_what_contains_it_and_nothing_else(desk: Desk, caller: Caller) -> None:
    """Names whose trigrams are nearly the same, held against Python; and against the index's own phrases."""
    chance = random.Random(5)
    alphabets = ("ab", "aB", "Äöa", "京都a", "σΣς", "ﬁßẞs", "e\u0301É", "%_'\"*")
    names = {"".join(chance.choices(letters, k=chance.randint(3, 60))) for letters in alphabets for _ in range(25)}
    names |= {"aab" + "a" * 240 + "baa", "a" * 255, "ab" * 127, "%" * 255, "\U0001f600" * 200}
    made = {name: desk.add(caller, name).id for name in sorted(names)}
    searches = [name[start : start + length] for name in sorted(names) for start, length in ((0, 255), (chance.randrange(9), 4), (2, 30))]
    searches += ["b" + "a" * 200 + "b", "a" * 254 + "b", "ab" * 60 + "b", "ba" * 100, "A" * 250]
    for search in searches:
        forms = (search, *(unicodedata.normalize(form, search) for form in ("NFC", "NFD")))
        if min(map(len, forms)) < 3:  # the tests above have those
            continue
        found = set(listed(caller, FileFilter(search=search)))
        phrases = " OR ".join('"' + form.replace('"', '""') + '"' for form in forms)
        rows = execute("SELECT rowid FROM file_search WHERE file_search MATCH ?", (f"file_name : ({phrases})",)).fetchall()
        known = {row.id for row in File.select().where(File.number << [number for (number,) in rows], File.project == caller.project_id)}
        assert found == known, search
        assert {file_id for name, file_id in made.items() if search in name} <= found


def test_case_is_ignored_wherever_the_index_ignores_it() -> None:
    """What FTS5 takes for the same letter is the same to us: else a search would leave out what the index has found."""
    cased = [chr(code) for code in range(1, 0x110000) if (c := chr(code)).lower() != c or c.upper() != c or c.casefold() != c]
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE VIRTUAL TABLE probe USING fts5 (text, tokenize = 'trigram', detail = none)")
        connection.execute("CREATE VIRTUAL TABLE terms USING fts5vocab (probe, instance)")
        connection.executemany("INSERT INTO probe (rowid, text) VALUES (?, ?)", ((ord(c), c * 3) for c in cased))
        folded = connection.execute("SELECT doc, term FROM terms").fetchall()
    assert len(folded) == len(cased) > 2000
    assert [chr(code) for code, term in folded if file_search._folded(chr(code) * 3) != file_search._folded(term)] == []
