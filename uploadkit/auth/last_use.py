"""When something was used last, kept to the minute without a write per request."""

from __future__ import annotations

import logging
from collections.abc import Callable

from uploadkit.db.connection import NOTE_SECONDS, write
from uploadkit.db.faults import CannotNow

log = logging.getLogger(__name__)

_NOTED_EVERY_MS = 60_000


def note(what: str, noted_at: int | None, now: int, write_down: Callable[[int], None]) -> None:
    """Have `write_down` called with `now`, in a write transaction, unless that was done less than a minute ago (`noted_at`).

    Times are in milliseconds; `what` is for the log. A locked database or a full disk is no reason to turn anybody away.
    """
    if noted_at is not None and now - noted_at < _NOTED_EVERY_MS:
        return
    try:
        with write(wait_seconds=NOTE_SECONDS):
            write_down(now)
    except CannotNow as error:
        log.warning("when %s was used could not be written: %s", what, error)
