"""Sending one delivery: call the receiver, write down what came of it, and say when to try again.

At least once: whoever dies between the call and the note has it called again, with the same event id. Whose turn it is says
leases.py; when to run is dispatcher.py's business.
"""

from __future__ import annotations

import email.utils
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC
from typing import NamedTuple

import orjson

from uploadkit import __version__
from uploadkit.context import Context
from uploadkit.core import clock
from uploadkit.core.ids import new_id
from uploadkit.db.connection import execute, write
from uploadkit.db.models import WebhookDestination
from uploadkit.net import safe_post
from uploadkit.net.safe_post import Outcome
from uploadkit.webhooks import secrets as webhook_secrets
from uploadkit.webhooks import signatures
from uploadkit.webhooks.leases import Claim

log = logging.getLogger(__name__)

LONGEST_RETRY_AFTER_MS = 24 * 3600_000
Post = Callable[..., Outcome]
# By hand, because each delivery needs them: putting the same SQL together anew was half of what one cost.
_FIND = """
SELECT d.id, d.project_id, d.event_id, d.file_id, d.payload, d.attempts_in_round, d.ended_at, t.id, t.url, t.origin
  FROM webhook_delivery d JOIN webhook_destination t ON t.id = d.destination_id WHERE d.id = ?
"""
_NOTE = """
INSERT INTO webhook_attempt (id, delivery_id, started_at, duration_ms, request_headers, status_code, response_excerpt, error)
SELECT ?, id, ?, ?, ?, ?, ?, ? FROM webhook_delivery WHERE id = ?
"""
MOST_ATTEMPTS_KEPT = 100
_FORGET_OLDEST = """
DELETE FROM webhook_attempt WHERE id IN
  (SELECT id FROM webhook_attempt WHERE delivery_id = ? ORDER BY started_at DESC LIMIT 100 OFFSET ?)
"""
_MOVE_ON = """
UPDATE webhook_delivery
   SET status = :status, attempts = attempts + 1, attempts_in_round = attempts_in_round + 1, next_attempt_at = :again_at,
       leased_until = NULL, last_status_code = :status_code, last_error = :error, by_hand = 0,
       ended_at = CASE :status WHEN 'pending' THEN ended_at ELSE :now END
 WHERE id = :id AND status = 'delivering' AND leased_until = :leased_until
"""
_ARRIVED = "UPDATE webhook_destination SET arrived = 1, dead_in_a_row = 0, counted_from = ?, paused_at = NULL WHERE id = ?"


class _Delivery(NamedTuple):
    """What is to be sent, where to, and how it has gone so far."""

    id: str
    project_id: str
    event_id: str
    file_id: str | None
    payload: str
    attempts_in_round: int
    ended_at: int | None
    destination_id: str
    url: str
    origin: str


class _Attempt(NamedTuple):
    """One call: when it began (milliseconds since the epoch), what was sent along, what came of it."""

    id: str
    started_at: int
    headers: Mapping[str, str]
    outcome: Outcome


def deliver(ctx: Context, claim: Claim, post: Post = safe_post.post) -> bool:
    """Try a claimed delivery once and write down what came of it; return whether it arrived."""
    row = execute(_FIND, (claim.delivery_id,)).fetchone()
    if row is None:  # its project was deleted meanwhile
        return False
    delivery = _Delivery(*row)
    return _settle(ctx, claim, delivery, _call(ctx, delivery, post))


def _call(ctx: Context, delivery: _Delivery, post: Post) -> _Attempt:
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


def _settle(ctx: Context, claim: Claim, delivery: _Delivery, attempt: _Attempt) -> bool:
    """Write down an attempt, and move the delivery on if the lease still held; return whether it arrived."""
    now, outcome = clock.now_ms(), attempt.outcome
    succeeded = outcome.error is None and outcome.status_code is not None and 200 <= outcome.status_code < 300
    error = None if succeeded else outcome.error or f"The receiver answered {outcome.status_code}"
    again_at = None if succeeded else _again_at(ctx, delivery, outcome, now)
    status = "delivered" if succeeded else "dead" if again_at is None else "pending"
    said = (outcome.duration_ms, orjson.dumps(attempt.headers).decode(), outcome.status_code, outcome.excerpt, outcome.error)
    moved = {
        "status": status,
        "again_at": again_at,
        "status_code": outcome.status_code,
        "error": error,
        "now": now,
        "id": delivery.id,
        "leased_until": claim.leased_until,
    }
    with write():
        if not execute(_NOTE, (attempt.id, attempt.started_at, *said, delivery.id)).rowcount:
            return succeeded  # deleted meanwhile
        execute(_FORGET_OLDEST, (delivery.id, MOST_ATTEMPTS_KEPT))
        if execute(_MOVE_ON, moved).rowcount:
            _count_for_destination(ctx, delivery, status, now)
    # Nothing that a receiver said: where it redirects to may be as secret as its own path. `webhooks show` has it all.
    told = status if succeeded else f"{status}, {f'answered {outcome.status_code}' if outcome.status_code else 'no answer'}"
    log.info("webhook delivery %s to %s: %s", delivery.id, delivery.origin, told)
    if outcome.for_log:
        log.warning("webhook delivery %s was refused: %s", delivery.id, outcome.for_log)
    return succeeded


def _again_at(ctx: Context, delivery: _Delivery, outcome: Outcome, now: int) -> int | None:
    if delivery.file_id is None:  # a test event is tried once
        return None
    return next_attempt_at(now, delivery.attempts_in_round + 1, ctx.config.webhooks.retry_schedule_seconds, outcome.retry_after)


def next_attempt_at(failed_at: int, attempts: int, schedule_seconds: Sequence[int], retry_after: str | None = None) -> int | None:
    """Return when to try again after the `attempts`-th attempt failed at `failed_at`; None: never. Pure; times are milliseconds.

    `retry_after` is the receiver's header: it may ask for a later time, up to a day, but not for an earlier one.
    """
    if attempts > len(schedule_seconds):
        return None
    asked_ms = min(_asked_for(retry_after, failed_at), LONGEST_RETRY_AFTER_MS)
    return failed_at + max(schedule_seconds[attempts - 1] * 1000, asked_ms)


def _asked_for(retry_after: str | None, now: int) -> int:
    """Read Retry-After, seconds or an HTTP date, as milliseconds from now; what makes no sense asks for nothing."""
    text = (retry_after or "").strip()
    if re.fullmatch(r"[0-9]{1,12}", text, re.ASCII):
        return int(text) * 1000
    try:
        at = email.utils.parsedate_to_datetime(text)
        return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000) - now
    except (ValueError, TypeError, OverflowError):
        return 0


def _count_for_destination(ctx: Context, delivery: _Delivery, status: str, now: int) -> None:
    """Dead deliveries in a row pause their destination; anything that arrives ends that. Test events that fail say nothing."""
    if status == "delivered":
        execute(_ARRIVED, (now, delivery.destination_id))
        return
    this = WebhookDestination.id == delivery.destination_id
    WebhookDestination.update(arrived=False).where(this).execute()
    if status == "dead" and delivery.file_id is not None:
        # One that was redelivered and dies again has been counted.
        not_yet = [] if delivery.ended_at is None else [WebhookDestination.counted_from >= delivery.ended_at]
        WebhookDestination.update(dead_in_a_row=WebhookDestination.dead_in_a_row + 1).where(this, *not_yet).execute()
        most = ctx.config.webhooks.pause_after_dead_deliveries
        paused = WebhookDestination.update(paused_at=now).where(
            this, WebhookDestination.paused_at.is_null(), WebhookDestination.dead_in_a_row >= most
        )
        if paused.execute():
            log.warning("webhooks to %s are paused after %d dead deliveries in a row; 'webhooks resume' goes on", delivery.origin, most)
