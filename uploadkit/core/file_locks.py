"""Locks that only one process at a time holds, by a file. The kernel lets go of one when its process ends, however it ends."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from uploadkit.core.errors import Conflict


@contextmanager
def held(path: Path, in_use: str) -> Iterator[None]:
    """Hold the lock of the file at `path`, which is made if need be, for a block.

    Raises Conflict with the sentence `in_use` when another process, or another thread of this one, holds it.
    """
    with path.open("a") as file:
        if not take(file):
            raise Conflict(in_use, "Wait for its end, or stop it")
        yield


def take(file: IO[str] | IO[bytes]) -> bool:
    """Take the lock of an open file without waiting, until it is closed; return whether it was free. Raises OSError."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
