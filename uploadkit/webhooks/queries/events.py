"""Rows of `event`: the log of what happened to files."""

from __future__ import annotations

from dataclasses import dataclass

import orjson
from peewee import SQL, ModelSelect, fn

from uploadkit.core.ids import new_id
from uploadkit.db import paging, statements
from uploadkit.db.connection import execute
from uploadkit.db.models import Event, EventForgotten, File
from uploadkit.db.paging import Page

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


def insert(file: File, event: str, status: str, detail: str | None, at_ms: int, *, with_metadata: bool) -> Event:
    """Insert that `file` came to `status` by `event`, with its metadata or without, in the caller's write transaction.

    Return the row, all but its `sequence`, which is the next one.
    """
    row = statements.new(
        Event,
        id=new_id(),
        at=at_ms,
        event=event,
        project=file.project_id,
        environment=file.environment,
        file_id=file.id,
        key=file.key,
        file_name=file.file_name,
        route_slug=file.route_slug,
        status=status,
        detail=detail,
        size_bytes=file.size_bytes,
        content_type=file.content_type,
        visibility=file.visibility,
        metadata=file.metadata if with_metadata else {},
        client_metadata=file.client_metadata if with_metadata else {},
        file_created_at=file.created_at,
    )
    statements.insert(row)
    return row


def feed_after(project_id: str, environment: str, sequence: int, limit: int) -> list[Event]:
    """Return up to `limit` events that receivers are told of (no requests for uploads) above `sequence`, oldest first."""
    above = _in_scope(project_id, environment).where(SQL("status <> 'UPLOADING'"), Event.sequence > sequence)
    return list(above.order_by(Event.sequence).limit(limit))


def were_forgotten_after(project_id: str, environment: str, sequence: int) -> bool:
    """Say whether there were events above `sequence` that are no longer kept."""
    forgotten = EventForgotten.select().where(
        EventForgotten.project == project_id, EventForgotten.environment == environment, EventForgotten.sequence > sequence
    )
    return bool(forgotten.exists())


def of_file(project_id: str, environment: str, file_id: str) -> list[Event]:
    """Return the events of a file, oldest first."""
    return list(_in_scope(project_id, environment).where(Event.file_id == file_id).order_by(Event.sequence))


def page(project_id: str, environment: str, wanted: EventFilter, limit: int, cursor: str | None) -> Page[Event]:
    """Return up to `limit` events, newest first. Raises ValidationFailed (cursor)."""
    query = _in_scope(project_id, environment) if wanted.api_key_id is None else _by_key(project_id, environment, wanted.api_key_id)
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


def _in_scope(project_id: str, environment: str) -> ModelSelect[Event]:
    return Event.select().where(Event.project == project_id, Event.environment == environment)


def _by_key(project_id: str, environment: str, api_key_id: str) -> ModelSelect[Event]:
    """The events of files that a key uploaded: those themselves if the files are few, else each event's file is looked up on the way."""
    found = [file_id for (file_id,) in execute(_FILES_OF_KEY, (api_key_id, _FEW_FILES + 1)).fetchall()]
    if len(found) > _FEW_FILES:
        uploaded = File.select(SQL("1")).where(File.id == Event.file_id, File.api_key == api_key_id)
        return _in_scope(project_id, environment).where(fn.EXISTS(uploaded))
    rows = execute(_OF_FILES, (orjson.dumps(found).decode(), project_id, environment)).fetchall()
    return Event.select().where(Event.sequence << [number for (number,) in rows])
