"""Making a backup while the appliance works.

Physical deletions are held, the database is copied in one consistent state, then every object that the copy names goes to the target,
unless that has it. What was sent is written down every thousand files: an interrupted backup costs nothing, the next one goes on. At the
end `backup.json` makes it whole, and the oldest ones go.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from uploadkit import __version__
from uploadkit.config import Config
from uploadkit.core import clock, file_locks
from uploadkit.core.errors import StorageUnavailable, UploadKitError
from uploadkit.core.ids import new_id
from uploadkit.db import key_value
from uploadkit.db.connection import write
from uploadkit.db.migrating import back_up, schema_version
from uploadkit.db.models import File
from uploadkit.db.scratch import Scratch
from uploadkit.files import deletion_hold
from uploadkit.maintenance import object_check
from uploadkit.maintenance.backups import places, queries
from uploadkit.maintenance.backups.layout import (
    FILES_IN_A_SEGMENT,
    Backup,
    BackupUnusable,
    Missing,
    Piece,
    StoredFile,
    backup_name,
    file_of,
    new_sending,
    piece_name,
    segment_of,
)
from uploadkit.maintenance.backups.target import Target, own
from uploadkit.maintenance.queries import verified
from uploadkit.objectstore.factory import store_name
from uploadkit.objectstore.store import ObjectStore

log = logging.getLogger(__name__)

_INSTALLATION, _LAST_PLACE = "installation", "backup_place"
_BATCH, _THREADS = 100, 4


@dataclass
class Progress:
    """How far a backup is: of how many files and bytes, how many are at the target, and how many bytes were sent for that."""

    total_files: int
    total_bytes: int
    files: int = 0
    bytes: int = 0
    sent_bytes: int = 0


def create(
    config: Config,
    store: ObjectStore,
    place: places.Place,
    *,
    keep: int | None,
    bytes_per_second: float | None = None,
    begin: bool = False,
    again: bool = False,
    stopping: threading.Event,
    tell: Callable[[Progress], None] = lambda progress: None,
) -> Backup:
    """Make a backup at `place`, then remove whole ones beyond the newest `keep` (None: none); return what was made.

    `tell` hears of each file. `begin` starts where the last backup's place is empty now, or takes over backups of another installation.
    `again` sends every file, also those that the place has. Raises Conflict while another backup runs,
    BackupUnusable, object_check.Stopped when `stopping` is set, StorageUnavailable when store or target go away: what was sent stays.
    """
    alone_here = file_locks.held(config.data_dir / "backup.lock", "Another backup of this installation is being made")
    with place.alone(), alone_here, deletion_hold.held() as lasts:
        target = own(config, place, _installation(), is_known=key_value.get(_LAST_PLACE) == str(place), begin=begin)
        copy = config.data_dir / "backup-snapshot.db"
        try:
            created_at = clock.now_ms()
            _copy_database(config.database_path, copy)
            making = _Making(store, target, _new_id(target, created_at), object_check.Pace(bytes_per_second, stopping), tell, copy)
            segments = making.send_files(lasts, Scratch() if again else _known_to(target))
            backup = Backup(
                making.id, created_at, __version__, schema_version(copy), store_name(config), making.progress.files, making.progress.bytes,
                target.write_database(making.id, copy), segments, tuple(making.missing),
            )  # fmt: skip
            place.settle()
            target.write(backup_name(backup.id, "backup.json"), backup.to_json())
            place.settle()
        finally:
            copy.unlink(missing_ok=True)
        with write():
            key_value.put(_LAST_PLACE, str(place))
        if keep is not None:
            try:
                remove_old(target, keep)
            except UploadKitError as error:  # the new one is whole all the same
                log.warning("older backups at %s were not removed: %s", place, error.message)
    return backup


def _copy_database(path: Path, copy: Path) -> None:
    try:
        back_up(path, copy)
    except (OSError, sqlite3.Error) as error:
        raise StorageUnavailable(f"The database can't be copied: {error}", f"Make room for a second one in {copy.parent}") from None


class _Making:
    def __init__(
        self, store: ObjectStore, target: Target, backup_id: str, pace: object_check.Pace, tell: Callable[[Progress], None], copy: Path
    ) -> None:
        self.id = backup_id
        self.missing: list[Missing] = []
        self.progress = Progress(*queries.size_of_all(copy))
        self._store, self._target, self._pace, self._tell, self._copy = store, target, pace, tell, copy
        self._counting, self._ended = threading.Lock(), threading.Event()

    def send_files(self, lasts: Callable[[], bool], known_files: Scratch) -> tuple[Piece, ...]:
        """Have every object at the target, which has `known_files`; return the segments. Raises StorageUnavailable, Stopped."""
        segments: list[Piece] = []
        waiting: list[StoredFile] = []
        rules = object_check.etag_rules(self._store)
        pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="backup")
        with closing(known_files) as known:
            try:
                for batch in queries.verified_files(self._copy, _BATCH):
                    if not lasts():
                        raise StorageUnavailable(
                            "The hold on deletions has run out: the database could not be written for minutes", "Run it again"
                        )
                    work = pool.map(lambda file: _found(known, file) or self._send(file, rules), batch)
                    for file, outcome in zip(batch, work, strict=True):
                        self._note(file, outcome, waiting)
                    if len(waiting) >= FILES_IN_A_SEGMENT:
                        segments.append(self._write_segment(len(segments), waiting))
                        waiting = []
            except BaseException:
                self._ended.set()  # so that no thread goes on for what nobody waits for
                pool.shutdown(wait=True, cancel_futures=True)
                with suppress(UploadKitError):  # what was sent is not sent again
                    self._write_segment(len(segments), waiting)
                raise
            pool.shutdown()
            if waiting:
                segments.append(self._write_segment(len(segments), waiting))
        return tuple(segments)

    def _write_segment(self, number: int, files: Sequence[StoredFile]) -> Piece:
        self._target.place.settle()  # what it names is there before it is
        return self._target.write(backup_name(self.id, f"files.{number}"), segment_of(files))

    def _send(self, file: File, rules: object_check.EtagRules) -> StoredFile | Missing:
        """Send one object, held against its row on the way. Damaged, it is noted as missing: the others are backed up all the same."""
        pieces: list[Piece] = []
        sending = new_sending()

        def take(content: bytes) -> None:
            if self._ended.is_set():
                raise object_check.Stopped
            pieces.append(self._target.write(piece_name(file.id, sending, len(pieces)), content))

        checked = object_check.check(self._store, file, rules, self._pace, take=take)
        if checked.damage is not None:
            return Missing(file.id, file.key, checked.damage.detail)
        with self._counting:
            self.progress.sent_bytes += checked.read_bytes
        return StoredFile(file.id, sending, tuple(pieces))

    def _note(self, file: File, outcome: StoredFile | Missing, waiting: list[StoredFile]) -> None:
        if isinstance(outcome, Missing):
            if verified.is_there(file.id):
                log.warning("backup %s lacks %s: %s", self.id, outcome.key, outcome.reason)
            self.missing.append(outcome)
        else:
            waiting.append(outcome)
            self.progress.files += 1
            self.progress.bytes += outcome.size_bytes
        self._tell(self.progress)


def _known_to(target: Target) -> Scratch:
    """Return the files that the target has, by id: those of the newest backup whose lists can be read, and of unfinished ones."""
    known = Scratch()
    whole, unfinished = target.ids()
    for backup_id in reversed(whole):
        try:
            known.put_all((file.id, file.line()) for file in target.files_of(target.backup(backup_id)))
            break
        except BackupUnusable as error:
            log.warning("what backup %s has can't be read, so files may be sent again: %s", backup_id, error.message)
    for backup_id in unfinished:
        known.put_all((file.id, file.line()) for file in target.files_of_unfinished(backup_id))
    return known


def _found(known: Scratch, file: File) -> StoredFile | None:
    """Return what the target has of `file`; None when that is nothing, or something else."""
    line = known.find(file.id)
    found = None if line is None else file_of(line)
    return found if found is not None and found.size_bytes == file.size_bytes else None


def remove_old(target: Target, keep: int) -> int:
    """Remove backups beyond the newest `keep`, unfinished ones before the newest, and pieces that none names; return how many."""
    whole, unfinished = target.ids()
    old = whole[: -max(keep, 1)] + [one for one in unfinished if whole and one < whole[-1]]
    if not old:
        return 0
    for backup_id in old:
        target.place.delete(backup_name(backup_id, "backup.json"))
    target.place.settle()
    for backup_id in old:
        for name in list(target.place.names(backup_name(backup_id, ""))):
            target.place.delete(name)
    _remove_unnamed(target)
    return len(old)


def _remove_unnamed(target: Target) -> None:
    whole, unfinished = target.ids()
    with closing(Scratch()) as named:
        for backup_id in whole:
            named.put_all((name, "") for file in target.files_of(target.backup(backup_id)) for name in file.names())
        for backup_id in unfinished:
            named.put_all((name, "") for file in target.files_of_unfinished(backup_id) for name in file.names())
        for name in target.place.names("files/"):
            if named.find(name) is None:
                target.place.delete(name)


def _new_id(target: Target, at_ms: int) -> str:
    """Return an id that no backup has. They sort by time, also when the clock was put back."""
    whole, unfinished = target.ids()
    newest = max([*whole, *unfinished], default="")
    wanted = at_ms
    while (found := datetime.fromtimestamp(wanted / 1000, UTC).strftime("%Y%m%dT%H%M%SZ")) <= newest:
        newest_ms = int(datetime.strptime(newest, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp() * 1000)
        wanted = max(wanted, newest_ms) + 1000
    return found


def become_another_installation() -> None:
    """Have a restored appliance be one of its own, in the caller's write transaction: two that share a target would remove each other's."""
    key_value.put(_INSTALLATION, new_id())
    key_value.put(_LAST_PLACE, "")


def _installation() -> str:
    with write():
        key_value.put_first(_INSTALLATION, new_id())
    found = key_value.get(_INSTALLATION)
    assert found
    return found
