"""The upload event log: one row per change of state of a file, its list, and the feed for receivers.

A row is written in the transaction that changes the state, so that the log never tells of what did not happen, nor misses what did;
and so is the webhook delivery that the file route asks for. It outlives the file's own row. `sequence` rises in the order of the
transactions, which makes the feed gap-free: whoever has read up to a number has missed nothing before it.
"""

from __future__ import annotations

from dataclasses import dataclass

import orjson
from peewee import SQL, ModelSelect, fn

from uploadkit.auth.callers import Caller
from uploadkit.context import Context
from uploadkit.core import clock
from uploadkit.core.ids import new_id
from uploadkit.db import paging, read_places, statements
from uploadkit.db.connection import execute
from uploadkit.db.models import Event, EventForgotten, File
from uploadkit.db.paging import Page
from uploadkit.webhooks import outbox

_INSERT = """
INSERT INTO event (id, at, event, project_id, environment, file_id, key, file_name, route_slug, status, detail, metadata,
                   size_bytes, content_type, visibility, file_created_at, client_metadata)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""


# What happens to files, by the status that each leaves the file in.
STATUS_AFTER = {
    "upload.requested": "UPLOADING",
    "upload.completed": "UPLOADED",
    "upload.failed": "FAILED",
    "upload.aborted": "FAILED",
    "upload.expired": "FAILED",
    "file.deleted": "DELETED",
}
_FEW_FILES = 5000
_FILES_OF_KEY = "SELECT id FROM file WHERE api_key_id = ? LIMIT ?"
# The signs keep SQLite to the index by file.
_OF_FILES = "SELECT sequence FROM json_each(?) CROSS JOIN event ON file_id = value WHERE +project_id = ? AND +environment = ?"


@dataclass(frozen=True)
class EventFilter:
    """What to list; None means any. `since` (included) and `until` (excluded) are in milliseconds.

    `api_key_id` is the key that the upload was begun with, as far as the file's row is still there.
    """

    status: str | None = None
    since: int | None = None
    until: int | None = None
    event: str | None = None
    route_slug: str | None = None
    api_key_id: str | None = None

    @property
    def needs_a_place(self) -> bool:
        """Whether many events may have to be looked at to find a few: no index leads to them alone."""
        return self.event is not None or self.route_slug is not None or self.api_key_id is not None


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

    What its file route wants to be told goes into the outbox with it. A request for an upload is no news of a file yet, and anybody may
    make many: its metadata stays with the file.
    """
    told = (file.metadata, file.client_metadata) if status != "UPLOADING" else ({}, {})
    cursor = execute(
        _INSERT,
        (
            new_id(),
            clock.now_ms(),
            event,
            file.project_id,
            file.environment,
            file.id,
            file.key,
            file.file_name,
            file.route_slug,
            status,
            detail,
            orjson.dumps(told[0]).decode(),
            file.size_bytes,
            file.content_type,
            file.visibility,
            file.created_at,
            orjson.dumps(told[1]).decode(),
        ),
    )
    if status != "UPLOADING" and (url := outbox.wanted_at(file.project_id, file.route_slug, status)):
        written = statements.find(Event, "sequence = ?", cursor.lastrowid)
        assert written is not None
        outbox.enqueue(ctx, written, url)


def feed(caller: Caller, after: int, limit: int) -> Feed:
    """Return up to `limit` events of the caller's project and environment whose sequence is above `after`, oldest first.

    Requests for uploads are left out: the feed tells what receivers are told.
    """
    query = Event.select().where(
        Event.project == caller.project_id, Event.environment == caller.environment, SQL("status <> 'UPLOADING'"), Event.sequence > after
    )
    found = list(query.order_by(Event.sequence).limit(limit + 1))
    items = found[:limit]
    # Looked up last: what was forgotten meanwhile is told, and what was read is still there.
    forgotten = EventForgotten.select().where(
        EventForgotten.project == caller.project_id, EventForgotten.environment == caller.environment, EventForgotten.sequence > after
    )
    return Feed(items, items[-1].sequence if items else after, len(found) > limit, forgotten.exists())


def list_events(caller: Caller, wanted: EventFilter, limit: int, cursor: str | None) -> Page[Event]:
    """Return up to `limit` events of the caller's project and environment, newest first. Raises as `files.list_files` does."""
    if wanted.needs_a_place:
        with read_places.taken(caller.project_id):
            return _list_events(caller, wanted, limit, cursor)
    return _list_events(caller, wanted, limit, cursor)


def _list_events(caller: Caller, wanted: EventFilter, limit: int, cursor: str | None) -> Page[Event]:
    query = _in_scope(caller) if wanted.api_key_id is None else _by_key(caller, wanted.api_key_id)
    if wanted.status is not None:
        query = query.where(Event.status == wanted.status)
    if wanted.since is not None:
        query = query.where(Event.at >= wanted.since)
    if wanted.until is not None:
        query = query.where(Event.at < wanted.until)
    if wanted.event is not None:  # the status is decided in the index, and leaves fewer rows to read
        query = query.where(Event.status == STATUS_AFTER.get(wanted.event, ""), Event.event == wanted.event)
    if wanted.route_slug is not None:
        query = query.where(Event.route_slug == wanted.route_slug)
    return paging.newest_first(query, Event.at, Event.id, limit, cursor)


def _in_scope(caller: Caller) -> ModelSelect[Event]:
    return Event.select().where(Event.project == caller.project_id, Event.environment == caller.environment)


def _by_key(caller: Caller, api_key_id: str) -> ModelSelect[Event]:
    """The events of files that a key uploaded: those themselves if the files are few, else each event's file is looked up on the way."""
    found = [file_id for (file_id,) in execute(_FILES_OF_KEY, (api_key_id, _FEW_FILES + 1)).fetchall()]
    if len(found) > _FEW_FILES:
        return _in_scope(caller).where(fn.EXISTS(File.select(SQL("1")).where(File.id == Event.file_id, File.api_key == api_key_id)))
    sequences = [
        number for (number,) in execute(_OF_FILES, (orjson.dumps(found).decode(), caller.project_id, caller.environment)).fetchall()
    ]
    return Event.select().where(Event.sequence << sequences)


def of_file(caller: Caller, file_id: str) -> list[Event]:
    """Return what happened to a file of the caller's project and environment, oldest first, also after its row has gone."""
    return list(_in_scope(caller).where(Event.file_id == file_id).order_by(Event.sequence))
