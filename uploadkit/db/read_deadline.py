"""How long the reads of one request may keep SQLite at work (docs/decisions/0024-reads-have-a-deadline.md).

SQLite asks back each `_STEPS` of its steps, in the midst of a statement, too: short statements never get that far, and cost nothing more.
Only time inside statements counts, so that a request may wait for the store for as long as it has to. Jobs, commands and write transactions
are not bounded: a job does its work in small batches, and a transaction looks rows up by key.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import peewee

from uploadkit.core import clock
from uploadkit.core.errors import StorageUnavailable

# A third of a millisecond of plain steps, a tenth of a second of the most expensive ones that we found.
_STEPS = 10_000
_INTERRUPTED = "interrupted"


class ReadTookTooLong(StorageUnavailable):
    """A request asked for more than the database finds within `database.read_timeout_seconds`."""

    def __init__(self) -> None:
        super().__init__(
            "This would have taken the database too long, so it was ended",
            "Ask for less: more of the name, a shorter time, another filter. If that was little, the appliance is busy: try again. "
            "database.read_timeout_seconds in config.toml is the limit",
        )


class _Reading(threading.local):
    """What this thread may still spend (milliseconds; None: any time), and from when on that is not counted yet."""

    left_ms: int | None = None
    since_ms = 0


_reading = _Reading()


def begin(seconds: float) -> None:
    """Let the reads of this thread take `seconds` together from now on."""
    _reading.left_ms = int(seconds * 1000)


def end() -> None:
    """Let the reads of this thread take any time again."""
    _reading.left_ms = None


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Let the reads of this thread in a block take `seconds` together. Raises ReadTookTooLong when they take longer."""
    begin(seconds)
    try:
        with reported():
            yield
    finally:
        end()


@contextmanager
def reported() -> Iterator[None]:
    """Raise ReadTookTooLong where SQLite ended a statement of the block because of the deadline."""
    try:
        yield
    except (peewee.OperationalError, sqlite3.OperationalError) as error:
        if was_passed(error):
            raise ReadTookTooLong from error
        raise


def was_passed(error: Exception) -> bool:
    """Say whether a statement was ended by the deadline. Errors come from peewee or, while rows are read, from SQLite itself."""
    return isinstance(error, peewee.OperationalError | sqlite3.OperationalError) and str(error) == _INTERRUPTED


def watch(connection: sqlite3.Connection) -> None:
    """Hold what is read on a connection to the deadline of the thread that reads."""
    connection.set_progress_handler(_is_passed, _STEPS)


def leave_alone(connection: sqlite3.Connection) -> None:
    """Never end a statement on a connection: half of what several threads commit together would be undone by the time of one."""
    connection.set_progress_handler(None, 0)


def statement_begins() -> None:
    """Count from now on: what came before was none of the database's time."""
    if _reading.left_ms is not None:
        _reading.since_ms = clock.monotonic_ms()


def _is_passed() -> bool:
    if _reading.left_ms is None:
        return False
    now = clock.monotonic_ms()
    _reading.left_ms -= now - _reading.since_ms
    _reading.since_ms = now
    return _reading.left_ms <= 0
