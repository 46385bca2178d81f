"""Putting a backup back: into an empty data directory, and into whichever store the configuration names.

Objects first, each held against its SHA-256 on the way, then the rows; the database gets its name last. So an interrupted restore is none,
and the same command goes on: what the store has already is not sent again. A restored appliance is not the one of before: uploads that were
under way end, everybody signs in anew, and no event takes a number that a reader may have met since.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

from uploadkit.auth import actors, audit
from uploadkit.config import Config
from uploadkit.context import Context
from uploadkit.core.durable_files import put_in_place
from uploadkit.core.errors import ConfigError, StorageUnavailable, UploadKitError
from uploadkit.core.media_types import strict
from uploadkit.db import connection
from uploadkit.db.connection import write
from uploadkit.db.models import File
from uploadkit.db.scratch import Scratch
from uploadkit.files import deletion_hold, lifecycle
from uploadkit.files.naming import disposition
from uploadkit.maintenance import object_check, store_migration
from uploadkit.maintenance.backups import queries
from uploadkit.maintenance.backups.creation import become_another_installation
from uploadkit.maintenance.backups.layout import Backup, BackupUnusable, StoredFile, file_of
from uploadkit.maintenance.backups.target import Target
from uploadkit.maintenance.queries import verified
from uploadkit.objectstore.boto import AccessDenied
from uploadkit.objectstore.objects import StoredObject
from uploadkit.objectstore.store import ObjectStore
from uploadkit.objectstore.transfer import copy_object

log = logging.getLogger(__name__)

_BATCH, _THREADS = 100, 4


@dataclass
class Restored:
    """What a restore did: `lost` are keys of files that the backup lacks, `revoked` API keys that were revoked later."""

    total_files: int
    total_bytes: int
    files: int = 0
    bytes: int = 0
    ended_uploads: int = 0
    lost: list[str] = field(default_factory=list)
    revoked: Sequence[tuple[str, str]] = ()


def require_empty(config: Config) -> None:
    """Refuse a data directory that has a database. Raises ConfigError."""
    if config.database_path.exists():
        raise ConfigError(
            f"data.dir: {config.database_path} is there: a restore wants a data directory without one. Move it away, or set "
            "UPLOADKIT_DATA__DIR to another directory"
        )


def restore(
    config: Config,
    store: ObjectStore,
    target: Target,
    backup: Backup,
    *,
    newer_database: Path | None = None,
    tell: Callable[[Restored], None] = lambda progress: None,
) -> Restored:
    """Put `backup` back, for an appliance that is stopped; the caller holds the data directory. Files that the backup lacks become DELETED.

    `newer_database` is the database of a later time, if it is still there: keys that are revoked in it are named.
    Raises BackupUnusable when something of the backup is damaged, StorageUnavailable when store or target go away; then nothing is
    restored, and the same call goes on where it was.
    """
    require_empty(config)
    restoring = config.model_copy(
        update={"database": config.database.model_copy(update={"path": Path(f"{config.database_path.name}.restoring")})}
    )
    _fetch_database(target, backup, restoring.database_path)
    connection.open_database(restoring, upgrade=True)
    try:
        done = Restored(backup.files, backup.size_bytes)
        with closing(Scratch()) as contents:
            contents.put_all((file.id, file.line()) for file in target.files_of(backup))
            lost = _send_files(config, store, target, contents, done, tell)
        with write():
            queries.jump_events()  # before anything is recorded
            queries.end_sessions()
            deletion_hold.let_go()
            become_another_installation()
        ctx = Context(restoring, store)
        done.lost = _give_up(ctx, lost)
        done.ended_uploads = _end_uploads(ctx)
        store_migration.arrive(restoring)
        if newer_database is not None:
            done.revoked = queries.keys_revoked_since(newer_database)
    finally:
        connection.close()
    _finish(restoring.database_path, config.database_path)
    return done


def _fetch_database(target: Target, backup: Backup, path: Path) -> None:
    for ending in ("", "-wal", "-shm"):
        path.with_name(path.name + ending).unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        target.read_database(backup, file.write)
    if not queries.is_sound(path):
        raise BackupUnusable(f"Backup {backup.id} is damaged: SQLite can't read its database")


def _finish(written: Path, path: Path) -> None:
    queries.fold_in_log(written)
    put_in_place(written, path)


@dataclass(frozen=True)
class _Source:
    """One file of a backup, as `copy_object` reads it."""

    target: Target
    file: StoredFile
    etag: str

    def head(self, key: str, first_bytes: int = 4096) -> StoredObject | None:
        """Return what the file's object was when it was verified."""
        return StoredObject(self.file.size_bytes, "", self.etag, b"")

    def read(self, key: str, etag: str, start: int, length: int, chunk_bytes: int) -> Iterator[bytes]:
        """Yield bytes of the file. Raises BackupUnusable when a piece is not what was backed up."""
        at = 0
        for name, piece in zip(self.file.names(), self.file.pieces, strict=True):
            first, last = max(start, at), min(start + length, at + piece.size_bytes)
            if first < last:
                yield self.target.read(name, piece)[first - at : last - at]
            at += piece.size_bytes


def _send_files(
    config: Config, store: ObjectStore, target: Target, contents: Scratch, done: Restored, tell: Callable[[Restored], None]
) -> list[str]:
    """Send every object; return the ids of the files that the backup lacks."""
    lost: list[str] = []
    rules = object_check.etag_rules(store)
    pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="restore")
    try:
        seen = -1
        while batch := verified.batch(seen, _BATCH):
            seen = batch[-1].number
            known = [(file, contents.find(file.id)) for file in batch]
            work = pool.map(
                lambda one: (
                    None if one[1] is None else _send(config, store, _Source(target, file_of(one[1]), one[0].etag or ""), one[0], rules)
                ),
                known,
            )
            for file, etag in zip(batch, work, strict=True):
                if etag is None:
                    lost.append(file.id)
                    continue
                if etag != file.etag:
                    with write():
                        verified.set_etag(file.id, etag)
                done.files += 1
                done.bytes += file.size_bytes
                tell(done)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    store.sync()
    return lost


def _send(config: Config, store: ObjectStore, source: _Source, file: File, rules: object_check.EtagRules) -> str:
    """Send one object, unless it is there; return its ETag. Raises BackupUnusable, StorageUnavailable and its kinds."""
    assert file.etag is not None
    if source.file.size_bytes != file.size_bytes:
        raise BackupUnusable(
            f"The backup is damaged: it has {source.file.size_bytes} bytes of {file.key}, and the row says {file.size_bytes}"
        )
    present = None
    with suppress(AccessDenied):  # AWS says so of a missing object, too
        present = store.head(file.key, 1)
    is_there = present is not None and (present.size_bytes, present.etag) == (file.size_bytes, file.etag)
    if is_there and object_check.is_digest(file, present, rules):
        return file.etag
    content_type = strict(file.content_type)
    try:
        return copy_object(
            source, store, file.key, file.size_bytes, file.etag, file.part_size_bytes, content_type,
            disposition(file.file_name, content_type), spool=config.data_dir,
            is_digest=lambda found: False,  # the SHA-256 of each piece has been checked, and another store's ETag need not be one
        )  # fmt: skip
    except OSError as error:
        raise StorageUnavailable(
            f"{config.data_dir} can't be written: {error.strerror}", f"Make room for {_THREADS} pieces of a file"
        ) from None


def _give_up(ctx: Context, lost: Sequence[str]) -> list[str]:
    """Have the files that the backup lacks be DELETED, as `reconcile --fix` does; return their keys."""
    keys = []
    for file_id in lost:
        with write():
            file = verified.find(file_id)
            assert file is not None
            lifecycle.mark_deleted(ctx, file, "Its object was damaged or missing when the backup was made that was restored")
            audit.record(actors.CommandLine(), "deleted", "file", file.id, file.project_id, {"key": file.key, "status": "UPLOADED"})
        keys.append(file.key)
    return keys


def _end_uploads(ctx: Context) -> int:
    ended = 0
    for file_id in queries.uploads_under_way():
        with suppress(UploadKitError):  # the sweeper ends it at its deadline
            ended += lifecycle.abort(ctx, file_id)
    return ended
