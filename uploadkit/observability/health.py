"""What `/readyz` asks: does everything that an upload needs work right now?"""

from __future__ import annotations

import os
from dataclasses import dataclass

import psutil

from uploadkit.config import Config
from uploadkit.context import Context
from uploadkit.core import writable
from uploadkit.core.packaged_files import PROGRAM
from uploadkit.core.sizes import MIB
from uploadkit.db.faults import AnyFault
from uploadkit.maintenance import scrub
from uploadkit.observability import queries

_LEAST_FREE_BYTES = 64 * MIB


@dataclass(frozen=True)
class Check:
    """One thing that was looked at, and what was seen."""

    name: str
    ok: bool
    detail: str


def check(ctx: Context) -> list[Check]:
    """Look at database, storage, scheduler and disk."""
    return [_database(), _storage(ctx), _scheduler(ctx), _disk(ctx)]


def unwritable(config: Config) -> str | None:
    """Say which of the directories that the appliance writes to can't be written, and why; None when all can."""
    for directory in dict.fromkeys((config.data_dir, config.database_path.parent)):
        if (reason := writable.problem(directory)) is not None:
            return f"{directory} can't be written: {reason}"
    if config.database_path.exists() and not os.access(config.database_path, os.W_OK):
        return f"{config.database_path} can't be written by this user"
    return None


def _database() -> Check:
    try:
        queries.answer()
    except AnyFault as error:
        return Check("database", False, f"SQLite answers {type(error).__name__}")
    return Check("database", True, "answers")


def _storage(ctx: Context) -> Check:
    failure = ctx.store_watch.failure() or ctx.store.distrust
    return Check("storage", failure is None, failure or f"bucket {ctx.store.address.bucket} answers{_damaged()}")


def _damaged() -> str:
    """What the scrub found. Uploads go on all the same, so nobody should be sent elsewhere; this is for whoever looks."""
    try:
        count = scrub.damaged_files()
    except AnyFault:
        return ""
    return f"; {count} file(s) can't be read as they were verified: the log names them, and 'reconcile --deep' reads all" if count else ""


def _scheduler(ctx: Context) -> Check:
    if not ctx.signals.running():
        return Check("scheduler", False, "does not run; restart the appliance")
    failed = [report.name for report in ctx.signals.reports() if report.failed]
    # Uploads go on without them, so nobody should be sent elsewhere; the detail is for whoever looks.
    return Check("scheduler", True, f"runs; the log says why these jobs failed: {', '.join(failed)}" if failed else "runs")


def _disk(ctx: Context) -> Check:
    free, place = min(
        (psutil.disk_usage(str(directory)).free, name)
        for directory, name in ((ctx.config.data_dir, "the data directory"), (ctx.config.database_path.parent, "the database"))
    )
    # Not which directory: anybody may ask. The doctor names it.
    refused = "" if unwritable(ctx.config) is None else f", but the data directory can't be written; '{PROGRAM} doctor' says why"
    trouble = ctx.database_disk.trouble()
    summary = f"{free / 1024**3:.1f} GB free at {place}" if trouble is None else f"no new upload begins: {trouble}"
    return Check("disk", free >= _LEAST_FREE_BYTES and not refused and trouble is None, f"{summary}{refused}")


@dataclass(frozen=True)
class Disk:
    """The disk that the data directory is on, in bytes."""

    total: int
    used: int
    free: int


def disk_space(ctx: Context) -> Disk:
    """Return how much room there is at the data directory."""
    found = psutil.disk_usage(str(ctx.config.data_dir))
    return Disk(found.total, found.used, found.free)
