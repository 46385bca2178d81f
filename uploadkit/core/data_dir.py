"""What lies in the data directory beside the database and the store."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from uploadkit.core import file_locks, path_ownership
from uploadkit.core.durable_files import sync
from uploadkit.core.errors import ConfigError


def note_file(data_dir: Path) -> Path:
    """Return where the set-up link and the first key are left when there is no terminal to show them on."""
    return data_dir / "first-run.txt"


def remove_note(data_dir: Path) -> None:
    """Take the note away: whoever set up the dashboard has read it."""
    note_file(data_dir).unlink(missing_ok=True)


_OURS = ("lock", "uploadkit.db", "store-credentials.json")
"""What tells a folder that was made for an appliance; the second and third also where it was put together from a backup."""


class DataDirInUse(ConfigError):
    """Another process, most likely an appliance that serves, holds the data directory."""


@contextmanager
def lock_data_dir(data_dir: Path) -> Iterator[None]:
    """Hold the data directory (made with mode 0700) for this process. Raises ConfigError when another process holds it.

    The kernel lets go of the lock when the process ends, however it ends.
    """
    prepare_data_dir(data_dir)
    with _opened_lock(data_dir) as file:
        _take(file, data_dir)
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def _opened_lock(data_dir: Path) -> IO[str]:
    try:
        return (data_dir / "lock").open("a+")
    except OSError as error:
        raise ConfigError(f"data.dir: {data_dir / 'lock'} can't be opened: {error.strerror}") from None


def _take(file: IO[str], data_dir: Path) -> None:
    if not file_locks.take(file):
        file.seek(0)
        holder = file.read().strip() or "unknown"
        raise DataDirInUse(
            f"data.dir: {data_dir} is in use by process {holder}; stop that one first, or set UPLOADKIT_DATA__DIR to another directory"
        )


def prepare_data_dir(data_dir: Path) -> None:
    """Make the data directory, readable by its owner only; one that holds other people's things keeps its mode.

    Raises ConfigError when it can't be used.
    """
    try:
        if not data_dir.exists():
            data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            sync(data_dir.parent)
        if path_ownership.is_foreign(data_dir) and os.geteuid():
            raise ConfigError(
                f"data.dir: {data_dir} belongs to somebody else, who could replace what is in it; name a folder of this user's own"
            )
        if any((data_dir / name).exists() for name in _OURS) or all(path.name.startswith(".") for path in data_dir.iterdir()):
            data_dir.chmod(0o700)
    except OSError as error:
        raise ConfigError(f"data.dir: {data_dir} can't be used: {error.strerror}") from None
    if not os.access(data_dir, os.W_OK | os.X_OK):
        raise ConfigError(f"data.dir: {data_dir} is not writable by this user")
