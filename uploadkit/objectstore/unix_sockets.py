"""Connections to Unix sockets, also to those whose path is longer than a socket's address may be."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

_LONGEST_BYTES = 100
"""A little less than the 104 bytes that the address has on macOS and the 108 on Linux."""


def is_reachable(path: Path) -> bool:
    """Say whether `connected` can name this path: any on Linux, elsewhere only a short one."""
    return sys.platform == "linux" or _is_short(path)


def connected(path: Path, timeout_seconds: float) -> socket.socket:
    """Return a connection to the socket at `path`. Raises OSError."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(timeout_seconds)
    try:
        if _is_short(path):
            connection.connect(str(path))
        else:
            folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                connection.connect(f"/proc/self/fd/{folder}/{path.name}")
            finally:
                os.close(folder)
    except OSError:
        connection.close()
        raise
    return connection


def _is_short(path: Path) -> bool:
    return len(os.fsencode(path)) <= _LONGEST_BYTES
