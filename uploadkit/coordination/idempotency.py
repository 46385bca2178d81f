"""Idempotency keys: a repeated POST answers what the first one made, instead of making it twice.

Only what was made is remembered, in the very transaction that makes it: a failure, a crash or a 503 leaves nothing behind, and the next
try starts afresh. That a first try still runs is known from its lock, which can't outlive it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from threading import Event
from typing import Any, TypeVar

import orjson

from uploadkit.coordination.locks import Locks
from uploadkit.core import clock
from uploadkit.core.errors import Conflict, IdempotencyConflict, ValidationFailed
from uploadkit.db.connection import execute, write
from uploadkit.db.models import database

KEPT_MS = 24 * 3600_000
_BATCH = 1_000
_FORM = re.compile(r"[\x20-\x7e]{1,255}")
_FIND = """
SELECT body_hash, resource_id FROM idempotency
 WHERE api_key_id = ? AND endpoint = ? AND idempotency_key = ? AND created_at > ?
"""
_KEEP = "INSERT OR REPLACE INTO idempotency VALUES (?, ?, ?, ?, ?, ?)"
_PURGE = """
DELETE FROM idempotency WHERE (api_key_id, endpoint, idempotency_key) IN
  (SELECT api_key_id, endpoint, idempotency_key FROM idempotency WHERE created_at <= ? ORDER BY created_at LIMIT ?)
"""
# Of the keys of one project; more are forgotten before their time, the oldest first.
MOST_KEPT = 100_000
_BEYOND = """
SELECT created_at FROM idempotency WHERE api_key_id IN (SELECT id FROM api_key WHERE project_id = ?)
 ORDER BY created_at DESC LIMIT 1 OFFSET ?
"""
_FORGET_BEYOND = """
DELETE FROM idempotency WHERE (api_key_id, endpoint, idempotency_key) IN
  (SELECT api_key_id, endpoint, idempotency_key FROM idempotency
    WHERE created_at <= ? AND api_key_id IN (SELECT id FROM api_key WHERE project_id = ?) ORDER BY created_at LIMIT ?)
"""
T = TypeVar("T")
# A service calls this with the id of what it makes, inside the transaction that makes it.
Remember = Callable[[str], None]


@dataclass(frozen=True)
class Attempt:
    """One try at a call that may be repeated. `endpoint` is method and path; `body_hash` says whether two tries ask for the same."""

    api_key_id: str
    endpoint: str
    idempotency_key: str
    body_hash: str


def forget(resource_id: str) -> None:
    """Remember nothing: what services are given for a call without an Idempotency-Key."""


def attempt_of(api_key_id: str, endpoint: str, idempotency_key: str, body: Any) -> Attempt:
    """Return the attempt that a request stands for; `body` is its JSON, of which neither order nor white space counts.

    Raises ValidationFailed when the Idempotency-Key is not 1 to 255 printable ASCII characters.
    """
    if not _FORM.fullmatch(idempotency_key):
        words = "must be 1 to 255 printable ASCII characters"
        raise ValidationFailed(
            f"Idempotency-Key {words}", "Send a random UUID, a new one for each thing to make", details={"Idempotency-Key": [words]}
        )
    body_hash = hashlib.sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).hexdigest()
    return Attempt(api_key_id, endpoint, idempotency_key, body_hash)


def run_once(locks: Locks, attempt: Attempt, first: Callable[[Remember], T], again: Callable[[str], T]) -> T:
    """Call `first` with what it reports to, or `again` with the id of what an earlier attempt made.

    Raises IdempotencyConflict when the earlier attempt still runs or had another body, and whatever the two raise.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(locks.held(f"{attempt.api_key_id} {attempt.endpoint} {attempt.idempotency_key}", wait_seconds=0))
        except Conflict:
            raise IdempotencyConflict(
                "The first request with this Idempotency-Key is still running", "Repeat the call in a moment; it is safe"
            ) from None
        made = _made_before(attempt)
        return first(partial(_keep, attempt)) if made is None else again(made)


def _made_before(attempt: Attempt) -> str | None:
    scope = (attempt.api_key_id, attempt.endpoint, attempt.idempotency_key)
    row = execute(_FIND, (*scope, clock.now_ms() - KEPT_MS)).fetchone()
    if row is None:
        return None
    body_hash, resource_id = row
    if body_hash != attempt.body_hash:
        raise IdempotencyConflict(
            "This Idempotency-Key came before with another body", "Use a new key for each thing to make; repeat a call unchanged"
        )
    return str(resource_id)


def _keep(attempt: Attempt, resource_id: str) -> None:
    if not database.in_transaction():
        raise RuntimeError("what an attempt made is remembered in the transaction that makes it")
    scope = (attempt.api_key_id, attempt.endpoint, attempt.idempotency_key)
    execute(_KEEP, (*scope, attempt.body_hash, resource_id, clock.now_ms()))


def purge_expired(stopping: Event) -> int:
    """Remove what is older than 24 hours, and of each project all but the newest; return how many attempts that were."""
    removed = _remove(stopping, _PURGE, clock.now_ms() - KEPT_MS)
    for (project_id,) in execute("SELECT id FROM project").fetchall():
        newest = execute(_BEYOND, (project_id, MOST_KEPT)).fetchone()
        if newest is not None:
            removed += _remove(stopping, _FORGET_BEYOND, newest[0], project_id)
    return removed


def _remove(stopping: Event, sql: str, *values: str | int) -> int:
    """Execute a deletion in short transactions until there is nothing left of it; return how many went."""
    removed, count = 0, _BATCH
    while count == _BATCH and not stopping.is_set():
        with write():
            count = execute(sql, (*values, _BATCH)).rowcount
        removed += count
    return removed
