"""Files that are on the disk before anything is built on them, whole or not at all, also after a power cut."""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
from pathlib import Path


def sync(path: Path) -> None:
    """Have what the file, or the entries of the folder, at `path` is now on the disk; return when it is. Raises OSError.

    macOS keeps what `fsync` wrote in the disk's own cache, which another call empties. Source: fsync(2) of macOS, F_FULLFSYNC.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe must not keep us waiting
    try:
        if sys.platform == "darwin":
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
        else:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def put_in_place(written: Path, path: Path) -> None:
    """Give the file `written` the name `path` in the same folder, in place of what had it. Its content is on the disk first."""
    sync(written)
    written.replace(path)
    sync(path.parent)


def give_second_name(path: Path, name: Path) -> None:
    """Have the file at `path` under `name` in the same folder as well, in place of what had that; a copy where there are no hard links."""
    temporary = name.with_name(f".{name.name}.new")
    temporary.unlink(missing_ok=True)
    try:
        try:
            os.link(path, temporary)
        except OSError:
            shutil.copy2(path, temporary)
            sync(temporary)
        temporary.replace(name)
    finally:
        temporary.unlink(missing_ok=True)  # also where both were names of one file already: that rename does nothing. Source: rename(2)
    sync(path.parent)


def write_private(path: Path, text: str) -> None:
    """Replace `path` by `text`, mode 0600, all or nothing."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    put_in_place(temporary, path)
