"""One appliance, from start to stop: lock, database, store, jobs, HTTP server, and a clean end on SIGTERM."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from urllib.parse import urlsplit

from uploadkit import first_run
from uploadkit.application import create_app
from uploadkit.config import Config
from uploadkit.context import Context
from uploadkit.db import lock_data_dir
from uploadkit.errors import StorageUnavailable
from uploadkit.http_server import bound_socket, running_server
from uploadkit.jobs import Jobs
from uploadkit.rate_limits import RateLimits
from uploadkit.storage.bundled import BundledStore
from uploadkit.storage.s3 import ObjectStore, StoreAddress, byos_address

log = logging.getLogger(__name__)


def serve(config: Config, announce: Callable[[Context, first_run.Start], None]) -> None:
    """Run the appliance until SIGTERM or SIGINT; `announce` is called once it answers. Raises ConfigError."""
    os.umask(0o077)
    asked_to_stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: asked_to_stop.set())
    with ExitStack() as stack:
        stack.enter_context(lock_data_dir(config.data_dir))
        rate_limits = RateLimits(config.rate_limits)
        listener = stack.enter_context(bound_socket(config.server))
        start = first_run.prepare(config)
        if start.api_key:
            first_run.write_note(config, start.api_key)  # whatever happens from here on, the key is not lost
        ctx = Context(config, stack.enter_context(_running_store(config)))
        jobs = Jobs(ctx)
        stack.callback(jobs.stop)
        with running_server(create_app(ctx, rate_limits), config.server, listener):
            jobs.start()
            announce(ctx, start)
            asked_to_stop.wait()
            log.info("stopping: requests in flight are finished first")
    log.info("stopped")


@contextmanager
def _running_store(config: Config) -> Iterator[ObjectStore]:
    """The object store of this configuration: the bundled one is started, and stopped at the end."""
    if config.storage.mode == "byos":
        yield _byos_store(config)
        return
    bundled = BundledStore(
        config.storage.bundled,
        config.data_dir,
        listen_host=config.server.host,
        public_host=urlsplit(config.server.base_url).hostname or "127.0.0.1",
    )
    bundled.start()
    try:
        store = ObjectStore(
            StoreAddress(
                endpoint=bundled.endpoint,
                public_endpoint=bundled.public_endpoint,
                region=bundled.region,
                bucket=bundled.bucket,
                addressing_style="path",
                access_key_id=bundled.access_key_id,
                secret_access_key=bundled.secret_access_key,
            ),
            bundled.problem,
            bundled.outage,
        )
        store.create_bucket()
        store.set_cors(config.storage.bundled.cors_origins)
        yield store
    finally:
        bundled.stop()


def _byos_store(config: Config) -> ObjectStore:
    store = ObjectStore(byos_address(config.storage.byos), may_create_bucket=config.storage.byos.create_bucket)
    try:
        store.probe()
    except StorageUnavailable as error:
        log.warning("the object store can't be used yet: %s; /readyz says when it can", error.message)
    return store
