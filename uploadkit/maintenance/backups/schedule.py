"""Backups that come by themselves: each day at a time of day, or when somebody asks for one; and what became of the last ones."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from uploadkit.config import Config
from uploadkit.context import Context
from uploadkit.core import clock
from uploadkit.core.errors import ConfigError, UploadKitError
from uploadkit.db import key_value
from uploadkit.db.connection import write
from uploadkit.maintenance.backups import places
from uploadkit.maintenance.backups.creation import Progress, create
from uploadkit.maintenance.object_check import Stopped
from uploadkit.objectstore.store import ObjectStore

log = logging.getLogger(__name__)

EVERY_SECONDS = 60
_RESULTS, _REQUESTED = "backup_results", "backup_requested"
_KEPT_RESULTS = 20
_TRY_AGAIN_MS = clock.HOUR_MS


@dataclass(frozen=True)
class Result:
    """What became of one backup. Times are milliseconds since the epoch; `failure` is "" for a whole one."""

    began_at: int
    ended_at: int
    place: str
    id: str = ""
    files: int = 0
    bytes: int = 0
    sent_bytes: int = 0
    missing: int = 0
    failure: str = ""


def results() -> list[Result]:
    """Return what became of the last backups, newest first."""
    return [Result(**found) for found in json.loads(key_value.get(_RESULTS) or "[]")]


def request(ctx: Context) -> None:
    """Have a backup made as soon as possible. Raises ConfigError when no place is configured."""
    if ctx.config.backup.to is None:
        raise ConfigError("backup.to: must say where backups go")
    with write():
        key_value.put(_REQUESTED, "1")
    ctx.signals.wake_backup()


def is_requested() -> bool:
    """Say whether a backup was asked for that has not begun."""
    return key_value.get(_REQUESTED) == "1"


def run_if_due(ctx: Context) -> int:
    """Make a backup if it is time to, or somebody has asked for one; return how many were made."""
    backup = ctx.config.backup
    if backup.to is None or not (is_requested() or _is_due(backup.schedule, places.name_of(backup.to))):
        return 0
    with write():
        key_value.put(_REQUESTED, "0")
    try:
        made = make(ctx.config, ctx.store, places.opened(ctx.config, backup.to), keep=backup.keep, stopping=ctx.stopping)
    except Stopped:
        return 0
    except UploadKitError as error:
        log.error("no backup was made: %s%s", error.message, f". {error.suggestion}" if error.suggestion else "")
        return 0
    log.info("backup %s of %d files is at %s", made.id, made.files, made.place)
    return 1


def make(
    config: Config,
    store: ObjectStore,
    place: places.Place,
    *,
    keep: int | None,
    bytes_per_second: float | None = None,
    begin: bool = False,
    again: bool = False,
    stopping: threading.Event,
    tell: Callable[[Progress], None] = lambda progress: None,
) -> Result:
    """Make a backup as `create` does, and note what became of it. Raises what `create` raises."""
    began_at, seen = clock.now_ms(), Progress(0, 0)

    def follow(progress: Progress) -> None:
        nonlocal seen
        seen = progress
        tell(progress)

    try:
        backup = create(
            config, store, place, keep=keep, bytes_per_second=bytes_per_second, begin=begin, again=again, stopping=stopping, tell=follow
        )
    except UploadKitError as error:
        _note(
            Result(
                began_at, clock.now_ms(), str(place), files=seen.files, bytes=seen.bytes, sent_bytes=seen.sent_bytes, failure=error.message
            )
        )
        raise
    made = Result(began_at, clock.now_ms(), str(place), backup.id, backup.files, backup.size_bytes, seen.sent_bytes, len(backup.missing))
    _note(made)
    return made


def _note(result: Result) -> None:
    with write():
        key_value.put(_RESULTS, json.dumps([asdict(one) for one in [result, *results()][:_KEPT_RESULTS]]))


def _is_due(schedule: str | None, place: str) -> bool:
    """Say whether the time of day has passed without a whole backup at `place` since; a failed one is tried again in an hour."""
    if schedule is None:
        return False
    now = datetime.fromtimestamp(clock.now_ms() / 1000).astimezone()
    hours, minutes = map(int, schedule.split(":"))
    wanted = now.replace(hour=hours, minute=minutes, second=0, microsecond=0)
    if wanted > now:
        wanted -= timedelta(days=1)
    for result in (one for one in results() if one.place == place):
        if not result.failure and result.began_at >= wanted.timestamp() * 1000:
            return False
        if result.failure and result.ended_at > clock.now_ms() - _TRY_AGAIN_MS:
            return False
    return True
