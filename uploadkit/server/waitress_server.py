"""The HTTP server, waitress: its socket, its settings, and a clean end."""

from __future__ import annotations

import errno
import logging
import resource
import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import waitress
from flask import Flask
from waitress import wasyncore

from uploadkit.config import ServerConfig
from uploadkit.core.errors import ConfigError
from uploadkit.server import connections
from uploadkit.server.connections import Arriving, Channel
from uploadkit.server.request_parser import MOST_FRAMING_BYTES, MOST_HEADER_BYTES
from uploadkit.server.turns import Turns

log = logging.getLogger(__name__)

_LONGEST_DRAIN_SECONDS = 30
_QUIET_SECONDS = 0.25
_MOST_BUFFERED_BYTES = 64 * 1024
# All bodies that are arriving take as much together as so many of the longest ones.
_MOST_BODIES = 128
_CLEANUP_SECONDS = 10
_MOST_DESCRIPTORS = 65_536


def leave_no_core_dump() -> None:
    """Keep what is in memory, keys and secrets among it, out of core dumps; the programs that are started from here do so, too."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


@contextmanager
def bound_socket(server: ServerConfig) -> Iterator[socket.socket]:
    """Take the port before anything else starts, so that a taken one costs nothing. Raises ConfigError."""
    family = socket.AF_INET6 if ":" in server.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((server.host, server.port))
            # Listening at once, lest two that start together both think that the port is theirs. Early callers wait in the queue.
            listener.listen(1024)
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or "not an address of this machine"
            raise ConfigError(
                f"server.port: can't listen on {server.host} port {server.port}: {reason}; free it or set UPLOADKIT_SERVER__PORT"
            ) from None
        with _held_beside(server):
            yield listener


# Where browsers look first for a name, "localhost" say, that leads to these addresses, too.
_BESIDE = {"127.0.0.1": "::1", "localhost": "::1", "0.0.0.0": "::"}  # noqa: S104


@contextmanager
def _held_beside(server: ServerConfig) -> Iterator[None]:
    """Hold the port on the IPv6 address that goes with ours, where nobody answers: another user's server there would get our visitors.

    What is bound and does not listen refuses connections, and clients go on to our address.
    """
    address = _BESIDE.get(server.host)
    with ExitStack() as stack:
        try:
            if address is not None:
                held = stack.enter_context(socket.socket(socket.AF_INET6, socket.SOCK_STREAM))
                held.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                held.bind((address, server.port))
        except OSError as error:  # most often there is no IPv6 here
            if error.errno == errno.EADDRINUSE:
                log.warning(
                    "SECURITY: another program has port %d on [%s]: it gets visitors of names such as localhost", server.port, address
                )
        yield


@contextmanager
def running_server(app: Flask, server: ServerConfig, listener: socket.socket) -> Iterator[None]:
    """Serve `app` in a thread; at the end stop accepting, finish what is in flight, then close."""
    wsgi: Any = waitress.create_server(
        app,
        sockets=[listener],
        threads=server.threads,
        ident="UploadKit",
        # Small writes each wake the main loop; this many bytes at once gave 20 times the throughput.
        send_bytes=18_000,
        connection_limit=connections.MOST_CONNECTIONS,
        # select() fails for good once a descriptor is over 1023, and the database and the store have some, too.
        asyncore_use_poll=True,
        channel_timeout=60,
        cleanup_interval=_CLEANUP_SECONDS,
        max_request_header_size=MOST_HEADER_BYTES,
        # With the framing of chunks as small as they come; how long the body itself may be, CarefulParser knows.
        max_request_body_size=8 * server.max_body_bytes + MOST_FRAMING_BYTES,
        # Bodies and answers that are longer than this wait in a file without a name: there may be one of each connection.
        inbuf_overflow=_MOST_BUFFERED_BYTES,
        outbuf_overflow=_MOST_BUFFERED_BYTES,
        # X-Forwarded-* is judged by web/forwarded.py, which knows networks and not just one address.
        clear_untrusted_proxy_headers=False,
        expose_tracebacks=False,
    )
    arriving = Arriving(_MOST_BODIES * server.max_body_bytes)
    wsgi.channel_class = partial(Channel, most_body_bytes=server.max_body_bytes, arriving=arriving)
    wsgi.task_dispatcher.queue = Turns()  # empty still: nobody has been listened to
    wsgi.handle_accept = partial(connections.accept_several, wsgi, wsgi.handle_accept)
    wsgi.add_task = partial(Channel.begin, add_task=wsgi.task_dispatcher.add_task)
    wsgi.maintenance = partial(connections.drop_the_slow, wsgi, wsgi.maintenance)
    _allow_descriptors()
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


def _allow_descriptors() -> None:
    """Make room for all connections, and the files and the store's connections beside them: many systems begin with 1,024 in all."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _stop_accepting(wsgi: Any) -> None:
    """Take in the connections that the kernel has already accepted for us, then stop listening."""
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
