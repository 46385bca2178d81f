"""A relay of TCP connections, run as a process of its own: `python tcp_proxy.py HOST PORT TARGET_PORT`.

It brings the bundled engine's S3 port, and nothing else of the engine, to another interface. It reads nothing of what it
carries, holds no secret, and imports nothing of the package. The Host header, which S3 signatures cover, stays as it is.

Anybody may connect and say nothing. Where there are too many, the connection goes on which nothing has moved the longest.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import signal
import socket
import sys
from collections import OrderedDict

_CHUNK_BYTES = 256 * 1024
_CONNECT_SECONDS = 10
_MOST_CONNECTIONS = 4_000
_OTHER_DESCRIPTORS = 32

Task = asyncio.Task[None]


class Places:
    """`most` connections at a time, each carried by a task. The one on which nothing has moved the longest stands first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken: OrderedDict[Task, None] = OrderedDict()

    async def make_room(self) -> None:
        """Return when there is a place, if need be by ending the connection that has been silent the longest."""
        while len(self._taken) >= self._most:
            silent, _ = self._taken.popitem(last=False)
            silent.cancel()
            await asyncio.wait([silent], timeout=1)

    def take(self, task: Task) -> None:
        """Give `task` a place until it ends."""
        self._taken[task] = None
        task.add_done_callback(lambda ended: self._taken.pop(ended, None))

    def moved(self, task: Task) -> None:
        """Note that something was carried, unless the place has been given to somebody else."""
        if task in self._taken:
            self._taken.move_to_end(task)


def most_connections() -> int:
    """Return how many connections there is room for, two descriptors each, after making as much room as this process may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * _MOST_CONNECTIONS + _OTHER_DESCRIPTORS
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return max(1, (wanted - _OTHER_DESCRIPTORS) // 2)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, places: Places, task: Task) -> None:
    while chunk := await reader.read(_CHUNK_BYTES):
        places.moved(task)
        writer.write(chunk)
        await writer.drain()
    writer.write_eof()


async def _carry(connection: socket.socket, target_port: int, places: Places) -> None:
    """Carry one connection until both sides have finished, either breaks off, or somebody else needs its place."""
    task = asyncio.current_task()
    assert task is not None
    writers: list[asyncio.StreamWriter] = []
    pumps: list[Task] = []
    try:
        reader, writer = await asyncio.open_connection(sock=connection, limit=_CHUNK_BYTES)
        writers.append(writer)
        opening = asyncio.open_connection("127.0.0.1", target_port, limit=_CHUNK_BYTES)
        far_reader, far_writer = await asyncio.wait_for(opening, _CONNECT_SECONDS)
        writers.append(far_writer)
        pumps += (asyncio.ensure_future(_pump(*ends, places, task)) for ends in ((reader, far_writer), (far_reader, writer)))
        # The answer's end is the end: an engine that closes early (a refused upload) must not leave the client sending for ever.
        # A client's end is not: it may be waiting for the answer, unless its connection broke.
        done, _ = await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        if pumps[1] not in done and pumps[0].exception() is None:
            await asyncio.wait([pumps[1]])
    except (OSError, TimeoutError):
        pass
    except asyncio.CancelledError:
        for each in writers:
            each.transport.abort()  # what still waits there is not waited for
    finally:
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
        if not writers:
            connection.close()
        for each in writers:
            each.close()
        for each in writers:
            with contextlib.suppress(OSError):
                await each.wait_closed()


async def _accept(listener: socket.socket, target_port: int, places: Places) -> None:
    loop = asyncio.get_running_loop()
    while True:
        await places.make_room()
        try:
            connection, _ = await loop.sock_accept(listener)
        except OSError:  # the client has gone again, or the whole machine is out of descriptors
            await asyncio.sleep(0.1)
            continue
        places.take(asyncio.ensure_future(_carry(connection, target_port, places)))


def _listeners(host: str, port: int) -> list[socket.socket]:
    return [
        socket.create_server(address[:2], family=family, backlog=1024)
        for family, _, _, _, address in dict.fromkeys(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    ]


async def relay(host: str, port: int, target_port: int) -> None:
    """Listen on `host`:`port` and carry every connection to 127.0.0.1:`target_port`, until SIGTERM."""
    finished = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, finished.set)
    places = Places(most_connections())
    accepting = []
    for listener in _listeners(host, port):
        listener.setblocking(False)
        accepting.append(asyncio.ensure_future(_accept(listener, target_port, places)))
    await finished.wait()


if __name__ == "__main__":
    asyncio.run(relay(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
