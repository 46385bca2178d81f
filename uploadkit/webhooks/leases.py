"""Whose turn it is: which deliveries in the outbox are due, which of them there is room for, and the leases on those that are being sent.

A claim is a lease in the row, so that a second worker leaves the delivery alone and a claim whose holder is gone runs out. Who has room is
read from the rows as well. Leases run by a clock that nobody sets: by one that is put forward, two workers would send the same. They end
with the process, too, so the next one may carry on another time.

The rule: two at a time to one server; one to a destination where nothing arrived at the last attempt. Destinations where it failed share
a quarter of the senders, and a quarter is kept for those where it arrived. Of all that have room, the one called longest ago is next. So
nobody is held up by receivers that hang, whatever their number and backlog, nor by another project behind the same server.

Of each of these shares one project gets three quarters at most, the next place is for the project that has the fewest, and of the last
quarter something is left for projects that have none: a tenant decides how many receivers there are, how they hang, and whether they say
200 after that.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from uploadkit.context import Context
from uploadkit.core import clock
from uploadkit.db.connection import execute, write

MOST_IN_FLIGHT = 16
MOST_PER_ORIGIN = 2
MOST_TO_FAILING = MOST_IN_FLIGHT // 4
MOST_TO_UNPROVEN = MOST_IN_FLIGHT - MOST_IN_FLIGHT // 4
# Beyond the time that a receiver has: for signing before the call, and the note after it.
_LEASE_MARGIN_MS = 30_000
_IN_FLIGHT = """
SELECT t.id, t.origin, t.arrived, t.paused_at, t.project_id FROM webhook_delivery d JOIN webhook_destination t ON t.id = d.destination_id
 WHERE d.status = 'delivering'
"""
_EXPIRED = "SELECT 1 FROM webhook_delivery WHERE status = 'delivering' AND leased_until <= ? LIMIT 1"
_RELEASE = "UPDATE webhook_delivery SET status = 'pending', next_attempt_at = ?, leased_until = NULL WHERE status = 'delivering'"
_RELEASE_EXPIRED = f"{_RELEASE} AND leased_until <= ?"
# Destinations with something due, the one that was called longest ago first; paused ones have only what people asked for.
_WITH_SOMETHING_DUE = """
SELECT {columns} FROM webhook_destination t
 WHERE EXISTS (SELECT 1 FROM webhook_delivery d WHERE d.destination_id = t.id AND d.status = 'pending' AND d.next_attempt_at <= :now
                AND t.paused_at IS NULL)
    OR EXISTS (SELECT 1 FROM webhook_delivery d WHERE d.destination_id = t.id AND d.status = 'pending' AND d.next_attempt_at <= :now
                AND d.by_hand = 1)
 {rest}
"""
_SOME_DUE = _WITH_SOMETHING_DUE.format(columns="1", rest="LIMIT 1")
_DUE_DESTINATIONS = _WITH_SOMETHING_DUE.format(
    columns="t.id, t.origin, t.arrived, t.paused_at, t.project_id", rest="ORDER BY t.called_at, t.id"
)
_DUE = """
SELECT id FROM webhook_delivery
 WHERE destination_id = :destination AND status = 'pending' AND by_hand = {by_hand} AND next_attempt_at <= :now
 ORDER BY next_attempt_at LIMIT :most
"""
_DUE_BY_HAND, _DUE_BY_ITSELF = _DUE.format(by_hand=1), _DUE.format(by_hand=0)
_LEASE = """
UPDATE webhook_delivery SET status = 'delivering', next_attempt_at = NULL, leased_until = ?
 WHERE id = ? AND status = 'pending'
"""
_CALLED = "UPDATE webhook_destination SET called_at = ? WHERE id = ?"
_NEXT_DUE = """
SELECT min(due) FROM (
  SELECT (SELECT min(d.next_attempt_at) FROM webhook_delivery d
           WHERE d.destination_id = t.id AND d.status = 'pending' AND d.next_attempt_at > :now) AS due
    FROM webhook_destination t WHERE t.paused_at IS NULL)
"""


@dataclass(frozen=True)
class Claim:
    """A delivery that this worker may send until `leased_until` (milliseconds, by `clock.carried_on_ms`)."""

    delivery_id: str
    leased_until: int


class _Destination(NamedTuple):
    """Where a delivery goes. `arrived` says whether the last attempt there did; None: there was none."""

    id: str
    origin: str
    arrived: bool | None
    paused_at: int | None
    project_id: str


class _Senders:
    """Which destinations are being called, and which may be called besides."""

    def __init__(self, called: list[_Destination]) -> None:
        self._by_destination = Counter(destination.id for destination in called)
        self._by_origin = Counter(destination.origin for destination in called)
        # By project (None: all) and by how the last attempt went.
        self._by_standing: Counter[tuple[str | None, bool | None]] = Counter()
        for destination in called:
            self._by_standing.update([(None, destination.arrived), (destination.project_id, destination.arrived)])

    def have_room_for(self, destination: _Destination) -> bool:
        return (
            self._by_origin[destination.origin] < MOST_PER_ORIGIN
            and (bool(destination.arrived) or self._by_destination[destination.id] == 0)
            and self._fits(destination.project_id, MOST_IN_FLIGHT, True, None, False)
            and (bool(destination.arrived) or self._fits(destination.project_id, MOST_TO_UNPROVEN, None, False))
            and (destination.arrived is not False or self._fits(destination.project_id, MOST_TO_FAILING, False))
        )

    def _fits(self, project_id: str, most: int, *standings: bool | None) -> bool:
        """Whether a project may have one more of the `most` senders for destinations of these `standings`.

        Of the last quarter, each is for a project that has fewer than there are left.
        """
        own, everyones = (sum(self._by_standing[whose, standing] for standing in standings) for whose in (project_id, None))
        return 4 * own < 3 * most and everyones + min(own, most // 4) < most

    def of_project(self, project_id: str) -> int:
        return sum(self._by_standing[project_id, standing] for standing in (True, None, False))

    def call(self, destination: _Destination) -> None:
        self._by_destination[destination.id] += 1
        self._by_origin[destination.origin] += 1
        self._by_standing[None, destination.arrived] += 1
        self._by_standing[destination.project_id, destination.arrived] += 1


def release_leases() -> int:
    """Free all deliveries that a worker held when it died; return how many. For the start: the data directory's lock proves it is gone."""
    with write():
        return int(execute(_RELEASE, (clock.now_ms(),)).rowcount)


def claim_due(ctx: Context) -> list[Claim]:
    """Lease what is due now, as far as there is room. Leases that ran out are due again.

    All destinations are looked through, which tenants may have thousands of, so that is done before the write lock is taken. What was
    chosen and is not there any more by then, or not waiting, is left out.
    """
    now, carried_on = clock.now_ms(), clock.carried_on_ms()
    if execute(_EXPIRED, (carried_on,)).fetchone() is not None:
        with write():
            execute(_RELEASE_EXPIRED, (now, carried_on))
    chosen = list(_chosen(now))
    if not chosen:
        return []  # nobody should wait for the write lock to learn that there is nothing to write
    leased_until = carried_on + ctx.config.webhooks.timeout_seconds * 1000 + _LEASE_MARGIN_MS
    claims: list[Claim] = []
    with write():
        for delivery_id, destination_id in chosen:
            if execute(_LEASE, (leased_until, delivery_id)).rowcount:
                execute(_CALLED, (now, destination_id))
                claims.append(Claim(delivery_id, leased_until))
    return claims


def some_are_due() -> bool:
    """Whether anything is due that is not being sent: it waits for room then."""
    return execute(_SOME_DUE, {"now": clock.now_ms()}).fetchone() is not None


def _chosen(now: int) -> Iterator[tuple[str, str]]:
    """Deliveries that are due and have room, each with its destination's id; of one destination first what people asked for."""
    senders = _Senders([_read(row) for row in execute(_IN_FLIGHT).fetchall()])
    waiting: defaultdict[str, deque[tuple[int, _Destination]]] = defaultdict(deque)
    for place, row in enumerate(execute(_DUE_DESTINATIONS, {"now": now}).fetchall()):
        destination = _read(row)
        waiting[destination.project_id].append((place, destination))
    # The project with the fewest calls under way, and of those that are equal the destination that was called longest ago.
    turns = [(senders.of_project(project_id), queue[0][0], project_id) for project_id, queue in waiting.items()]
    heapq.heapify(turns)
    while turns:
        _, _, project_id = heapq.heappop(turns)
        _, destination = waiting[project_id].popleft()
        if senders.have_room_for(destination):
            for delivery_id in _due(destination, now):
                if senders.have_room_for(destination):
                    senders.call(destination)
                    yield delivery_id, destination.id
        if queue := waiting[project_id]:
            heapq.heappush(turns, (senders.of_project(project_id), queue[0][0], project_id))


def _read(row: tuple[str, str, int | None, int | None, str]) -> _Destination:
    identity, origin, arrived, paused_at, project_id = row
    return _Destination(identity, origin, None if arrived is None else bool(arrived), paused_at, project_id)


def _due(destination: _Destination, now: int) -> list[str]:
    asked = {"destination": destination.id, "now": now, "most": MOST_PER_ORIGIN}
    found = execute(_DUE_BY_HAND, asked).fetchall()
    if destination.paused_at is None:
        found += execute(_DUE_BY_ITSELF, asked).fetchall()
    return [delivery_id for (delivery_id,) in found]


def next_due() -> int | None:
    """When the next delivery that waits for its time is due, in milliseconds since the epoch; those that wait for room don't count."""
    due: int | None = execute(_NEXT_DUE, {"now": clock.now_ms()}).fetchone()[0]
    return due
