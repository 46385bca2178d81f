"""The only reader of time. Everything else calls these functions by `clock.now_ms()`, so that a test can put others in their place."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import lru_cache

HOUR_MS = 3600_000
DAY_MS = 24 * HOUR_MS


def _since_boot_seconds() -> float:
    """Seconds on a clock that nobody sets, and that goes on while the machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


_STARTED_AT = time.time() - _since_boot_seconds()


def now_ms() -> int:
    """Return the present time in milliseconds since the Unix epoch (UTC)."""
    return int(time.time() * 1000)


def machine_ms() -> int:
    """Return the same, also while a test holds `now_ms`: for what a store compares with its own clock."""
    return int(time.time() * 1000)


def monotonic_ms() -> int:
    """Return milliseconds on a monotonic clock: for what lasts a while within this process."""
    return int(time.monotonic() * 1000)


def carried_on_ms() -> int:
    """Return what the clock showed when the process began, carried on by one that nobody sets: for what ends with the process."""
    return int((_STARTED_AT + _since_boot_seconds()) * 1000)


def cautious_ms() -> int:
    """Return the present time as far as it is certain: when the clock was put forward since the process began, what it would show without.

    For what must not happen too early, such as throwing away an upload.
    """
    return min(now_ms(), carried_on_ms())


def wall_clock_at(at_ms: int) -> int:
    """Return what the clock will show when `at_ms` has surely come."""
    return at_ms + now_ms() - cautious_ms()


def to_datetime(at_ms: int) -> datetime:
    """Return `at_ms` (milliseconds since the epoch) as an aware UTC datetime."""
    return datetime.fromtimestamp(at_ms / 1000, UTC)


def to_iso(at_ms: int) -> str:
    """Return `at_ms` (milliseconds since the epoch) as ISO 8601 UTC with milliseconds and `Z`."""
    seconds, milliseconds = divmod(at_ms, 1000)
    return f"{_iso_second(seconds)}.{milliseconds:03d}Z"


@lru_cache(maxsize=256)
def _iso_second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def month_of(at_ms: int) -> str:
    """Return the usage period, such as `2026-04`, that `at_ms` (milliseconds since the epoch) lies in."""
    return _month_of_day(at_ms // DAY_MS)


@lru_cache(maxsize=64)
def _month_of_day(days: int) -> str:
    return time.strftime("%Y-%m", time.gmtime(days * 86_400))
