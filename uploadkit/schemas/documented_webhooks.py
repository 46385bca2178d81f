"""Answers of the documented API about events and what receivers were told of them. Pure; knows no Flask."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from uploadkit.core.clock import to_iso
from uploadkit.db.models import Event, WebhookAttempt, WebhookDelivery, WebhookDestination
from uploadkit.schemas.uploads import Json
from uploadkit.webhooks import payload
from uploadkit.webhooks.event_log import Feed

UrlOfEvent = Callable[[Event], str]


def event(row: Event, url_of_event: UrlOfEvent) -> Json:
    """One item of `GET /events`: what receivers are told, and its place."""
    return {"sequence": row.sequence, **payload.event_body(row, url_of_event(row))}


def event_feed(feed: Feed, url_of_event: UrlOfEvent) -> Json:
    """Answer of `GET /events`."""
    return {
        "items": [event(row, url_of_event) for row in feed.items],
        "nextAfter": feed.next_after,
        "hasMore": feed.has_more,
        "gap": feed.gap,
    }


def delivery(row: WebhookDelivery) -> Json:
    """A webhook delivery."""
    return {
        "id": row.id,
        "eventId": row.event_id,
        "event": row.event,
        "environment": row.environment,
        "fileId": row.file_id,
        "url": row.destination.url,
        "status": row.status,
        "paused": row.status == "pending" and row.destination.paused_at is not None and not row.by_hand,
        "attempts": row.attempts,
        "nextAttemptAt": None if row.next_attempt_at is None else to_iso(row.next_attempt_at),
        "lastStatusCode": row.last_status_code,
        "lastError": row.last_error,
        "createdAt": to_iso(row.created_at),
        "deliveredAt": to_iso(row.ended_at) if row.status == "delivered" and row.ended_at else None,
    }


def delivery_in_full(row: WebhookDelivery, attempts: Sequence[WebhookAttempt]) -> Json:
    """A webhook delivery with what was sent and every attempt at it."""
    return {**delivery(row), "payload": json.loads(row.payload), "history": [_attempt(attempt) for attempt in attempts]}


def _attempt(row: WebhookAttempt) -> Json:
    return {
        "startedAt": to_iso(row.started_at),
        "durationMs": row.duration_ms,
        "requestHeaders": row.request_headers,
        "statusCode": row.status_code,
        "responseExcerpt": row.response_excerpt,
        "error": row.error,
    }


def destination(row: WebhookDestination) -> Json:
    """A URL that events go to, and whether it is paused."""
    return {
        "id": row.id,
        "url": row.url,
        "environment": row.environment,
        "deadInARow": row.dead_in_a_row,
        "pausedAt": None if row.paused_at is None else to_iso(row.paused_at),
        "createdAt": to_iso(row.created_at),
    }
