"""Uploads whose parts are sent again and again. SeaweedFS keeps every PUT of a part until the upload ends, so an hour of PUTs to one URL
would fill its disk with bytes that no quota counts. A store of your own is not checked: S3 keeps only the last PUT of a part.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass

from uploadkit.context import Context
from uploadkit.core.errors import StorageUnavailable, UploadKitError
from uploadkit.core.sizes import MIB
from uploadkit.db.models import File
from uploadkit.files import clearing, lifecycle
from uploadkit.files.queries import uploads
from uploadkit.maintenance.queries import sweep as queries
from uploadkit.objectstore.bundled import disk

log = logging.getLogger(__name__)

EVERY_SECONDS = 5
_WORTH_LOOKING_BYTES = 32 * MIB
# Of an upload, all may come twice, and a little more: people lose connections, and answers.
_BESIDE_BYTES = 32 * MIB
_MOST_CHECKED = 200


@dataclass
class PartFloods:
    """How much the store held at the last check, and which upload comes next."""

    _seen_bytes: int = 0
    _after: int = 0

    def look(self, ctx: Context) -> int:
        """End the uploads that hold far more than they may, if the bundled store has grown since; return how many."""
        if ctx.config.storage.mode != "bundled":
            return 0
        used_bytes = disk.used_bytes(ctx.config.data_dir / "store")
        if not self._after and used_bytes < self._seen_bytes + _WORTH_LOOKING_BYTES:
            self._seen_bytes = min(self._seen_bytes, used_bytes)
            return 0
        self._seen_bytes = used_bytes
        return self.end_floods(ctx)

    def end_floods(self, ctx: Context) -> int:
        """End those among the next uploads in parts that hold more than twice what was declared; return how many."""
        ended = 0
        for file in self._next():
            if ctx.stopping.is_set():
                break
            with suppress(UploadKitError):  # the store is away, or somebody completes it right now
                ended += _end_if_flooded(ctx, file)
        return ended

    def _next(self) -> list[File]:
        """Uploads in parts under way, those that end soonest first, and at the next call, where there are many, those after them."""
        found = queries.parts_under_way(self._after, _MOST_CHECKED)
        self._after = found[-1].sweep_at or 0 if len(found) == _MOST_CHECKED else 0
        return found


def _end_if_flooded(ctx: Context, file: File) -> bool:
    assert file.upload_id is not None
    held_bytes = ctx.store.bytes_of_parts(file.key, file.upload_id)
    if held_bytes <= 2 * file.size_bytes + _BESIDE_BYTES:
        return False
    log.warning("upload %s ended: its parts were sent so often that the store holds %d bytes for %d", file.id, held_bytes, file.size_bytes)
    lifecycle.leave_uploading(ctx, file, "aborted", f"Its parts were sent again and again: {held_bytes} bytes for {file.size_bytes}")
    with suppress(StorageUnavailable):  # the sweeper comes back to it
        clearing.tidy(ctx, uploads.get(file.id))
    return True
