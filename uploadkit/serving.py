"""One appliance, from start to stop: lock, database, store, jobs, HTTP server, and a clean end on SIGTERM."""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from urllib.parse import urlsplit

import waitress
from flask import Flask
from waitress import wasyncore

from uploadkit import first_run
from uploadkit.application import create_app
from uploadkit.config import Config, ServerConfig
from uploadkit.context import Context
from uploadkit.db import lock_data_dir
from uploadkit.errors import ConfigError, StorageUnavailable
from uploadkit.jobs import Jobs
from uploadkit.storage.bundled import BundledStore
from uploadkit.storage.s3 import ObjectStore, StoreAddress, byos_address

log = logging.getLogger(__name__)

_LONGEST_DRAIN_SECONDS = 30
_QUIET_SECONDS = 0.25


def serve(config: Config, announce: Callable[[Context, first_run.Start], None]) -> None:
    """Run the appliance until SIGTERM or SIGINT; `announce` is called once it answers. Raises ConfigError."""
    os.umask(0o077)
    asked_to_stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: asked_to_stop.set())
    with ExitStack() as stack:
        stack.enter_context(lock_data_dir(config.data_dir))
        listener = stack.enter_context(_bound_socket(config.server))
        start = first_run.prepare(config)
        ctx = Context(config, stack.enter_context(_running_store(config)))
        jobs = Jobs(ctx)
        stack.callback(jobs.stop)
        with _running_server(create_app(ctx), config.server, listener):
            jobs.start()
            announce(ctx, start)
            asked_to_stop.wait()
            log.info("stopping: requests in flight are finished first")
    log.info("stopped")


@contextmanager
def _bound_socket(server: ServerConfig) -> Iterator[socket.socket]:
    """Take the port before anything else starts, so that a taken one costs nothing."""
    family = socket.AF_INET6 if ":" in server.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((server.host, server.port))
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or "not an address of this machine"
            raise ConfigError(
                f"server.port: can't listen on {server.host} port {server.port}: {reason}; free it or set UPLOADKIT_SERVER__PORT"
            ) from None
        yield listener


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


@contextmanager
def _running_server(app: Flask, server: ServerConfig, listener: socket.socket) -> Iterator[None]:
    """Serve `app` in a thread; at the end stop accepting, finish what is in flight, then close."""
    wsgi: Any = waitress.create_server(
        app,
        sockets=[listener],
        threads=server.threads,
        ident="UploadKit",
        # Small writes each wake the main loop; this many bytes at once gave 20 times the throughput (operations.md).
        send_bytes=18_000,
        connection_limit=1_000,
        channel_timeout=60,
        # Flask answers 413 in JSON at max_body_bytes; waitress would answer in plain text.
        max_request_body_size=server.max_body_bytes + 16 * 1024**2,
        # X-Forwarded-* is judged by web/auth.py, which knows networks and not just one address.
        clear_untrusted_proxy_headers=False,
        expose_tracebacks=False,
    )
    thread = threading.Thread(target=wsgi.run, name="http", daemon=True)
    thread.start()
    try:
        yield
    finally:
        wsgi.trigger.pull_trigger(lambda: _stop_accepting(wsgi))
        _wait_until_quiet(wsgi)
        wsgi.trigger.pull_trigger(lambda: wasyncore.close_all(wsgi._map))
        wsgi.task_dispatcher.shutdown(timeout=1)
        thread.join(timeout=5)


def _stop_accepting(wsgi: Any) -> None:
    """Take in the connections that the kernel has already accepted for us, then close the door."""
    while select.select([wsgi.socket], [], [], 0)[0]:
        wsgi.handle_accept()
    wasyncore.dispatcher.close(wsgi)


def _wait_until_quiet(wsgi: Any) -> None:
    """Wait until no request has been in flight for a moment: one that was sent just now may still be on its way to us."""
    until = time.monotonic() + _LONGEST_DRAIN_SECONDS
    last_busy = time.monotonic()
    while (now := time.monotonic()) < min(until, last_busy + _QUIET_SECONDS):
        dispatcher, channels = wsgi.task_dispatcher, list(wsgi.active_channels.values())
        if dispatcher.queue or dispatcher.active_count or any(c.requests or c.total_outbufs_len for c in channels):
            last_busy = now
        time.sleep(0.02)
