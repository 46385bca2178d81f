"""`backup list`: backups, as the command line tells programs of them."""

from __future__ import annotations

from typing import Self

from uploadkit.core.values import Timestamp
from uploadkit.maintenance.backups.layout import Backup
from uploadkit.schemas.base import Answer


class MissingFile(Answer):
    """A file whose bytes a backup lacks, and why."""

    id: str
    key: str
    reason: str


class BackupObject(Answer):
    """A whole backup, with the moment whose state it holds."""

    id: str
    created_at: Timestamp
    files: int
    bytes: int
    missing: list[MissingFile]
    program: str
    store: str

    @classmethod
    def of(cls, backup: Backup) -> Self:
        """Return a backup."""
        return cls(
            id=backup.id,
            created_at=backup.created_at,
            files=backup.files,
            bytes=backup.size_bytes,
            missing=[MissingFile.model_validate(one) for one in backup.missing],
            program=backup.program,
            store=backup.store,
        )
