"""Another user of this machine: `nobody`, with what a program of his can do to the bundled store."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

NOBODY = 65534
# Only root may start a process as somebody else.
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to run programs as the user nobody")
EVIL_KEY, EVIL_SECRET = "EVILEVILEVIL", "evil-secret-evil-secret"
EVIL_IDENTITY = {"identities": [{"name": "evil", "credentials": [{"accessKey": EVIL_KEY, "secretKey": EVIL_SECRET}], "actions": ["Admin"]}]}


def weed_shell(weed: str, base: int, commands: str, *, user: int | None = None, directory: Path | None = None, seconds: float = 10) -> str:
    """What `weed shell` prints for `commands`, as `user`, in `directory`; whatever it has said within `seconds`."""
    argv = [weed, "shell", f"-master=127.0.0.1:{base + 4}.{base + 5}", f"-filer=127.0.0.1:{base + 2}.{base + 3}"]
    place = str(directory or "/")
    with subprocess.Popen(
        argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=place,
        env={"HOME": place, "PATH": os.defpath},
        user=user,
        group=user,
        extra_groups=[] if user is not None else None,
    ) as shell:
        try:
            text, _ = shell.communicate(commands.encode(), timeout=seconds)
        except subprocess.TimeoutExpired:
            shell.kill()
            text, _ = shell.communicate()
    return text.decode(errors="replace")


def plant(weed: str, base: int, entry: bytes, folder: Path, **shell: Any) -> str:
    """Have `weed shell` make an entry in the filer; return what it then lists below /etc."""
    path = folder / "planted.meta"
    path.write_bytes(entry)
    # It does not wait for what it loads: the lists that follow keep it long enough.
    text = weed_shell(weed, base, f"fs.meta.load {path}\n" + "fs.tree /etc\n" * 5, **{"seconds": 30, **shell})
    return text.rpartition("etc\n")[2]


def planted_entry(directory: str, name: str, content: bytes) -> bytes:
    """A file of the filer as `weed shell`'s fs.meta.load takes it: one CreateEntry with the content in the entry itself."""
    attributes = _field(1, len(content)) + _field(2, int(time.time())) + _field(3, 0o644)
    entry = _field(1, name.encode()) + _field(4, attributes) + _field(9, content)
    full = _field(1, directory.encode()) + _field(2, entry)
    return struct.pack(">I", len(full)) + full


def planted_identity() -> bytes:
    """An S3 administrator for fs.meta.load."""
    return planted_entry("/etc/iam", "identity.json", json.dumps(EVIL_IDENTITY).encode())


def _field(number: int, value: int | bytes) -> bytes:
    """A field of a protocol buffer."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    encoded = b""
    while value > 127:
        encoded += bytes([value & 127 | 128])
        value >>= 7
    return encoded + bytes([value])
