"""Webhook deliveries per second: a backlog to one receiver and to eight, beside the same POSTs sent bare.

Ours reads the outbox, checks the address, signs twice, and writes each attempt down; the bare ones are only sent, as many at a time and
each on a connection of its own, as ours are.
"""

from __future__ import annotations

import http.client
import itertools
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from urllib.parse import urlsplit

from bench.app import SMALL, add_route, app
from bench.measure import Effort, Figure, figure, in_turns, seconds_of
from tests.support.appliance import Appliance, wait_until
from tests.support.receivers import Handler, Received, Receiver, ok, receiving
from uploadkit.webhooks.leases import MOST_IN_FLIGHT, MOST_PER_ORIGIN

PER_SECOND = 60  # deliveries to prepare for each second that a round should last


class Relay:
    """A receiver's answer that waits until it is opened: so a backlog builds up behind it."""

    def __init__(self) -> None:
        self.opened = threading.Event()

    def __call__(self, handler: Handler, received: Received) -> None:
        """Answer as soon as the relay is open."""
        self.opened.wait(60)
        ok(handler, received)


def measure(effort: Effort) -> list[Figure]:
    """Build up backlogs and let them go."""
    return [_delivered(effort, 1), _delivered(effort, 8)]


def _delivered(effort: Effort, receivers: int) -> Figure:
    count, at_once = int(PER_SECOND * effort.seconds), min(receivers * MOST_PER_ORIGIN, MOST_IN_FLIGHT)
    with ExitStack() as stack:
        appliance, relay = stack.enter_context(app()), Relay()
        found = [stack.enter_context(receiving(relay)) for _ in range(receivers)]
        routes = [add_route(appliance, receiver, f"route{number}") for number, receiver in enumerate(found)]
        rates = in_turns(effort, lambda: _ours(appliance, routes, found, relay, count), lambda: _bare(found, count, at_once))
    to = "one receiver" if receivers == 1 else f"{receivers} receivers"
    return figure(f"webhooks to {to}", f"bare POSTs, {at_once} at once", "/s", rates)


def _ours(appliance: Appliance, routes: list[str], receivers: list[Receiver], relay: Relay, count: int) -> float:
    relay.opened.clear()
    before = _received(receivers)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda number: appliance.upload(SMALL, routeSlug=routes[number % len(routes)]), range(count)))
    begun = time.perf_counter()
    relay.opened.set()
    wait_until(lambda: _received(receivers) == before + count and not _waiting(appliance), 120, "all deliveries")
    return count / (time.perf_counter() - begun)


def _bare(receivers: list[Receiver], count: int, at_once: int) -> float:
    """Send the same bodies again."""
    body = receivers[0].received[0].body

    def send(receiver: Receiver) -> None:
        parts = urlsplit(receiver.url)
        with closing(http.client.HTTPConnection(parts.netloc)) as connection:
            connection.request("POST", parts.path, body, {"Content-Type": "application/json"})
            assert connection.getresponse().read() == b"ok"

    with ThreadPoolExecutor(at_once) as threads:
        return count / seconds_of(lambda: list(threads.map(send, itertools.islice(itertools.cycle(receivers), count))))


def _received(receivers: list[Receiver]) -> int:
    return sum(len(receiver.received) for receiver in receivers)


def _waiting(appliance: Appliance) -> bool:
    return any(appliance.call("GET", f"/webhooks/deliveries?limit=1&status={status}").json["items"] for status in ("pending", "delivering"))
