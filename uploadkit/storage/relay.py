"""A relay of TCP connections, run as a process of its own: `python relay.py HOST PORT TARGET_PORT`.

It brings the bundled engine's S3 port, and nothing else of the engine, to another interface. It reads nothing of what it
carries, holds no secret, and imports nothing of the package. The Host header, which S3 signatures cover, stays as it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys

_CHUNK_BYTES = 256 * 1024
_CONNECT_SECONDS = 10


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(_CHUNK_BYTES):
        writer.write(chunk)
        await writer.drain()
    writer.write_eof()


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target_port: int) -> None:
    """Carry one connection until both sides have finished, or either breaks off."""
    writers = [writer]
    try:
        opening = asyncio.open_connection("127.0.0.1", target_port, limit=_CHUNK_BYTES)
        far_reader, far_writer = await asyncio.wait_for(opening, _CONNECT_SECONDS)
        writers.append(far_writer)
        pumps = [asyncio.ensure_future(_pump(reader, far_writer)), asyncio.ensure_future(_pump(far_reader, writer))]
        # The answer's end is the end: an engine that closes early (a refused upload) must not leave the client sending for ever.
        # A client's end is not: it may be waiting for the answer, unless its connection broke.
        done, _ = await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        if pumps[1] not in done and pumps[0].exception() is None:
            await asyncio.wait([pumps[1]])
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
    except (OSError, TimeoutError):
        pass
    finally:
        for each in writers:
            each.close()
        for each in writers:
            with contextlib.suppress(OSError):
                await each.wait_closed()


async def relay(host: str, port: int, target_port: int) -> None:
    """Listen on `host`:`port` and carry every connection to 127.0.0.1:`target_port`, until SIGTERM."""
    finished = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, finished.set)
    server = await asyncio.start_server(lambda r, w: _carry(r, w, target_port), host, port, limit=_CHUNK_BYTES, backlog=1024)
    await finished.wait()
    server.close()


if __name__ == "__main__":
    asyncio.run(relay(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
