"""Whether files can be written in a directory right now, tried and not asked: permissions, read-only mounts, full disks, no inodes left."""

from __future__ import annotations

import tempfile
from pathlib import Path

# A small block of a file system: on some, fewer bytes fit into what the file's own entry takes.
_PROBE = bytes(4096)


def problem(directory: Path) -> str | None:
    """Say why nothing can be written in `directory`, in the system's words; None when it can. The probe has no name and leaves nothing."""
    try:
        with tempfile.TemporaryFile(dir=directory, buffering=0) as file:
            file.write(_PROBE)
    except OSError as error:
        return error.strerror or type(error).__name__
    return None
