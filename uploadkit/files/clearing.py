"""What has to go from the store once an upload or a file has ended, and when to look again."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from uploadkit.context import Context
from uploadkit.core import clock
from uploadkit.db.connection import write
from uploadkit.db.models import File
from uploadkit.files.queries import uploads as queries
from uploadkit.objectstore.boto import AccessDenied
from uploadkit.projects import quotas

JOINED_UNSEEN_MS = 60_000
"""How long bytes may stand under their final key before somebody looks at them."""
_JOINING_MS = 15 * 60_000
"""How long a store may take to put parts together that it was asked for; the appliance waits for its answer a third of that."""


@dataclass(frozen=True)
class Cleared:
    """A row that the store was cleared for; `over`: nothing can come back any more."""

    file: File
    over: bool


def tidy(ctx: Context, file: File) -> None:
    """Clear the store for a row and note it at once. Raises StorageUnavailable."""
    note([clear(ctx, file)])


def clear(ctx: Context, file: File) -> Cleared:
    """Remove from the store whatever a row that is no longer UPLOADING should not have there; what is left to do is for `note`.

    Safe to repeat at any point. Until the deadline a still valid URL may store bytes again, so a single upload is looked at once more
    then, and a failed one keeps its reservation until then. Raises StorageUnavailable.
    """
    # Asked before the first deletion: what a PUT brings between that and the deadline must still be found.
    over = clock.cautious_ms() >= file.deadline_at
    if file.status != "UPLOADED":
        ctx.store.delete(file.key)
    if not file.is_multipart:
        ctx.store.delete(file.pending_key)
    elif file.upload_id:
        ctx.store.abort_multipart(file.key, file.upload_id)
    else:
        with suppress(AccessDenied):
            ctx.store.abort_all_multiparts(file.key)
    return Cleared(file, over)


def note(cleared: Sequence[Cleared]) -> None:
    """Note, in one transaction, for which rows the store was cleared, and when to look at them again."""
    with write():
        for one in cleared:
            file = one.file
            if file.status != "UPLOADED" and (one.over or file.is_multipart) and (present := queries.find(file.id)):
                quotas.release_bytes(present)
            sweep_at = None if one.over else clock.wall_clock_at(file.deadline_at)
            if file.status != "UPLOADED" and may_be_joining(file):  # what the store puts together now comes after the deletion
                sweep_at = clock.now_ms() + JOINED_UNSEEN_MS
            queries.note_swept(file.id, file.status, sweep_at)


def may_be_joining(file: File) -> bool:
    """Say whether the store may still be at putting the parts of an upload together."""
    return file.joining_at is not None and file.joining_at <= clock.now_ms() < file.joining_at + _JOINING_MS
