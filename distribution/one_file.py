"""A folder as one executable file: a head of POSIX shell that unpacks what comes after it once, checks it, and starts it."""

from __future__ import annotations

import hashlib
import io
import os
import platform
import tarfile
import zlib
from pathlib import Path

HEAD = Path(__file__).with_name("head.sh")
_PIECE_BYTES = 1 << 20


def write(folder: Path, target: Path, *, version: str) -> None:
    """Write `folder`, which holds only folders and files, to the executable `target`. The same folder gives the same bytes.

    What is started is its `bin/python3`, with its `bin/uploadkit` as the first argument.
    """
    packed = _packed(folder)
    values = {"VERSION": version, "MACHINE": platform.machine(), "DIGEST": hashlib.sha256(packed).hexdigest(), "LISTING": listing(folder)}
    head = HEAD.read_text(encoding="utf-8")
    for name, value in values.items():
        head = head.replace(f"@{name}@", value)
    # As wide as the number will be: it counts itself.
    head = head.replace("@START@", f"{len(head.encode()) - len('@START@') + 7 + 1:07d}")
    partial = target.with_name(target.name + ".partial")
    with partial.open("wb") as file:
        file.write(head.encode())
        file.write(packed)
    partial.chmod(0o755)
    os.replace(partial, target)


def listing(folder: Path) -> str:
    """The SHA-256 of the names, sizes and modes of all files below `folder`, as the head finds them again."""
    files = [path for path in folder.rglob("*") if not path.is_dir()]
    lines = [f"f {path.stat().st_mode & 0o7777:o} {path.stat().st_size} ./{path.relative_to(folder)}\n".encode() for path in files]
    return hashlib.sha256(b"".join(sorted(lines))).hexdigest()


def _packed(folder: Path) -> bytes:
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for path in sorted(folder.rglob("*")):
            entry = archive.gettarinfo(path, str(path.relative_to(folder)))
            entry.uid = entry.gid = entry.mtime = 0
            entry.uname = entry.gname = ""
            if path.is_dir():
                archive.addfile(entry)
            else:
                with path.open("rb") as content:
                    archive.addfile(entry, content)
    compress = zlib.compressobj(9, zlib.DEFLATED, 31)  # 31: with gzip's header, which then holds no time
    pieces = memoryview(plain.getbuffer())
    packed = [compress.compress(pieces[at : at + _PIECE_BYTES]) for at in range(0, len(pieces), _PIECE_BYTES)]
    return b"".join([*packed, compress.flush()])
