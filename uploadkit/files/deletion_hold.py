"""A hold on physical deletions, for as long as a backup copies objects: rows go on changing, bytes of verified files stay.

Kept in the database, because a backup may run in another process than the sweeper, and as a lease: one that was killed holds up nothing
for longer than a few minutes. Who wants to delete reads the row first and asks for the hold after that: a row that said DELETED before the
hold was taken is DELETED in the backup's snapshot, too.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from uploadkit.core import clock
from uploadkit.db import key_value
from uploadkit.db.connection import write
from uploadkit.db.faults import CannotNow

log = logging.getLogger(__name__)

_NAME = "deletions_held_until"
_LEASE_MS = 5 * 60_000
_RENEW_SECONDS = 30


def is_held() -> bool:
    """Say whether objects of verified files have to stay in the store for now."""
    until = key_value.get(_NAME)
    return until is not None and clock.now_ms() < int(until)


@contextmanager
def held() -> Iterator[Callable[[], bool]]:
    """Hold physical deletions for a block; yield what says whether the hold has lasted so far."""
    ended, renewed = threading.Event(), [clock.monotonic_ms()]

    def lasts() -> bool:
        return clock.monotonic_ms() - renewed[0] < _LEASE_MS

    def renew() -> None:
        while not ended.wait(_RENEW_SECONDS):
            if not lasts():
                return
            try:
                _take()
                renewed[0] = clock.monotonic_ms()
            except CannotNow as error:
                log.warning("the hold on deletions could not be renewed yet: %s", error)

    _take()
    renewing = threading.Thread(target=renew, name="deletion-hold", daemon=True)
    renewing.start()
    try:
        yield lasts
    finally:
        ended.set()
        renewing.join()
        with write():
            let_go()


def let_go() -> None:
    """End the hold, in the caller's write transaction."""
    key_value.put(_NAME, "0")


def _take() -> None:
    with write():
        key_value.put(_NAME, str(clock.now_ms() + _LEASE_MS))
