"""From an older schema to today's: numbered SQL files, each in a transaction of its own, with a whole copy of before beside it."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from pathlib import Path

from uploadkit.core import clock
from uploadkit.core.durable_files import put_in_place, sync
from uploadkit.core.errors import ConfigError
from uploadkit.core.packaged_files import PROGRAM

log = logging.getLogger(__name__)

MIGRATIONS_DIR = Path(__file__).parent / "migrations"


def schema_version(path: Path) -> int:
    """Return the number of the last migration that ran on the database at `path`; 0 for a new one."""
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


def migrations() -> list[tuple[int, Path]]:
    """Return the numbered migrations, oldest first."""
    return sorted((int(path.name.split("_")[0]), path) for path in MIGRATIONS_DIR.glob("[0-9]*_*.sql"))


def newest_schema() -> int:
    """Return the number of the newest schema that this program knows."""
    return migrations()[-1][0]


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
    newest = newest_schema()
    if schema_version(path) > newest:
        raise ConfigError(
            f"database.path: {path} was made by a newer program (schema {schema_version(path)}, this one knows {newest}); "
            "start the newer program, or put back the backup beside it"
        )


def refuse_other_versions(path: Path) -> None:
    """Refuse a database that is not there, is newer, or is older than this program. Raises ConfigError."""
    if not path.exists():
        raise ConfigError(f"database.path: {path} is not there yet; run '{PROGRAM} init' or '{PROGRAM} serve' first")
    _refuse_newer(path)
    if schema_version(path) < newest_schema():
        raise ConfigError(f"database.path: {path} has an older schema; '{PROGRAM} serve' brings it up to date at its next start")
