"""Giving back the space of what was deleted and overwritten: SeaweedFS does so by itself only after many minutes.

Near the limit it is asked for; and at once where garbage piles up, because one upload URL that is used again and again would else
fill the store with what nobody can read. Used by the supervisor's thread alone, because children die with the thread that spawned them.
"""

from __future__ import annotations

import contextlib
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import urllib3

from uploadkit.core.sizes import MIB
from uploadkit.objectstore.bundled import processes
from uploadkit.objectstore.bundled.disk import DiskUse
from uploadkit.objectstore.bundled.engines import Command, Engine

RECLAIM_FROM = 0.6
FIRST_SECONDS, LONGEST_SECONDS, TIMEOUT_SECONDS = 30.0, 300.0, 600.0
# So much garbage, or so large a part of the room that is left, is no ordinary day's.
FLOOD_BYTES, FLOOD_SHARE_OF_ROOM, FIRST_FLOOD_SECONDS = 32 * MIB, 8, 1.0
# The share of a volume that must be garbage for it to be copied without the rest.
WORTH_COPYING, WORTH_COPYING_IN_A_FLOOD = 0.01, 0.1
# SeaweedFS's master learns the size of a vacuumed volume by the next heartbeat, every 5 s. Written to before, it counts as full for good.
HEARTBEAT_SECONDS = 6.0


@dataclass(frozen=True)
class _Volume:
    number: int
    garbage_bytes: int
    vacuums: int


class Reclaiming:
    """The vacuums of one engine: when the next is worth it, the one that runs, and what it brought."""

    def __init__(self, engine: Engine, base: int, log: Path, http: urllib3.PoolManager) -> None:
        self._engine, self._base, self._log, self._http = engine, base, log, http
        self._child: subprocess.Popen[bytes] | None = None
        self._until = self._next = self._next_in_a_flood = self._reopen_at = 0.0
        self._pause_seconds, self._flood_pause_seconds = FIRST_SECONDS, FIRST_FLOOD_SECONDS
        self._used_before, self._is_vacuum = 0, False
        self._volumes: tuple[_Volume, ...] = ()
        self._vacuums: dict[int, int] = {}
        self._to_reopen: set[int] = set()

    def look(self) -> None:
        """Ask the engine what is garbage. What can't be known counts as none."""
        page = self._engine.volumes_page(self._base)
        self._volumes = ()
        if page is not None:
            with contextlib.suppress(urllib3.exceptions.HTTPError, ValueError, KeyError, TypeError, AttributeError):
                found = self._http.request("GET", page).json()["Volumes"] or ()
                self._volumes = tuple(_Volume(int(v["Id"]), int(v["DeletedByteCount"]), int(v["CompactRevision"])) for v in found)
        for volume in self._volumes:
            if volume.vacuums > self._vacuums.get(volume.number, volume.vacuums):
                self._to_reopen.add(volume.number)
                self._reopen_at = time.monotonic() + HEARTBEAT_SECONDS
            self._vacuums[volume.number] = volume.vacuums

    def go_on(self, now: float, use: DiskUse) -> bool:
        """Begin what is due, unless something runs; say whether a vacuum has just ended, so that the disk should be measured anew."""
        if self._child is not None:
            if self._child.poll() is None and now < self._until:
                return False
            self.stop(1)
            if self._is_vacuum:
                return True
        near_limit = use.used_bytes >= RECLAIM_FROM * use.limit_bytes and now >= self._next
        garbage_bytes, room_bytes = sum(volume.garbage_bytes for volume in self._volumes), max(0, use.limit_bytes - use.used_bytes)
        flooded = garbage_bytes >= max(FLOOD_BYTES, room_bytes // FLOOD_SHARE_OF_ROOM) and now >= self._next_in_a_flood
        if self._to_reopen and now >= self._reopen_at:
            self._spawn(self._engine.reopen(self._base, sorted(self._to_reopen)), now, is_vacuum=False)
            self._to_reopen.clear()
        elif near_limit or flooded:
            self._used_before = use.used_bytes
            least = WORTH_COPYING if near_limit else WORTH_COPYING_IN_A_FLOOD
            self._spawn(self._engine.reclaim(self._base, least), now, is_vacuum=True)
        return False

    def ended(self, use: DiskUse) -> None:
        """Judge by `use`, measured since, what a vacuum brought: with nothing to gain, the next ones come more and more rarely."""
        now, before = time.monotonic(), sum(self._vacuums.values())
        self.look()
        gained = self._used_before - use.used_bytes > use.limit_bytes // 100
        # While a flood goes on, the store may have grown although volumes were vacuumed.
        worked = gained or sum(self._vacuums.values()) != before
        self._pause_seconds = FIRST_SECONDS if gained else min(2 * self._pause_seconds, LONGEST_SECONDS)
        self._flood_pause_seconds = FIRST_FLOOD_SECONDS if worked else min(2 * self._flood_pause_seconds, LONGEST_SECONDS)
        self._next, self._next_in_a_flood = now + self._pause_seconds, now + self._flood_pause_seconds

    def stop(self, seconds: float) -> None:
        """End what runs (SIGTERM, `seconds`, SIGKILL)."""
        if self._child is not None:
            processes.stop(self._child, seconds)
            self._child = None

    def _spawn(self, command: tuple[Command, bytes] | None, now: float, *, is_vacuum: bool) -> None:
        if command is not None:
            self._child = processes.spawn(command[0], self._log, stdin=command[1])
            self._until, self._is_vacuum = now + TIMEOUT_SECONDS, is_vacuum
