"""When a webhook is tried again: after each failure a pause of the schedule, or a longer one that the receiver asks for."""

from __future__ import annotations

import email.utils
import re
from collections.abc import Sequence
from datetime import UTC

from uploadkit.core import clock

LONGEST_RETRY_AFTER_MS = clock.DAY_MS


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
