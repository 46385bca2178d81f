"""Write transactions that share a commit: each fails alone, none goes on before the disk has it, all hear of a commit that fails."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

import pytest
from peewee import OperationalError

from tests.support.appliance import wait_until
from uploadkit import config
from uploadkit.db import connection as db_connection
from uploadkit.db import group_commit
from uploadkit.db.connection import close, execute, on_commit, open_database
from uploadkit.db.models import Setting, database


@pytest.fixture
def database_path(tmp_path: Path) -> Iterator[Path]:
    """A database that is open and empty."""
    settings = config.load(None, {"UPLOADKIT_DATA__DIR": str(tmp_path)})
    open_database(settings, upgrade=True)
    yield settings.database_path
    close()


def one_batch(*blocks: Callable[[], object]) -> list[Exception | None]:
    """Run `blocks` as write transactions that are sure to share a commit: all wait for the turn before the first one ends.

    Returns what each raised.
    """
    all_wait = threading.Event()
    ended: list[Exception | None] = [None] * len(blocks)

    def write(number: int) -> None:
        try:
            with db_connection.write():
                if number == 0:
                    all_wait.wait()
                blocks[number]()
        except Exception as error:
            ended[number] = error

    threads = [threading.Thread(target=write, args=(number,)) for number in range(len(blocks))]
    threads[0].start()
    wait_until(database.writer._turn.locked, what="the first to have the turn")
    for thread in threads[1:]:
        thread.start()
    wait_until(lambda: database.writer._waiting == len(blocks) - 1, what="the others to wait for it")
    all_wait.set()
    for thread in threads:
        thread.join()
    return ended


def put(name: str) -> Callable[[], object]:
    """A block that writes one row."""
    return lambda: Setting.insert(name=name, value="").execute()


def fails() -> None:
    """A block that writes a row and then fails."""
    put("of the failed")()
    raise KeyError("on purpose")


def rows(path: Path) -> set[str]:
    """What somebody else sees."""
    with closing(sqlite3.connect(path)) as other:
        return {name for (name,) in other.execute("SELECT name FROM setting")}


def test_those_who_wait_share_a_commit(database_path: Path) -> None:
    statements: list[str] = []
    database.writer.connection().set_trace_callback(statements.append)
    ended = one_batch(*(put(str(number)) for number in range(8)))
    assert ended == [None] * 8
    assert statements.count("COMMIT") == 1
    assert rows(database_path) == {str(number) for number in range(8)}


def test_a_batch_has_an_end_however_many_wait(database_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_commit, "_MOST_BLOCKS", 3)
    statements: list[str] = []
    database.writer.connection().set_trace_callback(statements.append)
    assert one_batch(*(put(str(number)) for number in range(7))) == [None] * 7
    assert statements.count("COMMIT") == 3
    assert rows(database_path) == {str(number) for number in range(7)}


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_block_fails_alone(database_path: Path, place: int) -> None:
    blocks = [put("one"), put("two")]
    blocks.insert(place, fails)
    ended = one_batch(*blocks)
    assert sorted(type(error).__name__ for error in ended) == ["KeyError", "NoneType", "NoneType"]
    assert isinstance(ended[0], KeyError) == (place == 0)  # who comes first is fixed, the others may change places
    assert rows(database_path) == {"one", "two"}


def test_nobody_is_told_of_success_when_the_commit_fails(database_path: Path) -> None:
    called: list[str] = []

    def put_and_hope(name: str) -> Callable[[], None]:
        def block() -> None:
            put(name)()
            on_commit(lambda: called.append(name))

        return block

    connection = database.writer.connection()
    connection.execute("CREATE TABLE parent (id INTEGER PRIMARY KEY)")
    connection.execute("CREATE TABLE child (parent INTEGER REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED)")
    ended = one_batch(put_and_hope("one"), lambda: execute("INSERT INTO child VALUES (1)"), put_and_hope("two"))
    assert all("FOREIGN KEY" in str(error) for error in ended)
    assert rows(database_path) == set()
    assert called == []
    with db_connection.write():
        put("afterwards")()
    assert rows(database_path) == {"afterwards"}


def test_a_full_disk_takes_all_of_the_batch_back_and_says_so(database_path: Path) -> None:
    connection = database.writer.connection()
    ((pages,),) = connection.execute("PRAGMA page_count")
    connection.execute(f"PRAGMA max_page_count = {pages}")

    def fill() -> None:
        for number in range(1_000):
            Setting.insert(name=f"{number}", value="x" * 1_000).execute()

    ended = one_batch(put("one"), fill)
    assert isinstance(ended[1], OperationalError)
    assert "is full" in str(ended[1])
    assert (ended[0] is None) == ("one" in rows(database_path)), "what was acknowledged is there, and nothing else"
    assert not {name for name in rows(database_path) if name.isdigit()}
    connection.execute(f"PRAGMA max_page_count = {pages + 10_000}")
    with db_connection.write():
        put("afterwards")()
    assert "afterwards" in rows(database_path)


def test_a_block_that_swallows_a_full_disk_does_not_pass_for_written(database_path: Path) -> None:
    connection = database.writer.connection()
    ((pages,),) = connection.execute("PRAGMA page_count")
    connection.execute(f"PRAGMA max_page_count = {pages}")

    def swallow() -> None:
        with suppress(OperationalError):
            Setting.insert(name="large", value="x" * 100_000).execute()

    ended = one_batch(put("one"), swallow, put("two"))
    acknowledged = {name for name, error in zip(("one", "two"), (ended[0], ended[2]), strict=True) if error is None}
    assert isinstance(ended[1], OperationalError)
    assert acknowledged == rows(database_path)


def test_many_threads_lose_nothing(database_path: Path) -> None:
    def work(number: int) -> None:
        with db_connection.write():
            put(f"{number}")()
            if number % 7 == 3:
                raise KeyError(number)
        assert f"{number}" in {row.name for row in Setting.select()}, "a thread sees what it wrote"

    with ThreadPoolExecutor(12) as pool:
        done = [pool.submit(work, number) for number in range(300)]
    assert [type(one.exception()) for one in done] == [KeyError if number % 7 == 3 else type(None) for number in range(300)]
    assert rows(database_path) == {str(number) for number in range(300) if number % 7 != 3}
