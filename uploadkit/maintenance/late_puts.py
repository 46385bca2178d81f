"""PUTs that arrive after the end of their upload. One that begins in time and is sent slowly, perhaps for hours, stores its bytes after
the last sweep of its row. Without this job nothing would count or remove them.

For the bundled store. In a store of your own the lifecycle rule for `pending/`, which `doctor --fix` sets, does the same.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from uploadkit.context import Context
from uploadkit.core.errors import StorageUnavailable
from uploadkit.maintenance.queries import sweep as queries
from uploadkit.objectstore import listing

EVERY_SECONDS = 300
_PENDING = "pending/"
_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def remove(ctx: Context) -> int:
    """Remove what lies under `pending/` for uploads that are over and swept; return how many objects. Stops while the store is away."""
    removed = 0
    if ctx.config.storage.mode != "bundled":
        return removed
    try:
        for page in listing.objects(ctx.store, _PENDING):
            for key in _late(page):
                if ctx.stopping.is_set():
                    return removed
                ctx.store.delete(key)
                removed += 1
    except StorageUnavailable:  # the next round goes on
        pass
    return removed


def _late(page: Sequence[listing.ListedObject]) -> list[str]:
    """Return the keys of objects that no row needs. What is not ours by its name (doctor's, the probe's) is left alone."""
    ids = [file_id for listed in page if _ID.fullmatch(file_id := listed.key.removeprefix(_PENDING))]
    needed = queries.needing_pending_objects(ids)
    return [f"{_PENDING}{file_id}" for file_id in ids if file_id not in needed]
