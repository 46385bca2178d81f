"""The process itself: from its start to its first answer, and its resident memory idle and under load, beside Uppy Companion."""

from __future__ import annotations

import time

import psutil

from bench.app import app, headers, request_body
from bench.load import load
from bench.measure import Effort, Figure, figure, seconds_of
from bench.peers import companion, store_address
from tests.support.appliance import Appliance

IDLE_AT_MOST_MIB = 120
PEER = "Companion"


def measure(effort: Effort) -> list[Figure]:
    """Start both anew in each round, and load them alike."""
    rounds = []
    with app() as appliance:
        endpoint = store_address(appliance).endpoint
        appliance.stop()
        for _ in range(effort.rounds):
            rounds.append(list(zip(_ours(appliance, effort), _theirs(endpoint, effort), strict=True)))
    starts, idle, loaded = zip(*rounds, strict=True)
    return [
        figure("start to first answer, store included", PEER, "s", starts),
        figure("resident memory of the process, idle", PEER, "MiB", idle, ours_at_most=IDLE_AT_MOST_MIB),
        figure("resident memory of the process, after load", PEER, "MiB", loaded),
    ]


def _ours(appliance: Appliance, effort: Effort) -> tuple[float, float, float]:
    start = seconds_of(appliance.start)
    assert appliance.process is not None
    process = psutil.Process(appliance.process.pid)
    appliance.upload()
    idle = _resident(process)
    load(f"{appliance.base}/api/v1/upload/request", 64, effort.seconds, headers(appliance), [request_body()])
    loaded = _resident(process)
    appliance.stop()
    return start, idle, loaded


def _theirs(endpoint: str, effort: Effort) -> tuple[float, float, float]:
    begun = time.perf_counter()
    with companion(endpoint) as peer:
        start, process = time.perf_counter() - begun, psutil.Process(peer.pid)
        idle = _resident(process)
        load(f"{peer.base}/s3/params?filename=photo.jpg&type=image/jpeg", 64, effort.seconds)
        return start, idle, _resident(process)


def _resident(process: psutil.Process) -> float:
    return process.memory_info().rss / 1024**2
