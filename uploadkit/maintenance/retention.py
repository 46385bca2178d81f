"""What is forgotten, and when: events, finished webhook deliveries with their attempts, and the rows of deleted and failed files go
`housekeeping.history_days` after the fact, and destinations that nothing refers to. The monthly usage stays, and
so does the audit trail, but for the oldest entries of a project that has very many.

What anybody can make much of goes earlier (`forget_early`): what browsers began and nothing came of, uploads beyond the newest ones that
failed (and may have been deleted then), test events of webhooks, and what is kept of the sandbox beyond the newest.

A batch at a time, each in a transaction of its own: an interruption costs nothing, and nobody waits long for the write lock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from uploadkit.context import Context
from uploadkit.core import clock
from uploadkit.db import batches
from uploadkit.db.connection import write
from uploadkit.maintenance.queries import retention as queries
from uploadkit.projects import quotas

_BATCH = 200
KEPT_OF_BROWSERS_MS = clock.DAY_MS
KEPT_TEST_EVENTS_MS = clock.DAY_MS
MOST_FAILED = 10_000
MOST_AUDITED = 200_000
MOST_IN_SANDBOX = 20_000


def forget_early(ctx: Context) -> int:
    """Remove what would pile up if it were kept as long as the rest; return how many rows went. Stops between steps when asked to."""
    now = clock.now_ms()
    gone = 0
    while not ctx.stopping.is_set() and (numbers := queries.failed_of_browsers(now - KEPT_OF_BROWSERS_MS, _BATCH)):
        gone += _forget_with_events(numbers)
    for project_id, environment in _scopes():
        gone += _forget_failed_beyond(ctx, project_id, environment)
    gone += _delete(ctx, partial(queries.forget_test_events, now - KEPT_TEST_EVENTS_MS))
    for project_id in queries.all_projects():
        gone += _delete(ctx, partial(queries.forget_audit, project_id, MOST_AUDITED))
        gone += _forget_in_sandbox_beyond(ctx, project_id)
    return gone + _delete(ctx, queries.forget_destinations)


def _forget_in_sandbox_beyond(ctx: Context, project_id: str) -> int:
    """The sandbox is emptied each day, and may be filled anew: what its log and its webhooks tell of would be kept for all the days."""
    until = queries.newest_in_sandbox_beyond(MOST_IN_SANDBOX, project_id)
    if until is None:
        return 0
    events = _delete(ctx, partial(queries.forget_events_in_sandbox, project_id, until))
    return events + _delete(ctx, partial(queries.forget_deliveries_in_sandbox, project_id, until))


def _forget_failed_beyond(ctx: Context, project_id: str, environment: str) -> int:
    until = queries.newest_failed_beyond(MOST_FAILED, project_id, environment)
    if until is None:
        return 0
    return _walked(ctx, partial(queries.failed_until, project_id, environment, until), _forget_with_events)


def _forget_with_events(numbers: Sequence[int]) -> int:
    """Remove rows of failed uploads with all that tells of them, but for deliveries that are still on their way."""
    with write():
        queries.forget_events_and_deliveries_of(numbers)
        return _remove_rows(numbers)


def forget(ctx: Context) -> int:
    """Remove what is older than the configuration wants it kept; return how many rows went. Stops between steps when asked to."""
    days = ctx.config.housekeeping.history_days
    if days is None:
        return 0
    before = clock.now_ms() - days * clock.DAY_MS
    gone = _delete(ctx, partial(queries.forget_events, before))
    for project_id, environment in _scopes():
        gone += _delete(ctx, partial(queries.forget_deliveries, project_id, environment, before))
        for ended in (queries.deleted_files, queries.failed_files):
            gone += _walked(ctx, partial(ended, project_id, environment, before), remove_rows)
    return gone + _delete(ctx, queries.forget_destinations)


def _scopes() -> Iterator[tuple[str, str]]:
    for project_id in queries.present_projects():
        yield project_id, "live"
        yield project_id, "test"


def _delete(ctx: Context, forget_some: Callable[[int], int]) -> int:
    return batches.change_all(forget_some, ctx.stopping, _BATCH)


def _walked(ctx: Context, some_after: Callable[[int, int], list[int]], remove: Callable[[Sequence[int]], int]) -> int:
    """Have `remove` take the rows of files that `some_after` gives after a number: in one walk through them, oldest first."""
    gone, seen = 0, -1
    while not ctx.stopping.is_set() and (numbers := some_after(seen, _BATCH)):
        gone += remove(numbers)
        seen = numbers[-1]
    return gone


def remove_rows(numbers: Sequence[int]) -> int:
    """Remove the rows of files that are DELETED or FAILED and swept, those of `numbers` that still are; return how many went."""
    with write():
        return _remove_rows(numbers)


def _remove_rows(numbers: Sequence[int]) -> int:
    found = queries.removable(numbers)
    for file in found:
        quotas.remember_purged(file)
    return queries.remove_files([file.number for file in found])
