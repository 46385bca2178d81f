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

from uploadkit.coordination import queries
from uploadkit.coordination.locks import Locks
from uploadkit.core import clock
from uploadkit.core.errors import Conflict, IdempotencyConflict, ValidationFailed
from uploadkit.db.batches import change_all
from uploadkit.db.connection import require_transaction

KEPT_MS = clock.DAY_MS
_BATCH = 1_000
_FORM = re.compile(r"[\x20-\x7e]{1,255}")
# Of the keys of one project; more are forgotten before their time, the oldest first.
MOST_KEPT = 100_000
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

    @property
    def scope(self) -> queries.Scope:
        """What tells it from all other calls."""
        return self.api_key_id, self.endpoint, self.idempotency_key


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
            stack.enter_context(locks.held(" ".join(attempt.scope), wait_seconds=0))
        except Conflict:
            raise IdempotencyConflict(
                "The first request with this Idempotency-Key is still running", "Repeat the call in a moment; it is safe"
            ) from None
        made = _made_before(attempt)
        return first(partial(_keep, attempt)) if made is None else again(made)


def _made_before(attempt: Attempt) -> str | None:
    found = queries.find(attempt.scope, clock.now_ms() - KEPT_MS)
    if found is None:
        return None
    body_hash, resource_id = found
    if body_hash != attempt.body_hash:
        raise IdempotencyConflict(
            "This Idempotency-Key came before with another body", "Use a new key for each thing to make; repeat a call unchanged"
        )
    return resource_id


def _keep(attempt: Attempt, resource_id: str) -> None:
    require_transaction("what an attempt made is remembered in the transaction that makes it")
    queries.keep(attempt.scope, attempt.body_hash, resource_id, clock.now_ms())


def purge_expired(stopping: Event) -> int:
    """Remove what is older than 24 hours, and of each project all but the newest; return how many attempts that were."""
    removed = change_all(partial(queries.purge, clock.now_ms() - KEPT_MS), stopping, _BATCH)
    for project_id in queries.project_ids():
        newest = queries.newest_beyond(project_id, MOST_KEPT)
        if newest is not None:
            removed += change_all(partial(queries.purge_of_project, project_id, newest), stopping, _BATCH)
    return removed
