"""Connections: how many there may be, how long a client may take to send and to read, what of their bodies is kept, how they close."""

from __future__ import annotations

import heapq
import logging
import select
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from waitress.channel import HTTPChannel

from uploadkit.server.request_parser import CarefulParser, JsonErrorTask
from uploadkit.web import surfaces

MOST_CONNECTIONS = 1_000
_SPARE_CONNECTIONS = 20
_MOST_ACCEPTED_AT_ONCE = 16  # fewer than are to spare
_MOST_LOGGED_CHARACTERS = 1024
_LONGEST_REQUEST_SECONDS = 60
_LONGEST_ANSWER_SECONDS = 300


class _RedactingLogger(logging.LoggerAdapter[logging.Logger]):
    """What waitress logs of a connection: without the upload tokens that paths have in them, and of limited length."""

    def process(self, msg: Any, kwargs: Any) -> tuple[Any, Any]:
        """Return what is to be logged instead of `msg`."""
        text = surfaces.redacted(str(msg))
        return text if len(text) <= _MOST_LOGGED_CHARACTERS else f"{text[:_MOST_LOGGED_CHARACTERS]}...", kwargs


class Arriving:
    """How much has arrived of bodies that are not complete yet, of all connections together.

    When that is more than `most_bytes`, the connections that have been sending longest are closed, until an eighth is free again. Each
    body is counted as it arrives: a look at all connections for each packet would keep the server from everything else.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes, self._total = most_bytes, 0
        self._sizes: dict[Channel, int] = {}

    def count(self, channel: Channel) -> None:
        """Note how much there is of a connection's body now, and make room where that is too much."""
        size = channel.arriving_bytes
        self._total += size - self._sizes.get(channel, 0)
        if size:
            self._sizes[channel] = size
        else:
            self._sizes.pop(channel, None)
        if self._total > self._most_bytes:
            for oldest in sorted(self._sizes, key=lambda one: one.waiting_since):
                oldest.drop()
                if self._total <= self._most_bytes * 7 // 8:
                    break

    def forget(self, channel: Channel) -> None:
        """Note that a connection is closed, or will be."""
        self._total -= self._sizes.pop(channel, 0)


class Channel(HTTPChannel):  # type: ignore[misc]
    """One connection.

    Clients that are slow, or mean to be, take nothing but a connection, and that not for long: a request has to be here whole within
    `_LONGEST_REQUEST_SECONDS`, and when connections run short, the one goes that has kept us waiting the longest.

    Nor do those that do not read. waitress makes the answers to requests that came together one after the other, and has the thread wait
    once 16 MiB are unread, for as long as the client likes. Here the next request is held back until the last answer is nearly gone.

    A refused client may still be sending. Closing over what it sends would reset the connection, and the answer would be lost on it. So
    our side is closed first, and the rest is read and dropped until the client is done or `channel_timeout` is over.
    """

    error_task_class = JsonErrorTask
    logger = _RedactingLogger(logging.getLogger("waitress"), {})
    refused = False
    _lingers = False
    _receiving_since: float | None = None
    _unread_since: float | None = None
    _is_held_back = False

    def __init__(self, server: Any, *arguments: Any, most_body_bytes: int, arriving: Arriving, **more: Any) -> None:
        super().__init__(server, *arguments, **more)
        self.parser_class = partial(CarefulParser, most_body_bytes=most_body_bytes)
        self._arriving = arriving

    @property
    def waits(self) -> bool:
        """Whether it is the client's turn, to send or to read."""
        return (not self.requests or self._is_held_back) and not self.will_close

    @property
    def waiting_since(self) -> float:
        """Since when (seconds) an answer or a request has been on its way, or nothing has; bytes that trickle count for nothing."""
        return self._unread_since or self._receiving_since or float(self.last_activity)

    def is_overdue(self, now: float) -> bool:
        """Say whether the client has had time enough to send its request, or to read its answer."""
        if not self.waits:
            return False
        if self._unread_since:
            return self._unread_since < now - _LONGEST_ANSWER_SECONDS or self.last_activity < now - _LONGEST_REQUEST_SECONDS
        return bool(self._receiving_since and self._receiving_since < now - _LONGEST_REQUEST_SECONDS)

    def drop(self) -> None:
        """Close the connection soon, also where the client takes in nothing: waitress closes a socket when it can be written to."""
        self.will_close = True
        self._arriving.forget(self)
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)

    def begin(self, add_task: Callable[[Channel], None]) -> None:
        """Have the next request answered by `add_task`, once the client has read what it was answered before."""
        with self.outbuf_lock:
            if self.total_outbufs_len >= self.adj.send_bytes:
                self._is_held_back = True
                return
        add_task(self)

    def service(self) -> None:
        """Answer one request."""
        super().service()
        with self.outbuf_lock:
            if self.total_outbufs_len and self._unread_since is None:
                self._unread_since = time.time()

    def handle_write(self) -> None:
        """Send what the client takes in, and go on with what was held back."""
        super().handle_write()
        with self.outbuf_lock:
            is_next = self._is_held_back and self.connected and self.total_outbufs_len < self.adj.send_bytes
            if is_next:
                self._is_held_back = False
            if is_next or not self.total_outbufs_len:
                self._unread_since = None
                if self._receiving_since is not None:
                    self._receiving_since = time.time()
        if is_next:
            self.server.task_dispatcher.add_task(self)

    def received(self, data: bytes) -> bool:
        """Take in what the client has sent; return whether there was a use for it."""
        used = bool(super().received(data))
        if self.request is None:
            self._receiving_since = None
        elif self._receiving_since is None:
            self._receiving_since = time.time()
        self._arriving.count(self)
        return used

    @property
    def arriving_bytes(self) -> int:
        """How much of a body is here whose rest is not."""
        body = None if self.request is None or self.will_close else self.request.body_rcv
        return 0 if body is None else len(body)

    def handle_close(self) -> None:
        """Close at once, or for a refused client only our side; the second time always at once."""
        if self.refused:
            self.refused = False
            with suppress(OSError):
                self.socket.shutdown(socket.SHUT_WR)
                self.will_close, self._lingers = False, True
                return
        for request in (self.request, *(self.requests if self._is_held_back else ())):
            if request is not None:
                request.close()  # its body's temporary file
        self._arriving.forget(self)
        super().handle_close()

    def readable(self) -> bool:
        """Say whether there is anything to wait for from the client."""
        return self._lingers or bool(super().readable())

    def handle_read(self) -> None:
        """Take in what the client has sent."""
        if not self._lingers:
            super().handle_read()
            return
        try:
            self.recv(self.adj.recv_bytes)
        except OSError:
            super().handle_close()


def accept_several(wsgi: Any, accept: Callable[[], None]) -> None:
    """Take in some of the connections that wait, and make room for as many where they run short.

    waitress looks at all connections before it takes in one more: whoever opens them fast would have everybody else wait in the queue.
    """
    for _ in range(_MOST_ACCEPTED_AT_ONCE):
        accept()
        if not select.select([wsgi.socket], [], [], 0)[0]:
            break
    remaining = [channel for channel in wsgi.active_channels.values() if not channel.will_close]
    excess = len(remaining) - (MOST_CONNECTIONS - _SPARE_CONNECTIONS)
    if excess > 0:
        waiting = [channel for channel in remaining if channel.waits]
        for channel in heapq.nsmallest(excess, waiting, key=lambda channel: channel.waiting_since):
            channel.drop()


def drop_the_slow(wsgi: Any, drop_the_silent: Callable[[float], None], now: float) -> None:
    """Close connections on which nothing happens, and those whose request, or the reading of its answer, does not come to its end."""
    drop_the_silent(now)
    for channel in wsgi.active_channels.values():
        if channel.will_close or channel.is_overdue(now):
            channel.drop()
