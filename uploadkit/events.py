"""The upload event log: one row per change of state of a file, and its list (api.md section 7, "log entry").

A row is written in the transaction that changes the state, so that the log never tells of what did not happen, nor misses what did.
It outlives the file's own row. `sequence` rises in the order of the transactions.
"""

from __future__ import annotations

import json

from uploadkit import clock, paging
from uploadkit.access import Caller
from uploadkit.db import execute, new_id
from uploadkit.models import Event, File
from uploadkit.paging import Page

_INSERT = """
INSERT INTO event (id, at, event, project_id, environment, file_id, key, file_name, route_slug, status, detail, metadata)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""


def record(file: File, event: str, status: str, detail: str | None = None) -> None:
    """Write down, in the caller's write transaction, that `file` came to `status` by `event`; `detail` says why where that is not plain."""
    execute(
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
            json.dumps(file.metadata),
        ),
    )


def list_events(caller: Caller, status: str | None, since: int | None, limit: int, cursor: str | None) -> Page[Event]:
    """Return up to `limit` events of the caller's project and environment, newest first; `since` is in milliseconds.

    Raises ValidationFailed for a bad cursor.
    """
    query = Event.select().where(Event.project == caller.project_id, Event.environment == caller.environment)
    if status is not None:
        query = query.where(Event.status == status)
    if since is not None:
        query = query.where(Event.at >= since)
    return paging.newest_first(query, Event.at, Event.id, limit, cursor)
