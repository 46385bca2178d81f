"""The threads behind webhooks: one that waits for the next due delivery, and a few that send.

No polling lag: `wake` is called when a delivery was committed, and the wait ends at the very time of the next retry. What the command line
adds from another process is found within `LOOK_AGAIN_SECONDS`.
"""

from __future__ import annotations

import logging
import queue
import threading

from uploadkit.context import Context
from uploadkit.core import clock
from uploadkit.db import connection
from uploadkit.db.faults import CannotNow
from uploadkit.webhooks import delivery as webhook_delivery
from uploadkit.webhooks import leases
from uploadkit.webhooks.leases import Lease

log = logging.getLogger(__name__)

LOOK_AGAIN_SECONDS = 2
# What is called by everybody's receivers must not take all of a core: of the time of this thread, looking has a quarter at most.
_REST_TIMES = 3
_SHORT_LOOK_MS = 20
# Deliveries in flight at the end get so long; one that is cut off is sent again after the next start.
_GRACE_SECONDS = 5


class Dispatcher:
    """Delivers what is in the outbox of one appliance, from `start` to `stop`."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._woken = threading.Event()
        self._stopping = threading.Event()
        self._some_wait_for_room = False
        self._leases: queue.SimpleQueue[Lease | None] = queue.SimpleQueue()
        self._waiter = threading.Thread(target=self._hand_over_until_stopped, name="webhooks", daemon=True)
        self._senders = [
            threading.Thread(target=self._send_until_stopped, name=f"webhook-sender-{number}", daemon=True)
            for number in range(leases.MOST_IN_FLIGHT)
        ]

    @property
    def running(self) -> bool:
        """Whether deliveries are handed over."""
        return self._waiter.is_alive()

    def start(self) -> None:
        """Take back what was in flight when the appliance died, then begin."""
        released = leases.release_all()
        if released:
            log.info("%d webhook deliveries were in flight at the last stop; they are sent again", released)
        for thread in (*self._senders, self._waiter):
            thread.start()

    def wake(self) -> None:
        """Have the outbox looked at now."""
        self._woken.set()

    def stop(self) -> None:
        """Hand over nothing more, and give what is in flight a few seconds."""
        self._stopping.set()
        if not self.running:
            return
        self._woken.set()
        self._waiter.join()
        for _ in self._senders:
            self._leases.put(None)
        until = clock.monotonic_ms() + _GRACE_SECONDS * 1000
        for sender in self._senders:
            sender.join(max(0, until - clock.monotonic_ms()) / 1000)

    def _hand_over_until_stopped(self) -> None:
        while True:
            # Whatever is added from here on sets it again, so nothing that is added while we look is left lying.
            self._woken.clear()
            if self._stopping.is_set():
                break
            began = clock.monotonic_ms()
            try:
                seconds = self._hand_over()
                self._rest(clock.monotonic_ms() - began)
                self._woken.wait(seconds)
            except CannotNow as error:  # locked by another process, disk full: it passes
                log.warning("webhooks could not be handed over; trying again: %s", error)
                self._woken.wait(LOOK_AGAIN_SECONDS)
            except Exception:
                log.exception("webhooks could not be handed over; trying again")
                self._woken.wait(LOOK_AGAIN_SECONDS)
        connection.close_own()

    def _hand_over(self) -> float:
        """Give what is due to the senders; return how many seconds to wait unless somebody wakes us."""
        self._some_wait_for_room = True  # for all that a sender knows who is done while we look
        for lease in leases.lease_due(self._ctx):
            self._leases.put(lease)
        self._some_wait_for_room = leases.some_are_due()
        due = leases.next_due()
        return LOOK_AGAIN_SECONDS if due is None else min(max(due - clock.now_ms(), 0) / 1000, LOOK_AGAIN_SECONDS)

    def _rest(self, looked_ms: int) -> None:
        """After a long look through very many destinations, leave the core to others, though somebody wakes us."""
        if looked_ms > _SHORT_LOOK_MS:
            self._stopping.wait(min(_REST_TIMES * looked_ms / 1000, LOOK_AGAIN_SECONDS))

    def _send_until_stopped(self) -> None:
        while (lease := self._leases.get()) is not None:
            arrived = False
            try:
                arrived = webhook_delivery.deliver(self._ctx, lease)
            except CannotNow as error:  # its lease runs out, and it is tried again
                log.warning("webhook delivery %s could not be noted: %s", lease.delivery_id, error)
            except Exception:
                log.exception("webhook delivery %s could not be tried or noted", lease.delivery_id)
            if self._some_wait_for_room or not arrived:  # there is room for another one, or a time to try this one again
                self.wake()
        connection.close_own()
