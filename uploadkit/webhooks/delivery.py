"""Sending one delivery: call the receiver, write down what came of it, and say when to try again.

At least once: whoever dies between the call and the note has it called again, with the same event id. Whose turn it is says
leases.py; when to run is dispatcher.py's business.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import NamedTuple

import orjson

from uploadkit import __version__
from uploadkit.context import Context
from uploadkit.core import clock
from uploadkit.core.ids import new_id
from uploadkit.db.connection import write
from uploadkit.net import safe_post
from uploadkit.net.safe_post import Outcome
from uploadkit.webhooks import secrets as webhook_secrets
from uploadkit.webhooks import signatures
from uploadkit.webhooks.leases import Lease
from uploadkit.webhooks.queries import deliveries, destinations
from uploadkit.webhooks.queries.deliveries import ToSend
from uploadkit.webhooks.retries import next_attempt_at

log = logging.getLogger(__name__)

Post = Callable[..., Outcome]
MOST_ATTEMPTS_KEPT = 100


class _Attempt(NamedTuple):
    """One call: when it began (milliseconds since the epoch), what was sent along, what came of it."""

    id: str
    started_at: int
    headers: Mapping[str, str]
    outcome: Outcome


def deliver(ctx: Context, lease: Lease, post: Post = safe_post.post) -> bool:
    """Try a leased delivery once and write down what came of it; return whether it arrived."""
    delivery = deliveries.find_to_send(lease.delivery_id)
    if delivery is None:  # its project was deleted meanwhile
        return False
    return _settle(ctx, lease, delivery, _call(ctx, delivery, post))


def _call(ctx: Context, delivery: ToSend, post: Post) -> _Attempt:
    started_at, attempt_id, body = clock.now_ms(), new_id(), delivery.payload.encode()
    signing = webhook_secrets.signing_secrets(delivery.project_id)
    headers = {"Content-Type": "application/json", "User-Agent": f"UploadKit/{__version__}"}
    headers |= signatures.headers(signing, delivery.event_id, attempt_id, delivery.url, body, started_at)
    outcome = post(
        delivery.url,
        body,
        headers,
        timeout_seconds=ctx.config.webhooks.timeout_seconds,
        allowed_private_cidrs=ctx.config.webhooks.allowed_private_cidrs,
    )
    return _Attempt(attempt_id, started_at, headers, outcome)


def _settle(ctx: Context, lease: Lease, delivery: ToSend, attempt: _Attempt) -> bool:
    """Write down an attempt, and move the delivery on if the lease still held; return whether it arrived."""
    now, outcome = clock.now_ms(), attempt.outcome
    succeeded = outcome.error is None and outcome.status_code is not None and 200 <= outcome.status_code < 300
    error = None if succeeded else outcome.error or f"The receiver answered {outcome.status_code}"
    again_at = None if succeeded else _again_at(ctx, delivery, outcome, now)
    status = "delivered" if succeeded else "dead" if again_at is None else "pending"
    with write():
        is_there = deliveries.insert_attempt(
            delivery.id,
            attempt.id,
            started_at=attempt.started_at,
            duration_ms=outcome.duration_ms,
            request_headers=orjson.dumps(attempt.headers).decode(),
            status_code=outcome.status_code,
            response_excerpt=outcome.excerpt,
            error=outcome.error,
        )
        if not is_there:
            return succeeded  # deleted meanwhile
        deliveries.forget_oldest_attempts(delivery.id, MOST_ATTEMPTS_KEPT)
        moved_on = deliveries.move_on(
            delivery.id, lease.until_ms, status=status, again_at=again_at, status_code=outcome.status_code, error=error, now=now
        )
        if moved_on:
            _count_for_destination(ctx, delivery, status, now)
    # Nothing that a receiver said: where it redirects to may be as secret as its own path. `webhooks show` has it all.
    outcome_text = status if succeeded else f"{status}, {f'answered {outcome.status_code}' if outcome.status_code else 'no answer'}"
    log.info("webhook delivery %s to %s: %s", delivery.id, delivery.origin, outcome_text)
    if outcome.for_log:
        log.warning("webhook delivery %s was refused: %s", delivery.id, outcome.for_log)
    return succeeded


def _again_at(ctx: Context, delivery: ToSend, outcome: Outcome, now: int) -> int | None:
    if delivery.file_id is None:  # a test event is tried once
        return None
    return next_attempt_at(now, delivery.attempts_in_round + 1, ctx.config.webhooks.retry_schedule_seconds, outcome.retry_after)


def _count_for_destination(ctx: Context, delivery: ToSend, status: str, now: int) -> None:
    """Dead deliveries in a row pause their destination; anything that arrives ends that. Test events that fail say nothing."""
    if status == "delivered":
        destinations.set_arrived(delivery.destination_id, now)
        return
    destinations.set_failed(delivery.destination_id)
    if status == "dead" and delivery.file_id is not None:
        destinations.count_dead(delivery.destination_id, delivery.ended_at)  # one that was redelivered and dies again has been counted
        most = ctx.config.webhooks.pause_after_dead_deliveries
        if destinations.pause_after_dead(delivery.destination_id, most, now):
            log.warning("webhooks to %s are paused after %d dead deliveries in a row; 'webhooks resume' goes on", delivery.origin, most)
