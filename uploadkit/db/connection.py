"""The one database file: opened, read by statements, written by transactions that share their commits."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Any

from peewee import DatabaseError
from peewee import __exception_wrapper__ as peewees_own_exceptions  # type: ignore[attr-defined]

from uploadkit.config import Config
from uploadkit.core import path_ownership
from uploadkit.core.errors import ConfigError
from uploadkit.core.sizes import MIB
from uploadkit.db import read_deadline, read_places
from uploadkit.db.faults import SUGGESTIONS_AT_THE_START, refuse_damaged
from uploadkit.db.group_commit import LONGEST_WAIT_SECONDS
from uploadkit.db.migrating import migrate, refuse_other_versions
from uploadkit.db.models import database

_OLDEST_SQLITE = (3, 37, 0)  # STRICT tables
NOTE_SECONDS = 1
"""How long to wait for the database with what may as well be left out."""
_transaction = threading.local()


def open_database(config: Config, *, upgrade: bool) -> None:
    """Open the database of `config` for this process.

    With `upgrade` (the caller holds the data directory's lock) it is made or brought up to date; without, it must be there and
    be up to date. Raises ConfigError.
    """
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        raise ConfigError(f"SQLite {sqlite3.sqlite_version} is too old; this program needs 3.37 or newer")
    _require_search_index()
    path = config.database_path
    try:
        if upgrade:
            for suffix in ("", "-wal", "-shm"):  # SQLite gives the two the mode of the database
                path_ownership.make_private(path.with_name(path.name + suffix))
            migrate(path)
        else:
            refuse_other_versions(path)
        refuse_damaged(path)
    except (sqlite3.Error, OSError) as error:
        another = (
            f"put a backup in its place (and remove {path.name}-wal and {path.name}-shm, "
            "which belong to the damaged one), or name another file"
        )
        suggestion = next((suggestion for words, suggestion in SUGGESTIONS_AT_THE_START.items() if words in str(error)), another)
        raise ConfigError(f"database.path: {path} can't be used as UploadKit's database: {error}; {suggestion}") from None
    open_as_it_is(config)


def open_as_it_is(config: Config) -> None:
    """Open the database of `config` for this process, whatever its schema: for statements that fit those of earlier programs as well."""
    close()
    read_places.set_up(config.server.threads)
    database.init(
        str(config.database_path),
        check_same_thread=False,
        pragmas={
            "journal_mode": "wal",
            "synchronous": config.database.synchronous,
            "foreign_keys": 1,
            "busy_timeout": LONGEST_WAIT_SECONDS * 1000,
            "cache_size": -8000,
            "journal_size_limit": 64 * MIB,
        },
    )


def close() -> None:
    """Close this thread's connection and the one that writes."""
    database.writer.close()
    close_own()


def close_own() -> None:
    """Close this thread's connection: for a thread that ends."""
    if not database.is_closed():
        database.close()


def _require_search_index() -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        try:
            connection.execute("CREATE VIRTUAL TABLE probe USING fts5 (text, tokenize = 'trigram')")
        except sqlite3.OperationalError as error:
            raise ConfigError(f"SQLite {sqlite3.sqlite_version} of this Python was built without FTS5 trigrams: {error}") from None


@contextmanager
def write(wait_seconds: float = LONGEST_WAIT_SECONDS) -> Iterator[None]:
    """Run one write transaction; an exception rolls it back, and without one it is on the disk when the block has ended.

    Raises peewee.OperationalError when another process holds the database for longer than `wait_seconds`.

    Threads of this process queue on a lock rather than on SQLite's busy handler, which sleeps and is unfair, and those that queue share a
    commit (group_commit.py). Never call the network inside, nor wait for another thread.
    """
    if database.in_transaction():
        raise RuntimeError("write transactions don't nest")
    after_commit: dict[Callable[[], None], None] = {}
    with database.writer.transaction(wait_seconds):
        _transaction.after_commit = after_commit
        yield
    for callback in after_commit:
        callback()


@contextmanager
def snapshot() -> Iterator[None]:
    """Have all reads of a block see the database as it is at the first of them, while others write."""
    with database.atomic("DEFERRED"):
        yield


def require_transaction(why: str = "there is no write transaction") -> None:
    """Refuse to go on outside of a write transaction, which is a mistake of ours. Raises RuntimeError with `why`."""
    if not database.in_transaction():
        raise RuntimeError(why)


def on_commit(callback: Callable[[], None]) -> None:
    """Have `callback` called once when the caller's write transaction has been committed; if it is rolled back, never."""
    require_transaction()
    _transaction.after_commit[callback] = None


def execute(sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> sqlite3.Cursor:
    """Run one hand-written statement of the few that are hot or atomic beyond what a model can say; return its cursor."""
    read_deadline.statement_begins()
    with peewees_own_exceptions:
        cursor: sqlite3.Cursor = database.connection().execute(sql, parameters)  # type: ignore[no-untyped-call]
        return cursor


def damage() -> str | None:
    """Read the whole open database, and say in a sentence what is damaged; None when it is sound."""
    try:
        found = str(execute("PRAGMA quick_check(1)").fetchone()[0])
    except DatabaseError as error:
        found = str(error)
    return None if found == "ok" else found
