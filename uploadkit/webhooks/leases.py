"""Whose turn it is: which deliveries in the outbox are due, which of them there is room for, and the leases on those that are being sent.

A lease stands in the row, so that a second worker leaves the delivery alone; a lease whose holder is gone runs out. Who has room is
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

from uploadkit.context import Context
from uploadkit.core import clock
from uploadkit.db.connection import snapshot, write
from uploadkit.webhooks.queries import deliveries, destinations
from uploadkit.webhooks.queries.destinations import Destination

MOST_IN_FLIGHT = 16
MOST_PER_ORIGIN = 2
MOST_TO_FAILING = MOST_IN_FLIGHT // 4
MOST_TO_UNPROVEN = MOST_IN_FLIGHT - MOST_IN_FLIGHT // 4
# Beyond the time that a receiver has: for signing before the call, and the note after it.
_LEASE_MARGIN_MS = 30_000


@dataclass(frozen=True)
class Lease:
    """A delivery that this worker may send until `until_ms` (milliseconds, by `clock.carried_on_ms`)."""

    delivery_id: str
    until_ms: int


class _Senders:
    """Which destinations are being called, and which may be called besides."""

    def __init__(self, called: list[Destination]) -> None:
        self._by_destination = Counter(destination.id for destination in called)
        self._by_origin = Counter(destination.origin for destination in called)
        # By project (None: all) and by how the last attempt went.
        self._by_standing: Counter[tuple[str | None, bool | None]] = Counter()
        for destination in called:
            self._by_standing.update([(None, destination.arrived), (destination.project_id, destination.arrived)])

    def have_room_for(self, destination: Destination) -> bool:
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

    def call(self, destination: Destination) -> None:
        self._by_destination[destination.id] += 1
        self._by_origin[destination.origin] += 1
        self._by_standing[None, destination.arrived] += 1
        self._by_standing[destination.project_id, destination.arrived] += 1


def release_all() -> int:
    """Free all deliveries that a worker held when it died; return how many. For the start: the data directory's lock proves it is gone."""
    with write():
        return deliveries.release_all(clock.now_ms())


def lease_due(ctx: Context) -> list[Lease]:
    """Lease what is due now, as far as there is room. Leases that ran out are due again.

    All destinations are looked through, which tenants may have thousands of, so that is done before the write lock is taken. What was
    chosen and is not there any more by then, or not waiting, is left out.
    """
    now, carried_on = clock.now_ms(), clock.carried_on_ms()
    if deliveries.some_leases_expired(carried_on):
        with write():
            deliveries.release_expired(carried_on, now)
    chosen = _chosen(now)
    if not chosen:
        return []  # nobody should wait for the write lock to learn that there is nothing to write
    until_ms = carried_on + ctx.config.webhooks.timeout_seconds * 1000 + _LEASE_MARGIN_MS
    leases: list[Lease] = []
    with write():
        for delivery_id, destination_id in chosen:
            if deliveries.lease(delivery_id, until_ms):
                destinations.set_called(destination_id, now)
                leases.append(Lease(delivery_id, until_ms))
    return leases


def some_are_due() -> bool:
    """Whether anything is due that is not being sent: it waits for room then."""
    return destinations.has_any_something_due(clock.now_ms())


def _chosen(now: int) -> list[tuple[str, str]]:
    """Deliveries that are due and have room, each with its destination's id; of one destination first what people asked for.

    All is read as it is at one moment. Else what another worker leases between the look at what is being sent and the look at what is due
    would count in neither, and both together would send more than there is room for.
    """
    with snapshot():
        return list(_in_turn(now))


def _in_turn(now: int) -> Iterator[tuple[str, str]]:
    senders = _Senders(destinations.being_called())
    waiting: defaultdict[str, deque[tuple[int, Destination]]] = defaultdict(deque)
    for place, destination in enumerate(destinations.with_something_due(now)):
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


def _due(destination: Destination, now: int) -> list[str]:
    found = deliveries.due(destination.id, now, MOST_PER_ORIGIN, by_hand=True)
    if destination.paused_at is None:
        found += deliveries.due(destination.id, now, MOST_PER_ORIGIN, by_hand=False)
    return found


def next_due() -> int | None:
    """When the next delivery that waits for its time is due, in milliseconds since the epoch; those that wait for room don't count."""
    return deliveries.next_due(clock.now_ms())
