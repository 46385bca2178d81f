"""The sweeper: uploads that nobody completes end, and the store is cleared of what should not be there.

Each step is conditional and safe to repeat, so a crash in the middle loses nothing.
"""

from __future__ import annotations

import logging

from uploadkit.context import Context
from uploadkit.core import clock
from uploadkit.core.errors import Conflict, StorageUnavailable
from uploadkit.db.connection import write
from uploadkit.db.models import File
from uploadkit.files import clearing, deletion_hold, lifecycle
from uploadkit.maintenance.queries import sweep as queries
from uploadkit.objectstore.boto import StorageRefused

log = logging.getLogger(__name__)

_BATCH = 200
_SHORTEST_WAIT_MS = 15_000
_LONGEST_WAIT_MS = clock.HOUR_MS
_LONGEST_WAIT_UNDER_WAY_MS = 60_000


def sweep_due(ctx: Context) -> int:
    """Bring every row whose time has come one step on; return how many were. Stops early while the store does not answer."""
    swept, goes_on = 0, True
    while goes_on and (due := queries.due(clock.now_ms(), _BATCH)):
        cleared: list[clearing.Cleared] = []
        held = deletion_hold.is_held()  # asked after the rows were read: see there
        for file in due:
            goes_on = not ctx.stopping.is_set()
            if not goes_on:
                break
            try:
                if file.status == "UPLOADING":
                    lifecycle.expire(ctx, file)
                elif held and file.status == "DELETED" and file.uploaded_at is not None:
                    _look_again(file)
                    continue
                else:
                    cleared.append(clearing.clear(ctx, file))
                swept += 1
            except StorageRefused as error:  # this one thing; others may well be allowed
                _try_later(file)
                log.warning("sweep of file %s put off: %s", file.id, error.message)
            except StorageUnavailable as error:
                _try_later(file)
                log.warning("sweep put off at file %s: %s", file.id, error.message)
                goes_on = False
                break
            except Conflict:  # somebody is completing or aborting it right now
                _look_again(file)
            except Exception:
                _try_later(file)  # or this row would hold up all others for ever
                log.exception("sweep of file %s failed", file.id)
        try:
            if cleared:
                ctx.store.sync()  # what is noted as gone must not come back with a power cut
        except StorageUnavailable as error:
            log.warning("sweep put off: %s", error.message)
            break
        clearing.note(cleared)
    return swept


def _try_later(file: File) -> None:
    # What is under way may have been joined and be looked at by nobody; it does not wait longer than it has to.
    longest_ms = _LONGEST_WAIT_UNDER_WAY_MS if file.status == "UPLOADING" else _LONGEST_WAIT_MS
    wait_ms = min(_SHORTEST_WAIT_MS * 2 ** min(file.sweep_attempts, 10), longest_ms)
    with write():
        queries.sweep_later(file, clock.now_ms() + wait_ms)


def _look_again(file: File) -> None:
    with write():
        queries.sweep_again(file, clock.now_ms() + _SHORTEST_WAIT_MS)
