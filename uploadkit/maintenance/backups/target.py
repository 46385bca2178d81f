"""The backups at one place: whose they are, what each has, and how its pieces are read and written."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

from uploadkit.config import Config
from uploadkit.core.errors import ConfigError
from uploadkit.core.sizes import MIB
from uploadkit.maintenance.backups import places
from uploadkit.maintenance.backups.encryption import OVERHEAD_BYTES, Seal, known_seal, new_seal
from uploadkit.maintenance.backups.layout import (
    FORMAT,
    MARK,
    PIECE_BYTES,
    Backup,
    BackupUnusable,
    Piece,
    StoredFile,
    backup_name,
    backup_of,
    files_in,
    is_backup_id,
)

log = logging.getLogger(__name__)

_MOST_MARK_BYTES = 64 * 1024
_MOST_DOCUMENT_BYTES = 256 * MIB
"""What `backup.json` and a segment may have: some hundred thousand pieces, or missing files."""


class Target:
    """The backups at `place`, written and read through `seal`."""

    def __init__(self, place: places.Place, seal: Seal, installation: str) -> None:
        self.place, self._seal, self.installation = place, seal, installation

    def __str__(self) -> str:
        return str(self.place)

    def read(self, name: str, piece: Piece | None = None) -> bytes:
        """Return what is under `name`, which has to be `piece`. Raises BackupUnusable when it is missing, or something else."""
        most = (_MOST_DOCUMENT_BYTES if piece is None else piece.size_bytes) + OVERHEAD_BYTES + 1
        written = self.place.read(name, most)
        if written is None:
            raise BackupUnusable(f"{name} is missing at {self.place}")
        content = self._seal.open(name, written)
        if piece is not None and not piece.holds(content):
            raise BackupUnusable(f"{name} at {self.place} is damaged: its bytes are not those that were backed up")
        return content

    def write(self, name: str, content: bytes) -> Piece:
        """Write `content` under `name`; return what to note of it."""
        self.place.write(name, self._seal.close(name, content))
        return Piece.of(content)

    def ids(self) -> tuple[list[str], list[str]]:
        """Return the ids of the whole backups, and of those that were never finished, each oldest first."""
        found: dict[str, bool] = {}
        for name in self.place.names("backups/"):
            backup_id, _, what = name.removeprefix("backups/").partition("/")
            if is_backup_id(backup_id):
                found[backup_id] = found.get(backup_id, False) or what == "backup.json"
        return sorted(one for one, whole in found.items() if whole), sorted(one for one, whole in found.items() if not whole)

    def backup(self, backup_id: str) -> Backup:
        """Return a whole backup. Raises BackupUnusable."""
        return backup_of(self.read(backup_name(backup_id, "backup.json")), backup_id)

    def files_of(self, backup: Backup) -> Iterator[StoredFile]:
        """Yield the files that a backup has. Raises BackupUnusable when a list is missing or damaged."""
        for number, segment in enumerate(backup.segments):
            yield from files_in(self.read(backup_name(backup.id, f"files.{number}"), segment))

    def files_of_unfinished(self, backup_id: str) -> Iterator[StoredFile]:
        """Yield the files that a backup had written when it was interrupted. What can't be read is left out: it is sent again."""
        for name in self.place.names(backup_name(backup_id, "")):
            if "/files." in name:
                try:
                    yield from files_in(self.read(name))
                except BackupUnusable as error:
                    log.warning("%s", error.message)

    def write_database(self, backup_id: str, path: Path) -> tuple[Piece, ...]:
        """Write the database file at `path`; return its pieces."""
        pieces: list[Piece] = []
        with path.open("rb") as file:
            while content := file.read(PIECE_BYTES):
                pieces.append(self.write(backup_name(backup_id, f"database.{len(pieces)}"), content))
        return tuple(pieces)

    def read_database(self, backup: Backup, take: Callable[[bytes], object]) -> None:
        """Hand the database of a backup to `take`, piece by piece. Raises BackupUnusable."""
        for number, piece in enumerate(backup.database):
            take(self.read(backup_name(backup.id, f"database.{number}"), piece))


def existing(config: Config, place: places.Place) -> Target:
    """Return the backups at `place`. Raises BackupUnusable where there are none, ConfigError for a passphrase that can't be read."""
    mark = _mark(place)
    if mark is None:
        raise BackupUnusable(f"There are no backups at {place}", "Check name and endpoint, or that the disk is mounted")
    return Target(place, known_seal(_passphrase(config), mark.get("sealed")), str(mark.get("installation")))


def own(config: Config, place: places.Place, installation: str, *, is_known: bool, begin: bool = False) -> Target:
    """Return this installation's backups at `place`, begun if there are none.

    With `is_known`, earlier backups were made there: an empty place is then most likely a disk that is not mounted. Raises BackupUnusable
    for that and for backups of another installation, unless `begin` is set, and for another passphrase.
    """
    mark = _mark(place)
    if mark is None:
        if is_known and not begin:
            raise BackupUnusable(
                f"The last backup went to {place}, and there are none now",
                "Check the endpoint, or that the disk is mounted; to begin again: 'backup create --begin'",
            )
        seal, sealed = new_seal(_passphrase(config))
        _write_mark(place, installation, sealed)
        return Target(place, seal, installation)
    seal = known_seal(_passphrase(config), mark.get("sealed"))
    if mark.get("installation") != installation:
        if not begin:
            raise BackupUnusable(
                f"The backups at {place} are those of another installation",
                "Take another folder or prefix; if this one was restored from there and replaces it: 'backup create --begin'",
            )
        _write_mark(place, installation, mark.get("sealed"))
    return Target(place, seal, installation)


def _write_mark(place: places.Place, installation: str, sealed: object) -> None:
    place.write(MARK, json.dumps({"format": FORMAT, "installation": installation, "sealed": sealed}).encode())
    place.settle()


def _mark(place: places.Place) -> dict[str, object] | None:
    content = place.read(MARK, _MOST_MARK_BYTES)
    if content is None:
        return None
    try:
        mark: dict[str, object] = json.loads(content)
        if mark["format"] != FORMAT:
            raise BackupUnusable(f"The backups at {place} were made by another program", "Use the version that made them, or a newer one")
    except (ValueError, KeyError, TypeError):
        raise BackupUnusable(f"{MARK} at {place} can't be read") from None
    return mark


def _passphrase(config: Config) -> bytes | None:
    path = config.backup.passphrase_file
    if path is None:
        return None
    try:
        passphrase = path.read_bytes().strip()
    except OSError as error:
        raise ConfigError(f"backup.passphrase_file: {path} can't be read: {error.strerror}") from None
    if len(passphrase) < 12:
        raise ConfigError(f"backup.passphrase_file: {path} must hold at least 12 characters")
    return passphrase
