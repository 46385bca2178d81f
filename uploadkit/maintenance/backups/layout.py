"""What is where at the target of backups, and how it is written down.

uploadkit-backups.json               whose backups these are, and how they are encrypted
files/ab/{file id}.{sending}.{n}     pieces of a file's bytes; shared by all backups that have the file, and never written again
backups/{backup id}/files.{n}        which files a backup has, up to 1,000 in each: JSON lines, gzip
backups/{backup id}/database.{n}     pieces of the database
backups/{backup id}/backup.json      written last: what has none is not a whole backup
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import secrets
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from uploadkit.core.errors import UploadKitError
from uploadkit.core.sizes import MIB

FORMAT = 1
MARK = "uploadkit-backups.json"
PIECE_BYTES = 8 * MIB
"""The most that one piece holds, before it is encrypted."""
FILES_IN_A_SEGMENT = 1000
_MOST_SEGMENT_BYTES = 256 * MIB
_ID = re.compile(r"\d{8}T\d{6}Z")
_FILE_ID = re.compile(r"[0-9a-f-]{36}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SENDING = re.compile(r"[0-9a-f]{8}")


class BackupUnusable(UploadKitError):
    """A backup, or a target of backups, can't be used: it is damaged, of a newer program, or the passphrase is not the right one."""

    code: ClassVar[str] = "BACKUP_UNUSABLE"
    default_suggestion = "Take another backup ('backup list'), or another target"


@dataclass(frozen=True)
class Piece:
    """A piece of something: its size in bytes and the SHA-256 of its bytes, both before encryption."""

    size_bytes: int
    sha256: str

    @staticmethod
    def of(content: bytes) -> Piece:
        """Return what is written down of `content`."""
        return Piece(len(content), hashlib.sha256(content).hexdigest())

    def holds(self, content: bytes) -> bool:
        """Say whether `content` is what was written down."""
        return self == Piece.of(content)


@dataclass(frozen=True)
class StoredFile:
    """A file whose bytes are at the target. `sending` tells its pieces from those of another time that it was sent."""

    id: str
    sending: str
    pieces: tuple[Piece, ...]

    @property
    def size_bytes(self) -> int:
        """The bytes of all pieces."""
        return sum(piece.size_bytes for piece in self.pieces)

    def names(self) -> list[str]:
        """Return the names of the pieces, in order."""
        return [piece_name(self.id, self.sending, number) for number in range(len(self.pieces))]

    def line(self) -> str:
        """Return the file as a line of a segment."""
        return json.dumps({"id": self.id, "sending": self.sending, "pieces": [[piece.size_bytes, piece.sha256] for piece in self.pieces]})


@dataclass(frozen=True)
class Missing:
    """A file whose bytes a backup lacks, because the store did not have them as they were verified."""

    id: str
    key: str
    reason: str


@dataclass(frozen=True)
class Backup:
    """A whole backup. `created_at` is the moment whose state it holds (milliseconds since the epoch), `schema` that of its database."""

    id: str
    created_at: int
    program: str
    schema: int
    store: str
    files: int
    size_bytes: int
    database: tuple[Piece, ...]
    segments: tuple[Piece, ...]
    missing: tuple[Missing, ...] = ()

    def to_json(self) -> bytes:
        """Return the backup as it is written down."""
        return json.dumps({"format": FORMAT} | asdict(self), indent=1).encode()


def backup_name(backup_id: str, what: str) -> str:
    """Return the name of something that belongs to one backup."""
    return f"backups/{backup_id}/{what}"


def piece_name(file_id: str, sending: str, number: int) -> str:
    """Return the name of piece `number` (from 0) of a file. The last two characters of an id are random, its first ones are not."""
    return f"files/{file_id[-2:]}/{file_id}.{sending}.{number}"


def new_sending() -> str:
    """Return what tells the pieces of a file that is sent now from earlier ones: what a disk has spoilt since must not replace those."""
    return secrets.token_hex(4)


def is_backup_id(text: str) -> bool:
    """Say whether `text` can be the id of a backup: its time in UTC, such as `20261128T030000Z`."""
    return _ID.fullmatch(text) is not None


def backup_of(content: bytes, backup_id: str) -> Backup:
    """Read what `to_json` wrote. Raises BackupUnusable."""
    try:
        found = json.loads(content)
        if found["format"] != FORMAT:
            raise BackupUnusable(
                f"Backup {backup_id} was made by another program (format {found['format']}, this one knows {FORMAT})",
                "Use the version of the program that made it, or a newer one",
            )
        backup = Backup(
            id=str(found["id"]),
            created_at=int(found["created_at"]),
            program=str(found["program"]),
            schema=int(found["schema"]),
            store=str(found["store"]),
            files=int(found["files"]),
            size_bytes=int(found["size_bytes"]),
            database=_pieces([(piece["size_bytes"], piece["sha256"]) for piece in found["database"]]),
            segments=_pieces([(piece["size_bytes"], piece["sha256"]) for piece in found["segments"]], most=_MOST_SEGMENT_BYTES),
            missing=tuple(Missing(str(one["id"]), str(one["key"]), str(one["reason"])) for one in found["missing"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise BackupUnusable(f"Backup {backup_id} is damaged: backup.json can't be read ({error})") from None
    if backup.id != backup_id:
        raise BackupUnusable(f"Backup {backup_id} is damaged: its backup.json is that of {backup.id}")
    return backup


def segment_of(files: Iterable[StoredFile]) -> bytes:
    """Return a segment that says which pieces these files have."""
    return gzip.compress("".join(f"{file.line()}\n" for file in files).encode(), mtime=0)


def files_in(segment: bytes) -> list[StoredFile]:
    """Read a segment. Raises BackupUnusable."""
    try:
        unpacking = zlib.decompressobj(wbits=31)
        text = unpacking.decompress(segment, _MOST_SEGMENT_BYTES)
        if not unpacking.eof:
            raise BackupUnusable("A list of files is damaged: it ends in the middle, or is too long")
        return [_file(json.loads(line)) for line in text.splitlines()]
    except (zlib.error, ValueError, KeyError, TypeError) as error:
        raise BackupUnusable(f"A list of files is damaged: {error}") from None


def file_of(line: str) -> StoredFile:
    """Read what `StoredFile.line` wrote."""
    return _file(json.loads(line))


def _file(found: dict[str, Any]) -> StoredFile:
    if not (_FILE_ID.fullmatch(found["id"]) and _SENDING.fullmatch(found["sending"])):
        raise ValueError("no id of a file")
    return StoredFile(found["id"], found["sending"], _pieces(found["pieces"]))


def _pieces(found: Sequence[Sequence[Any]], most: int = PIECE_BYTES) -> tuple[Piece, ...]:
    pieces = tuple(Piece(int(size), str(sha256)) for size, sha256 in found)
    if not all(0 <= piece.size_bytes <= most and _SHA256.fullmatch(piece.sha256) for piece in pieces):
        raise ValueError("no size or no SHA-256")
    return pieces
