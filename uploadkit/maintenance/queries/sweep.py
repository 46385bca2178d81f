"""Rows of `file` that are to be swept, and what uploads under way hold in the store."""

from __future__ import annotations

import json
from collections.abc import Sequence

from uploadkit.db.connection import execute
from uploadkit.db.models import File

# A row comes before the URL that it is signed for, and goes long after that: an upload without one is over.
_NEEDING = "SELECT id FROM file WHERE id IN (SELECT value FROM json_each(?)) AND (status = 'UPLOADING' OR sweep_at IS NOT NULL)"


def due(now_ms: int, most: int) -> list[File]:
    """Return up to `most` rows that are to be swept by now, the longest due first."""
    return list(File.select().where(File.sweep_at <= now_ms).order_by(File.sweep_at).limit(most))


def sweep_later(file: File, sweep_at: int) -> None:
    """Put a row off after a failure, if nobody has set another time since `file` was read."""
    changes = {"sweep_at": sweep_at, "sweep_attempts": File.sweep_attempts + 1}
    File.update(**changes).where(File.id == file.id, File.sweep_at == file.sweep_at).execute()


def sweep_again(file: File, sweep_at: int) -> None:
    """Put a row off that somebody else is at, if nobody has set another time since `file` was read."""
    File.update(sweep_at=sweep_at).where(File.id == file.id, File.sweep_at == file.sweep_at).execute()


def parts_under_way(after_sweep_at: int, most: int) -> list[File]:
    """Return up to `most` uploads in parts under way, those that are swept soonest first, from after a time to sweep on."""
    # All of them have a sweep_at, and the index of that knows few others.
    under_way = File.select().where(File.sweep_at > after_sweep_at, File.status == "UPLOADING", File.upload_id.is_null(False))
    return list(under_way.order_by(File.sweep_at).limit(most))


def needing_pending_objects(file_ids: Sequence[str]) -> set[str]:
    """Return those of `file_ids` whose upload is under way, or still to be swept: their bytes may stand under `pending/`."""
    return {file_id for (file_id,) in execute(_NEEDING, (json.dumps(file_ids),)).fetchall()}
