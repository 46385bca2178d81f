"""What happens by itself: uploads that nobody completes end, and the store is cleared of what should not be there (storage.md section 5).

Each step is conditional and safe to repeat, so a crash in the middle loses nothing.
"""

from __future__ import annotations

import logging

from uploadkit import clock, uploads
from uploadkit.context import Context
from uploadkit.db import write
from uploadkit.errors import Conflict, StorageUnavailable
from uploadkit.models import File

log = logging.getLogger(__name__)

_BATCH = 200
_LONGEST_WAIT_MS = 3600_000


def sweep_due(ctx: Context) -> int:
    """Bring every row whose time has come one step on; return how many were. Stops early while the store does not answer."""
    swept = 0
    while due := list(File.select().where(File.sweep_at <= clock.now_ms()).order_by(File.sweep_at).limit(_BATCH)):
        for file in due:
            if ctx.stopping.is_set():
                return swept
            try:
                _sweep(ctx, file)
                swept += 1
            except StorageUnavailable as error:
                _try_later(file)
                log.warning("sweep of file %s put off: %s", file.id, error.message)
                return swept
            except Conflict:  # somebody is completing or aborting it right now
                _try_later(file)
            except Exception:
                _try_later(file)  # or this row would hold up all others for ever
                log.exception("sweep of file %s failed", file.id)
    return swept


def _sweep(ctx: Context, file: File) -> None:
    if file.status == "UPLOADING":
        uploads.expire(ctx, file)
    else:
        uploads.tidy(ctx, file)


def _try_later(file: File) -> None:
    wait_ms = min(15_000 * 2 ** min(file.sweep_attempts, 10), _LONGEST_WAIT_MS)
    with write():
        File.update(sweep_at=clock.now_ms() + wait_ms, sweep_attempts=File.sweep_attempts + 1).where(
            File.id == file.id, File.sweep_at == file.sweep_at
        ).execute()
