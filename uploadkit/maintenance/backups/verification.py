"""Reading a backup back: is every byte of it still what was backed up, and can it be restored?"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from uploadkit.maintenance.backups import queries
from uploadkit.maintenance.backups.layout import Backup, BackupUnusable, StoredFile
from uploadkit.maintenance.backups.target import Target

_BATCH, _THREADS = 100, 4


@dataclass
class Verified:
    """What reading a backup found: files and bytes that are good, and what is wrong, each in a sentence."""

    files: int = 0
    bytes: int = 0
    faults: list[str] = field(default_factory=list)


def chosen(target: Target, backup_id: str | None) -> Backup:
    """Return the backup of that id, or the newest. Raises BackupUnusable when there is none."""
    whole, _ = target.ids()
    if backup_id is None and not whole:
        raise BackupUnusable(f"There is no whole backup at {target}", "Make one with 'backup create'")
    if backup_id is not None and backup_id not in whole:
        raise BackupUnusable(f"There is no whole backup {backup_id} at {target}", "'backup list' names those that there are")
    return target.backup(backup_id or whole[-1])


def verify(target: Target, backup: Backup, spool: Path, tell: Callable[[Verified], None] = lambda found: None) -> Verified:
    """Read all of a backup and hold it against what was written down. The database waits in an unnamed folder in `spool`.

    Raises StorageUnavailable when the target goes away.
    """
    found = Verified()
    _verify_database(target, backup, spool, found)
    try:
        files = target.files_of(backup)
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="backup-verify") as pool:
            while batch := list(islice(files, _BATCH)):
                for file, fault in zip(batch, pool.map(lambda file: _fault(target, file), batch), strict=True):
                    if fault is None:
                        found.files += 1
                        found.bytes += file.size_bytes
                    else:
                        found.faults.append(fault)
                    tell(found)
    except BackupUnusable as error:
        found.faults.append(error.message)
    if not found.faults and (found.files, found.bytes) != (backup.files, backup.size_bytes):
        found.faults.append(
            f"{found.files} files with {found.bytes} bytes are listed, and there should be {backup.files} with {backup.size_bytes}"
        )
    return found


def _fault(target: Target, file: StoredFile) -> str | None:
    try:
        for name, piece in zip(file.names(), file.pieces, strict=True):
            target.read(name, piece)
    except BackupUnusable as error:
        return error.message
    return None


def _verify_database(target: Target, backup: Backup, spool: Path, found: Verified) -> None:
    with tempfile.TemporaryDirectory(dir=spool, prefix="backup-verify-") as folder:
        path = Path(folder) / "database"
        try:
            with path.open("wb") as file:
                target.read_database(backup, file.write)
        except BackupUnusable as error:
            found.faults.append(error.message)
            return
        if not queries.is_sound(path):
            found.faults.append(f"the database of backup {backup.id} is damaged: SQLite can't read it")
