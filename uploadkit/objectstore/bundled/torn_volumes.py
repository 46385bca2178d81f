"""Volumes of SeaweedFS whose end was torn, by a power cut or a kill (docs/decisions/0026-group-sync.md).

A volume is a file of needles (`.dat`), one behind the other, and an index of them (`.idx`) in the same order. What was acknowledged was
synced, in both; behind it there may be a needle that the index lacks, an entry whose needle is not there, or zeros. weed takes such a
volume for damaged: it reads it, but never again writes to it, deletes from it or vacuums it, so its space never comes back. So what lies
behind the sound part is cut off before weed starts, and laid beside as a file `.torn`: with `storage.bundled.durable = false` somebody may
want to look into it.

Source: weed/storage of SeaweedFS 4.48, volume version 3 with 5-byte offsets; held against volumes of stores that were stopped in peace.
Whatever does not look like that is left as it is.
"""

from __future__ import annotations

import logging
import os
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from uploadkit.core import durable_files

log = logging.getLogger("uploadkit.objectstore")

_VERSION = 3
_SUPER_BLOCK_BYTES = 8
_ENTRY = struct.Struct(">QIBi")
_HEADER = struct.Struct(">IQi")
_CHECKSUM_AND_TIME_BYTES = 12
_ALIGNMENT = 8
_MOST_TORN_ENTRIES = 100_000
_READ_ENTRIES = 65_536
_SAMPLES = 1_000


class _Entry(NamedTuple):
    """One line of the index: which needle, where it begins, where it ends."""

    key: int
    start: int
    size: int
    end: int


def cut_off_torn_ends(directory: Path) -> list[Path]:
    """Cut the torn ends off the volumes in `directory`, whose engine does not run; return the volumes that had one. Raises OSError."""
    return [volume for volume in sorted(directory.glob("*.dat")) if _has_its_index(volume) and _cut_off(volume)]


def _has_its_index(volume: Path) -> bool:
    """Say whether there is an index, and it is this volume's.

    At its end a vacuum renames first the new volume (`.cpd`) and then the new index (`.cpx`); `.cpc` says that it has begun to. In between,
    the old index fits the new volume up to the first file that was deleted. weed finishes that when it starts.
    """
    is_replaced = volume.with_suffix(".cpc").exists() or (volume.with_suffix(".cpx").exists() and not volume.with_suffix(".cpd").exists())
    return volume.with_suffix(".idx").exists() and not is_replaced


def _cut_off(volume: Path) -> bool:
    index = volume.with_suffix(".idx")
    with volume.open("r+b") as needles, index.open("r+b") as entries:
        size_bytes, index_bytes = os.fstat(needles.fileno()).st_size, os.fstat(entries.fileno()).st_size
        needles.seek(0)
        if needles.read(1) != bytes([_VERSION]):
            return False
        count, end = _sound_part(needles, entries, size_bytes)
        if count and not _belong_together(needles, entries, count):
            log.error("the store's volume %s and its index don't belong together; 'weed fix' makes a new index", volume.name)
            return False
        if count == 0 or (end == size_bytes and count * _ENTRY.size == index_bytes):
            return False
        log.warning(
            "the end of the store's volume %s was torn, by a power cut or a kill: %d bytes of needles and %d of the index are cut off",
            volume.name, size_bytes - end, index_bytes - count * _ENTRY.size,
        )  # fmt: skip
        if end < size_bytes:
            _lay_aside(needles, end, volume.with_name(f"{volume.stem}-{end}.torn"))
        needles.truncate(end)
        os.fsync(needles.fileno())
        entries.truncate(count * _ENTRY.size)
    durable_files.sync(index)
    return True


def _lay_aside(needles: BinaryIO, start: int, path: Path) -> None:
    needles.seek(start)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as copy:
        shutil.copyfileobj(needles, copy)
    durable_files.sync(path)
    durable_files.sync(path.parent)


def _sound_part(needles: BinaryIO, entries: BinaryIO, size_bytes: int) -> tuple[int, int]:
    """Return how many entries of the index are sound, counted from its beginning, and where the last needle of theirs ends; 0 for none."""
    ends: list[tuple[_Entry, int]] = []  # the last ones, each with the greatest end up to there
    end = _SUPER_BLOCK_BYTES
    count = 0
    for entry in _entries(entries):
        if entry.key == 0 or entry.end > size_bytes:
            break
        end = max(end, entry.end)
        count += 1
        ends.append((entry, end))
        if len(ends) > 2 * _MOST_TORN_ENTRIES:
            del ends[:_MOST_TORN_ENTRIES]
    while ends and not _is_there(needles, ends[-1][0]):
        ends.pop()
        count -= 1
    return (count, ends[-1][1]) if ends else (0, 0)


def _belong_together(needles: BinaryIO, entries: BinaryIO, count: int) -> bool:
    """Look for some of the first `count` entries at their places.

    A cut in the midst of a vacuum's end may leave an index of before beside a volume of after.
    """
    for number in range(0, count, max(1, count // _SAMPLES)):
        entries.seek(number * _ENTRY.size)
        if not _is_there(needles, _entry(*_ENTRY.unpack(entries.read(_ENTRY.size)))):
            return False
    return True


def _entries(index: BinaryIO) -> Iterator[_Entry]:
    index.seek(0)
    while chunk := index.read(_READ_ENTRIES * _ENTRY.size):
        for fields in _ENTRY.iter_unpack(chunk[: len(chunk) // _ENTRY.size * _ENTRY.size]):
            yield _entry(*fields)


def _entry(key: int, low: int, high: int, size: int) -> _Entry:
    start = (low | high << 32) * _ALIGNMENT
    body = _HEADER.size + max(size, 0) + _CHECKSUM_AND_TIME_BYTES
    return _Entry(key, start, size, start + body + _ALIGNMENT - body % _ALIGNMENT)


def _is_there(needles: BinaryIO, entry: _Entry) -> bool:
    """Say whether the needle at that place is the entry's; a deletion (-1) is a needle without a body."""
    needles.seek(entry.start)
    header = needles.read(_HEADER.size)
    if len(header) < _HEADER.size:
        return False
    _, key, size = _HEADER.unpack(header)
    return bool(key == entry.key and size == max(entry.size, 0))
