"""One appliance, from start to stop: lock, database, store, jobs, HTTP server, and a clean end on SIGTERM."""

from __future__ import annotations

import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from uploadkit.auth import passwords
from uploadkit.config import Config
from uploadkit.context import Context
from uploadkit.coordination.rate_limits import RateLimits
from uploadkit.core import cpu_affinity
from uploadkit.core.data_dir import lock_data_dir
from uploadkit.maintenance import store_migration
from uploadkit.maintenance.scheduler import Scheduler
from uploadkit.objectstore.factory import serving_store
from uploadkit.observability import diagnosis
from uploadkit.server import first_run
from uploadkit.server.waitress_server import bound_socket, leave_no_core_dump, running_server
from uploadkit.web.app import create_app

log = logging.getLogger(__name__)


def serve(config: Config, announce: Callable[[Context, first_run.Start], None]) -> None:
    """Run the appliance until SIGTERM or SIGINT; `announce` is called once it answers. Raises ConfigError."""
    os.umask(0o077)
    leave_no_core_dump()
    passwords.leave_threads(config.server.threads)
    if config.server.one_core:
        cpu_affinity.stay()
    with ExitStack() as stack:
        wait_for_stop = stack.enter_context(_stop_signals())
        stack.enter_context(lock_data_dir(config.data_dir))
        rate_limits = RateLimits(config.rate_limits)
        listener = stack.enter_context(bound_socket(config.server))
        start = first_run.prepare(config)
        if start.has_news:
            first_run.write_note(config, start)  # whatever happens from here on, key and link are not lost
        scheduler = Scheduler()
        ctx = Context(config, stack.enter_context(serving_store(config)), scheduler)
        store_migration.arrive(config)
        ctx.store_trust.begin()
        stack.callback(scheduler.stop)
        with running_server(create_app(ctx, rate_limits), config.server, listener):
            scheduler.start(ctx)
            announce(ctx, start)
            diagnosis.warn_of_shared_place(config)
            diagnosis.warn_of_open_bucket(ctx)
            diagnosis.warn_of_reserved_slugs()
            wait_for_stop()
            log.info("stopping: requests in flight are finished first")
    log.info("stopped")


@contextmanager
def _stop_signals() -> Iterator[Callable[[], None]]:
    """Have SIGTERM and SIGINT end nothing by themselves; yield what returns once one of them has come.

    It waits for a byte that the signal itself writes. Python runs handlers in the main thread only, and one that waits for a lock is not
    woken by a signal that came a moment before, or that another thread took. The flag is no Event: a second signal would find it locked.
    """
    asked_to_stop = False

    def ask(*_: object) -> None:
        nonlocal asked_to_stop
        asked_to_stop = True

    woken, wake = socket.socketpair()
    with woken, wake:

        def wait() -> None:
            while not asked_to_stop:
                woken.recv(1)

        wake.setblocking(False)
        signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        try:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, ask)
            yield wait
        finally:
            signal.set_wakeup_fd(-1)
