"""The upload event log: one row per change of state of a file, its list, and the feed for receivers.

A row is written in the transaction that changes the state, so that the log never tells of what did not happen, nor misses what did;
and so is the webhook delivery that the file route asks for. It outlives the file's own row. `sequence` rises in the order of the
transactions, which makes the feed gap-free: whoever has read up to a number has missed nothing before it.
"""

from __future__ import annotations

from dataclasses import dataclass

from uploadkit.auth.callers import Caller
from uploadkit.context import Context
from uploadkit.core import clock
from uploadkit.db import read_places
from uploadkit.db.models import Event, File
from uploadkit.db.paging import Page
from uploadkit.webhooks import outbox
from uploadkit.webhooks.payload import news_of
from uploadkit.webhooks.queries import events
from uploadkit.webhooks.queries.events import STATUS_AFTER as STATUS_AFTER
from uploadkit.webhooks.queries.events import EventFilter as EventFilter


@dataclass(frozen=True)
class Feed:
    """Some events, oldest first; `next_after` is where to go on, whether there is more yet or not.

    `gap` says that others that belong before them are no longer kept.
    """

    items: list[Event]
    next_after: int
    has_more: bool
    gap: bool


def record(ctx: Context, file: File, event: str, status: str, detail: str | None = None) -> None:
    """Write down, in the caller's write transaction, that `file` came to `status` by `event`; `detail` says why where that is not plain.

    The webhook that its file route wants goes into the outbox with it. A request for an upload is no news of a file yet, and anybody may
    make many: its metadata stays with the file.
    """
    row = events.insert(file, event, status, detail, clock.now_ms(), with_metadata=status != "UPLOADING")
    if status != "UPLOADING" and (url := outbox.wanted_at(file.project_id, file.route_slug, status)):
        outbox.enqueue(ctx, news_of(row), url)


def feed(caller: Caller, after: int, limit: int) -> Feed:
    """Return up to `limit` events of the caller's project and environment whose sequence is above `after`, oldest first.

    Requests for uploads are left out: the feed has what receivers get.
    """
    found = events.feed_after(caller.project_id, caller.environment, after, limit + 1)
    items = found[:limit]
    # Looked up last: what was forgotten meanwhile is told, and what was read is still there.
    has_gap = events.were_forgotten_after(caller.project_id, caller.environment, after)
    return Feed(items, items[-1].sequence if items else after, len(found) > limit, has_gap)


def list_events(caller: Caller, wanted: EventFilter, limit: int, cursor: str | None) -> Page[Event]:
    """Return up to `limit` events of the caller's project and environment, newest first. Raises as `files.list_files` does."""
    if not wanted.needs_a_place:
        return events.page(caller.project_id, caller.environment, wanted, limit, cursor)
    with read_places.taken(caller.project_id):
        return events.page(caller.project_id, caller.environment, wanted, limit, cursor)


def of_file(caller: Caller, file_id: str) -> list[Event]:
    """Return what happened to a file of the caller's project and environment, oldest first, also after its row has gone."""
    return events.of_file(caller.project_id, caller.environment, file_id)
