"""What a receiver gets, and what `/events` shows: one body for readers of the cloud's documentation and of ours. Pure.

The file is told as the event left it, from the event's own row: it stays the same whatever becomes of the file.
"""

from __future__ import annotations

from typing import Any

from uploadkit.core.clock import to_iso
from uploadkit.core.media_types import strict
from uploadkit.db.models import Event

TEST_EVENT = "webhook.test"
"""The event of a delivery that somebody asked for to see whether it arrives."""

PUBLIC_EVENTS = {"UPLOADED": "onUploadComplete", "FAILED": "file.failed", "DELETED": "file.deleted"}
"""The event that receivers are told, by the status that the file came to."""


def event_body(event: Event, url: str) -> dict[str, Any]:
    """Return the body that tells of `event`; `url` is the lasting URL of its file."""
    return {
        "id": event.id,
        "event": PUBLIC_EVENTS[event.status],
        "createdAt": to_iso(event.at),
        "projectId": event.project_id,
        "environment": event.environment,
        "file": {
            "id": event.file_id,
            "key": event.key,
            "url": url,
            "fileName": event.file_name,
            "fileSize": event.size_bytes,
            "contentType": strict(event.content_type),
            "name": event.file_name,
            "size": event.size_bytes,
            "type": strict(event.content_type),
            "status": event.status,
            "metadata": event.metadata,
            "clientMetadata": event.client_metadata,
            "createdAt": to_iso(event.file_created_at),
        },
        "metadata": event.metadata,
    }
