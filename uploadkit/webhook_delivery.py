"""Sending what is in the outbox: claim what is due, call the receiver, write down what came of it, and say when to try again.

A claim is a lease in the row, so that a second worker leaves the delivery alone and a claim whose holder is gone runs out. Which
destination has room is read from the rows as well. At least once: whoever dies between the call and the note has it called again, with the
same event id. When to run is webhook_dispatcher.py's business.
"""

from __future__ import annotations

import email.utils
import logging
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from uploadkit import __version__, clock, outgoing, webhook_secrets, webhook_signatures
from uploadkit.context import Context
from uploadkit.db import execute, new_id, write
from uploadkit.models import WebhookAttempt, WebhookDelivery, WebhookDestination
from uploadkit.outgoing import Outcome

log = logging.getLogger(__name__)

MOST_IN_FLIGHT = 16
MOST_PER_ORIGIN = 2
LONGEST_RETRY_AFTER_MS = 24 * 3600_000
# Beyond the time that a receiver has: for signing before the call, and the note after it.
_LEASE_MARGIN_MS = 30_000
_IN_FLIGHT = """
SELECT t.origin FROM webhook_delivery d JOIN webhook_destination t ON t.id = d.destination_id
 WHERE d.status = 'delivering'
"""
_EXPIRED = "SELECT 1 FROM webhook_delivery WHERE status = 'delivering' AND leased_until <= ? LIMIT 1"
_RELEASE = "UPDATE webhook_delivery SET status = 'pending', next_attempt_at = ?, leased_until = NULL WHERE status = 'delivering'"
_RELEASE_EXPIRED = f"{_RELEASE} AND leased_until <= ?"
# Destinations with something due, the one that has waited longest first; then the test events, which go to paused ones, too.
_DUE_DESTINATIONS = """
SELECT t.id, t.origin, (SELECT min(d.next_attempt_at) FROM webhook_delivery d WHERE d.destination_id = t.id AND d.status = 'pending') AS due
  FROM webhook_destination t
 WHERE t.paused_at IS NULL AND due <= ?
 ORDER BY due
"""
_DUE_DELIVERIES = """
SELECT id FROM webhook_delivery WHERE destination_id = ? AND status = 'pending' AND next_attempt_at <= ? ORDER BY next_attempt_at LIMIT ?
"""
_DUE_TESTS = """
SELECT d.id, t.origin FROM webhook_delivery d JOIN webhook_destination t ON t.id = d.destination_id
 WHERE d.status = 'pending' AND d.file_id IS NULL AND d.next_attempt_at <= ? ORDER BY d.next_attempt_at LIMIT ?
"""
_LEASE = """
UPDATE webhook_delivery SET status = 'delivering', next_attempt_at = NULL, leased_until = ?
 WHERE id = ? AND status = 'pending'
"""
_NEXT_DUE = """
SELECT min(due) FROM (
  SELECT (SELECT min(d.next_attempt_at) FROM webhook_delivery d
           WHERE d.destination_id = t.id AND d.status = 'pending' AND d.next_attempt_at > :now) AS due
    FROM webhook_destination t WHERE t.paused_at IS NULL)
"""
Post = Callable[..., Outcome]


@dataclass(frozen=True)
class Claim:
    """A delivery that this worker may send until `leased_until` (milliseconds since the epoch)."""

    delivery_id: str
    leased_until: int


def release_leases() -> int:
    """Free all deliveries that a worker held when it died; return how many. For the start: the data directory's lock proves it is gone."""
    with write():
        return int(execute(_RELEASE, (clock.now_ms(),)).rowcount)


def claim_due(ctx: Context) -> list[Claim]:
    """Lease what is due now, as far as there is room: `MOST_PER_ORIGIN` to one server, `MOST_IN_FLIGHT` in all.

    Leases that ran out are due again.
    """
    now = clock.now_ms()
    if next(_due(now), None) is None and execute(_EXPIRED, (now,)).fetchone() is None:
        return []  # nobody should wait for the write lock to learn that there is nothing to write
    leased_until = now + ctx.config.webhooks.timeout_seconds * 1000 + _LEASE_MARGIN_MS
    claims: list[Claim] = []
    with write():
        execute(_RELEASE_EXPIRED, (now, now))
        in_flight = Counter(origin for (origin,) in execute(_IN_FLIGHT).fetchall())
        room = MOST_IN_FLIGHT - in_flight.total()
        for delivery_id, origin in _due(now):
            if len(claims) >= room:
                break
            if in_flight[origin] < MOST_PER_ORIGIN and execute(_LEASE, (leased_until, delivery_id)).rowcount:
                claims.append(Claim(delivery_id, leased_until))
                in_flight[origin] += 1
    return claims


def _due(now: int) -> Iterator[tuple[str, str]]:
    """Id and origin of deliveries to claim: test events, then as many of each destination as one server may have in flight."""
    yield from execute(_DUE_TESTS, (now, MOST_IN_FLIGHT)).fetchall()
    for destination_id, origin, _ in execute(_DUE_DESTINATIONS, (now,)).fetchall():
        for (delivery_id,) in execute(_DUE_DELIVERIES, (destination_id, now, MOST_PER_ORIGIN)).fetchall():
            yield delivery_id, origin


def next_due() -> int | None:
    """When the next delivery that waits for its time is due, in milliseconds since the epoch; those that wait for room don't count."""
    due: int | None = execute(_NEXT_DUE, {"now": clock.now_ms()}).fetchone()[0]
    return due


def deliver(ctx: Context, claim: Claim, post: Post = outgoing.post) -> None:
    """Try a claimed delivery once and write down what came of it."""
    delivery: WebhookDelivery | None = (
        WebhookDelivery.select(WebhookDelivery, WebhookDestination)
        .join(WebhookDestination)
        .where(WebhookDelivery.id == claim.delivery_id)
        .first()
    )
    if delivery is None:  # its project was deleted meanwhile
        return
    started_at, attempt_id, body, url = clock.now_ms(), new_id(), delivery.payload.encode(), delivery.destination.url
    signing = webhook_secrets.signing_secrets(delivery.project_id)
    headers = {"Content-Type": "application/json", "User-Agent": f"UploadKit/{__version__}"}
    headers |= webhook_signatures.headers(signing, delivery.event_id, attempt_id, url, body, started_at)
    outcome = post(
        url,
        body,
        headers,
        timeout_seconds=ctx.config.webhooks.timeout_seconds,
        allowed_private_cidrs=ctx.config.webhooks.allowed_private_cidrs,
    )
    attempt = WebhookAttempt(
        id=attempt_id,
        delivery=delivery.id,
        started_at=started_at,
        duration_ms=outcome.duration_ms,
        request_headers=headers,
        status_code=outcome.status_code,
        response_excerpt=outcome.excerpt,
        error=outcome.error,
    )
    _settle(ctx, claim, delivery, attempt, outcome)


def _settle(ctx: Context, claim: Claim, delivery: WebhookDelivery, attempt: WebhookAttempt, outcome: Outcome) -> None:
    """Write down an attempt, and move the delivery on if the lease still held."""
    now = clock.now_ms()
    succeeded = outcome.error is None and outcome.status_code is not None and 200 <= outcome.status_code < 300
    error = None if succeeded else outcome.error or f"The receiver answered {outcome.status_code}"
    again_at = None if succeeded else _again_at(ctx, delivery, outcome, now)
    status = "delivered" if succeeded else "dead" if again_at is None else "pending"
    with write():
        if not WebhookDelivery.select().where(WebhookDelivery.id == delivery.id).exists():
            return
        attempt.save(force_insert=True)
        moved = WebhookDelivery.update(
            status=status,
            attempts=WebhookDelivery.attempts + 1,
            attempts_in_round=WebhookDelivery.attempts_in_round + 1,
            next_attempt_at=again_at,
            leased_until=None,
            last_status_code=outcome.status_code,
            last_error=error,
            delivered_at=now if succeeded else None,
        ).where(
            WebhookDelivery.id == delivery.id,
            WebhookDelivery.status == "delivering",
            WebhookDelivery.leased_until == claim.leased_until,
        )
        if moved.execute():
            _count_for_destination(ctx, delivery, status, now)
    log.info("webhook delivery %s to %s: %s", delivery.id, delivery.destination.origin, error or "delivered")


def _again_at(ctx: Context, delivery: WebhookDelivery, outcome: Outcome, now: int) -> int | None:
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
        return int(email.utils.parsedate_to_datetime(text).timestamp() * 1000) - now
    except (ValueError, TypeError, OverflowError):
        return 0


def _count_for_destination(ctx: Context, delivery: WebhookDelivery, status: str, now: int) -> None:
    """Dead deliveries in a row pause their destination; anything that arrives ends that. Test events that fail say nothing."""
    this = WebhookDestination.id == delivery.destination_id
    if status == "delivered":
        WebhookDestination.update(dead_in_a_row=0, paused_at=None).where(this).execute()
    elif status == "dead" and delivery.file_id is not None:
        WebhookDestination.update(dead_in_a_row=WebhookDestination.dead_in_a_row + 1).where(this).execute()
        most = ctx.config.webhooks.pause_after_dead_deliveries
        paused = WebhookDestination.update(paused_at=now).where(
            this, WebhookDestination.paused_at.is_null(), WebhookDestination.dead_in_a_row >= most
        )
        if paused.execute():
            log.warning(
                "webhooks to %s are paused after %d dead deliveries in a row; 'webhooks resume' goes on", delivery.destination.origin, most
            )
