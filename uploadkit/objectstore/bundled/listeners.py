"""Who listens on a port of this machine: the engine that was started, or another user's program that was quicker."""

from __future__ import annotations

import os
import socket
from collections.abc import Collection

import psutil


def hold(processes: Collection[int], ports: Collection[int]) -> bool:
    """Say whether these processes listen on all of these TCP ports. Where the system tells that of no process, it counts as true."""
    return set(ports) <= _ports_of(processes) or not _is_listed()


def _ports_of(processes: Collection[int]) -> set[int]:
    ports: set[int] = set()
    for process in processes:
        try:
            connections = psutil.Process(process).net_connections("tcp")
        except (psutil.Error, OSError):
            continue
        ports.update(connection.laddr.port for connection in connections if connection.status == psutil.CONN_LISTEN)
    return ports


def _is_listed() -> bool:
    with socket.create_server(("127.0.0.1", 0)) as known:
        return known.getsockname()[1] in _ports_of([os.getpid()])
