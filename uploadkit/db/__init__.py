"""The SQLite file: opening it, its lock, write transactions, and migrations with a backup before.

One connection per thread, kept for good: opening one per request was the largest single cost that we measured
(operations.md, "Facts measured"). Refuses to run twice on one data directory, and to open a newer database.
"""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, Any

import uuid_utils
from peewee import DatabaseError
from peewee import __exception_wrapper__ as peewees_own_exceptions  # type: ignore[attr-defined]

from uploadkit.config import Config
from uploadkit.core import clock, trespass
from uploadkit.core.durable_files import put_in_place, sync
from uploadkit.core.errors import ConfigError
from uploadkit.core.shipped import PROGRAM
from uploadkit.db import group_commit, read_deadline, read_places
from uploadkit.db.models import database

log = logging.getLogger(__name__)

MIGRATIONS_DIR = Path(__file__).parent / "migrations"
_OLDEST_SQLITE = (3, 37, 0)  # STRICT tables
NOTE_SECONDS = 1
"""How long to wait for the database with what may as well be left out."""
_transaction = threading.local()
# What SQLite says of it, what that means, and the mend.
_TROUBLES = {
    "is locked": ("it is locked by another program", "End what holds it, a backup or an sqlite3 shell perhaps; it goes on by itself then"),
    "is full": ("its disk is full", "Free some space there; it goes on by itself then, and nothing that was acknowledged is lost"),
    "disk I/O error": ("its disk fails or is full", "Look at the disk and the kernel's log; it goes on by itself once the disk does"),
    "readonly database": ("it may not be written", "Give the appliance's user the right to write the file and its folder"),
    "unable to open": (
        "its file can't be opened",
        "Give the appliance's user the right to write the file and its folder; look at its disk",
    ),
    "malformed": ("it is damaged", f"Stop the appliance and put a backup in its place; '{PROGRAM} doctor' says what is damaged"),
    "not a database": ("it is damaged", f"Stop the appliance and put a backup in its place; '{PROGRAM} doctor' says what is damaged"),
}
_MENDS_AT_THE_START = {
    "is full": "free some space on its disk and start again: nothing is lost",
    "disk I/O error": "its disk is full or fails: free some space on it, or look at the kernel's log, and start again",
    "is locked": "end the program that holds it, a backup or an sqlite3 shell perhaps, and start again",
    "readonly database": "this user may not write it, or its disk is mounted read-only",
    "unable to open": "this user may not write its folder, or its disk is mounted read-only",
}


class DataDirInUse(ConfigError):
    """Another process, most likely an appliance that serves, holds the data directory."""


def new_id() -> str:
    """Return a time-sortable id: UUID version 7 (RFC 9562 section 5.7)."""
    return str(uuid_utils.uuid7())


@contextmanager
def lock_data_dir(data_dir: Path) -> Iterator[None]:
    """Hold the data directory (made with mode 0700) for this process. Raises ConfigError when another process holds it.

    The kernel lets go of the lock when the process ends, however it ends.
    """
    prepare_data_dir(data_dir)
    with _opened_lock(data_dir) as file:
        _flock(file, data_dir)
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def _opened_lock(data_dir: Path) -> IO[str]:
    try:
        return (data_dir / "lock").open("a+")
    except OSError as error:
        raise ConfigError(f"data.dir: {data_dir / 'lock'} can't be opened: {error.strerror}") from None


def _flock(file: IO[str], data_dir: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        holder = file.read().strip() or "unknown"
        raise DataDirInUse(
            f"data.dir: {data_dir} is in use by process {holder}; stop that one first, or set UPLOADKIT_DATA__DIR to another directory"
        ) from None


def prepare_data_dir(data_dir: Path) -> None:
    """Make the data directory, readable by its owner only; one that holds other people's things keeps its mode.

    Raises ConfigError when it can't be used.
    """
    try:
        if not data_dir.exists():
            data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            sync(data_dir.parent)
        if trespass.is_foreign(data_dir) and os.geteuid():
            raise ConfigError(
                f"data.dir: {data_dir} belongs to somebody else, who could replace what is in it; name a folder of this user's own"
            )
        if (data_dir / "lock").exists() or all(path.name.startswith(".") for path in data_dir.iterdir()):
            data_dir.chmod(0o700)
    except OSError as error:
        raise ConfigError(f"data.dir: {data_dir} can't be used: {error.strerror}") from None
    if not os.access(data_dir, os.W_OK | os.X_OK):
        raise ConfigError(f"data.dir: {data_dir} is not writable by this user")


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
            migrate(path)
        else:
            _refuse_other_versions(path)
        _refuse_damaged(path)
    except (sqlite3.Error, OSError) as error:
        another = (
            f"put a backup in its place (and remove {path.name}-wal and {path.name}-shm, "
            "which belong to the damaged one), or name another file"
        )
        mend = next((mend for said, mend in _MENDS_AT_THE_START.items() if said in str(error)), another)
        raise ConfigError(f"database.path: {path} can't be used as UploadKit's database: {error}; {mend}") from None
    close()
    read_places.set_up(config.server.threads)
    database.init(
        str(path),
        check_same_thread=False,
        pragmas={
            "journal_mode": "wal",
            "synchronous": config.database.synchronous,
            "foreign_keys": 1,
            "busy_timeout": group_commit.LONGEST_WAIT_SECONDS * 1000,
            "cache_size": -8000,
            "journal_size_limit": 64 * 1024**2,
        },
    )


def close() -> None:
    """Close this thread's connection and the one that writes."""
    group_commit.close()
    if not database.is_closed():
        database.close()


def _require_search_index() -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        try:
            connection.execute("CREATE VIRTUAL TABLE probe USING fts5 (text, tokenize = 'trigram')")
        except sqlite3.OperationalError as error:
            raise ConfigError(f"SQLite {sqlite3.sqlite_version} of this Python was built without FTS5 trigrams: {error}") from None


@contextmanager
def write(wait_seconds: float = group_commit.LONGEST_WAIT_SECONDS) -> Iterator[None]:
    """Run one write transaction; an exception rolls it back, and without one it is on the disk when the block has ended.

    Raises peewee.OperationalError when another process holds the database for longer than `wait_seconds`.

    Threads of this process queue on a lock rather than on SQLite's busy handler, which sleeps and is unfair, and those that queue share a
    commit (group_commit.py). Never call the network inside, nor wait for another thread.
    """
    if database.in_transaction():
        raise RuntimeError("write transactions don't nest")
    after_commit: dict[Callable[[], None], None] = {}
    with group_commit.transaction(wait_seconds):
        _transaction.after_commit = after_commit
        yield
    for callback in after_commit:
        callback()


def on_commit(callback: Callable[[], None]) -> None:
    """Have `callback` called once when the caller's write transaction has been committed; if it is rolled back, never."""
    if not database.in_transaction():
        raise RuntimeError("there is no write transaction")
    _transaction.after_commit[callback] = None


def execute(sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> sqlite3.Cursor:
    """Run one hand-written statement of the few that are hot or atomic beyond what a model can say; return its cursor."""
    read_deadline.statement_begins()
    with peewees_own_exceptions:
        cursor: sqlite3.Cursor = database.connection().execute(sql, parameters)  # type: ignore[no-untyped-call]
        return cursor


def schema_version(path: Path) -> int:
    """Return the number of the last migration that ran on the database at `path`; 0 for a new one."""
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


def migrations() -> list[tuple[int, Path]]:
    """Return the numbered migrations, oldest first."""
    return sorted((int(path.name.split("_")[0]), path) for path in MIGRATIONS_DIR.glob("[0-9]*_*.sql"))


def migrate(path: Path) -> None:
    """Bring the database at `path` up to date, each migration in a transaction of its own, after a backup beside it.

    Raises ConfigError when the database was made by a newer program.
    """
    is_new = not path.exists()
    if is_new:
        path.touch(mode=0o600)
        sync(path.parent)  # the name; SQLite sees to what is in it
    _refuse_newer(path)
    present = schema_version(path)
    todo = [(number, file) for number, file in migrations() if number > present]
    began = clock.monotonic_ms()
    if todo and present:
        # By the first of them: where a kill has left only some done, the next start does not write over the copy of before all.
        backup = path.with_name(f"{path.name}.before-{todo[0][0]:04d}")
        log.info("the database is brought up to date, after a copy of it as %s: with a million files minutes. A stop loses nothing", backup)
        back_up(path, backup)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = wal")
        for number, file in todo:
            _run_migration(connection, number, file.read_text(encoding="utf-8"))
            if present:
                log.info("the database has schema %d now, %.1f s after the start", number, (clock.monotonic_ms() - began) / 1000)


def _run_migration(connection: sqlite3.Connection, number: int, script: str) -> None:
    try:
        connection.executescript(f"BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version = {number};\nCOMMIT;")
    except sqlite3.Error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def back_up(path: Path, target: Path) -> None:
    """Copy the database at `path` to `target` (mode 0600) in a consistent state, also while it is in use."""
    partial = target.with_name(target.name + ".partial")
    partial.unlink(missing_ok=True)
    partial.touch(mode=0o600)
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(partial)) as copy:
        source.backup(copy)
    put_in_place(partial, target)


def _refuse_newer(path: Path) -> None:
    newest = migrations()[-1][0]
    if schema_version(path) > newest:
        raise ConfigError(
            f"database.path: {path} was made by a newer program (schema {schema_version(path)}, this one knows {newest}); "
            "start the newer program, or put back the backup beside it"
        )


def _refuse_damaged(path: Path) -> None:
    """Read a little of every table. Raises sqlite3.DatabaseError. All of it is `damage`'s to read, which takes its time."""
    with closing(sqlite3.connect(path)) as connection:
        tables = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
        for (name,) in tables:
            connection.execute(f'SELECT * FROM "{name}" LIMIT 1').fetchall()  # noqa: S608


def damage() -> str | None:
    """Read the whole open database, and say in a sentence what is damaged; None when it is sound."""
    try:
        found = str(execute("PRAGMA quick_check(1)").fetchone()[0])
    except DatabaseError as error:
        found = str(error)
    return None if found == "ok" else found


def trouble(error: Exception) -> tuple[str, str] | None:
    """Return what is wrong and what to do, when SQLite was let down by what is around it; None for a mistake of ours."""
    if not isinstance(error, DatabaseError | sqlite3.DatabaseError):
        return None
    return next((words for said, words in _TROUBLES.items() if said in str(error)), None)


def _refuse_other_versions(path: Path) -> None:
    if not path.exists():
        raise ConfigError(f"database.path: {path} is not there yet; run '{PROGRAM} init' or '{PROGRAM} serve' first")
    _refuse_newer(path)
    if schema_version(path) < migrations()[-1][0]:
        raise ConfigError(f"database.path: {path} has an older schema; '{PROGRAM} serve' brings it up to date at its next start")
