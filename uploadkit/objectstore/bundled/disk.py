"""How much disk the bundled store takes, how much it may take, and when it counts as full.

A disk filled to the brim wedges SeaweedFS for good, a reached cap does not: so the cap always stays below the free disk.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from uploadkit.core import disk_space
from uploadkit.core.sizes import MIB

_VOLUME = re.compile(r"(?:(?P<collection>.+)_)?\d+\.dat")
_SMALLEST_VOLUME_MIB, _LARGEST_VOLUME_MIB = 64, 4096
SMALLEST_LIMIT_BYTES = 4 * _SMALLEST_VOLUME_MIB * MIB


@dataclass(frozen=True)
class DiskUse:
    """Bytes the store takes, and bytes at which it takes no more uploads."""

    used_bytes: int
    limit_bytes: int


@dataclass(frozen=True)
class VolumePlan:
    """What SeaweedFS is told: the size at which a volume (its file of files) counts as full, and how many there may be.

    `capacity_bytes` is what they hold together when all are full.
    """

    volume_mib: int
    volume_count: int
    capacity_bytes: int


def limit_bytes(configured: int, directory: Path) -> int:
    """Return the most that `directory` may grow to: `configured` (0 = 90 % of what is there), never more than the disk gives."""
    usage = shutil.disk_usage(directory)
    used = used_bytes(directory)
    available = used + max(0, usage.free - disk_space.reserve_bytes(usage.total))
    return min(configured or available * 9 // 10, available)


def used_bytes(directory: Path) -> int:
    """Return the bytes on disk below `directory`; copies that a vacuum is just making don't count."""
    total = 0
    for entry in _files(directory):
        if not entry.name.endswith((".cpd", ".cpx")):
            try:
                total += entry.stat(follow_symlinks=False).st_blocks * 512
            except OSError:
                continue  # Gone since it was listed.
    return total


def _files(directory: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    yield from _files(Path(entry.path))
                else:
                    yield entry
    except FileNotFoundError:
        return


def plan_volumes(limit: int, directory: Path) -> VolumePlan:
    """Return the volumes that make SeaweedFS stop near `limit` bytes, counting those already in `directory`.

    About a hundred volumes: fewer would waste space (the last part of each), more would cost file handles.
    """
    volume_mib = _SMALLEST_VOLUME_MIB
    while volume_mib < _LARGEST_VOLUME_MIB and volume_mib * MIB * 100 < limit:
        volume_mib *= 2
    existing = [size for _, size in _volumes(directory)]
    grown = sum(max(size, volume_mib * MIB) for size in existing)
    more = max(0, limit - grown) // (volume_mib * MIB)
    # 0 would mean "as many as you like".
    return VolumePlan(volume_mib, max(1, len(existing) + more), grown + more * volume_mib * MIB)


def full_at_bytes(limit: int, plan: VolumePlan | None, directory: Path) -> int:
    """Return the use at which no further upload is accepted, so that those whose URL has been issued still find room.

    `plan` is None for an engine without volumes. SeaweedFS keeps its own change log in volumes of their own; what is still
    unused of those (of one, where there is none yet) is no room for files.
    """
    margin = min(max(_SMALLEST_VOLUME_MIB * MIB // 2, limit // 20), 2048 * MIB)
    if plan is None:
        return max(0, limit - margin)
    logs = [size for collection, size in _volumes(directory) if collection is None]
    held_back = sum(max(0, plan.volume_mib * MIB - size) for size in (logs or [0]))
    return max(0, min(limit, plan.capacity_bytes) - margin - held_back)


def _volumes(directory: Path) -> list[tuple[str | None, int]]:
    """Return (bucket or None, size in bytes) of each volume file."""
    found = []
    for path in directory.glob("*.dat"):
        match = _VOLUME.fullmatch(path.name)
        if match:
            try:
                found.append((match["collection"], path.stat().st_size))
            except OSError:
                continue  # A vacuum has just removed it.
    return found
