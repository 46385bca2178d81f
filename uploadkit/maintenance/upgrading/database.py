"""The database at an upgrade: a copy of it before, and the way back to that copy when the earlier program can't read what came of it.

The caller holds the data directory's lock, so nothing serves. The database has its name at every moment, in one state or the other.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from uploadkit.config import Config
from uploadkit.core.durable_files import give_second_name, put_in_place
from uploadkit.core.errors import ConfigError
from uploadkit.db import connection
from uploadkit.db.connection import write
from uploadkit.db.migrating import back_up, schema_version
from uploadkit.maintenance.backups.queries import end_sessions, fold_in_log, is_sound, jump_events, keys_revoked_since
from uploadkit.maintenance.upgrading.queries import files_since

_MOST_KEPT = 100


@dataclass(frozen=True)
class Earlier:
    """A copy of the database from before an upgrade, and what has changed since. Times are milliseconds since the epoch.

    `came` files would be lost, the last of them from `last_at_ms`; `went` were deleted since and would be back without bytes.
    """

    path: Path
    taken_at_ms: int
    came: int
    last_at_ms: int | None
    went: int


@dataclass(frozen=True)
class Returned:
    """A database that went back: where the newer one is, and the API keys (id, name) that were revoked in that alone."""

    newer: Path
    revoked: Sequence[tuple[str, str]]


def copy_before(path: Path, version: str) -> Path:
    """Copy the database at `path` beside it, by the version of the program that it belongs to; return where. Raises ConfigError."""
    copy = _copy_of(path, version)
    with _as_config_error(path):
        back_up(path, copy)
        _give_to_owner(copy, path)
    return copy


def is_too_new(path: Path, schema: int) -> bool:
    """Say whether a program that knows no newer schema than `schema` would refuse the database at `path`. Raises ConfigError."""
    with _as_config_error(path):
        return schema_version(path) > schema


def find_earlier(path: Path, version: str, schema: int) -> Earlier:
    """Find the newest copy of the database that a program of this version and schema can read. Raises ConfigError when there is none.

    An upgrade by hand has one as well: what the newer program kept before it changed the schema.
    """
    with _as_config_error(path):
        copies = [copy for copy in (_copy_of(path, version), path.with_name(f"{path.name}.before-{schema + 1:04d}")) if copy.is_file()]
        copies = [copy for copy in copies if is_sound(copy) and 0 < schema_version(copy) <= schema]
        if not copies:
            raise ConfigError(
                f"database.path: {path} is of a newer program, and {_copy_of(path, version)} is not there, or can't be read; nothing was "
                "changed. 'backup restore' with the earlier program puts a backup back"
            )
        newest = max(copies, key=lambda copy: copy.stat().st_mtime_ns)
        return Earlier(newest, newest.stat().st_mtime_ns // 1_000_000, *files_since(path, newest))


def go_back(config: Config, earlier: Earlier) -> Returned:
    """Put the copy in the database's place, and keep the newer one beside it. Raises ConfigError.

    As after a restore, sessions end, and no event takes a number that a reader may have met since.
    """
    path = config.database_path
    returning = path.with_name(f"{path.name}.returning")
    with _as_config_error(path):
        _remove(returning)
        try:
            back_up(earlier.path, returning)
            connection.open_as_it_is(
                config.model_copy(update={"database": config.database.model_copy(update={"path": Path(returning.name)})})
            )
            try:
                with write():
                    jump_events()
                    end_sessions()
                revoked = keys_revoked_since(path)
            finally:
                connection.close()
            fold_in_log(returning)
            _give_to_owner(returning, path)
            newer = _keep(path)
            put_in_place(returning, path)
        finally:
            _remove(returning)
    return Returned(newer, revoked)


def _keep(path: Path) -> Path:
    """Have the database, now in one file, under a second name that no other state has."""
    fold_in_log(path)
    log = path.with_name(path.name + "-wal")
    if log.exists() and log.stat().st_size:
        raise ConfigError(f"database.path: {path} is in use by another program; stop that first")
    for number in range(1, _MOST_KEPT + 1):
        kept = path.with_name(f"{path.name}.newer" + (f"-{number}" if number > 1 else ""))
        if kept.exists() and kept.samefile(path):
            return kept  # a way back was killed right after this
        if not kept.exists():
            give_second_name(path, kept)
            return kept
    raise ConfigError(f"database.path: {_MOST_KEPT} databases are kept as {path}.newer…; remove those that are not needed")


def _copy_of(path: Path, version: str) -> Path:
    return path.with_name(f"{path.name}.of-{version}")


def _remove(path: Path) -> None:
    for ending in ("", "-wal", "-shm"):
        path.with_name(path.name + ending).unlink(missing_ok=True)


def _give_to_owner(file: Path, like: Path) -> None:
    """Root upgrades what another user serves, and that one has to read it."""
    if os.geteuid() == 0:
        status = like.stat()
        os.chown(file, status.st_uid, status.st_gid)


@contextmanager
def _as_config_error(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise ConfigError(f"database.path: {path}: {error}; the program was not changed") from None
    except OSError as error:
        raise ConfigError(f"database.path: {error.filename or path}: {error.strerror}; the program was not changed") from None
