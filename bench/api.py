"""Calls per second, and how long they take: `/upload/request` beside Uppy Companion, `/upload/complete` beside boto3 and the same store.

Ours does authentication, rate limit, validation, quota, a durable write (`synchronous = "FULL"`) and a signature; Companion a signature.
"""

from __future__ import annotations

import itertools
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from bench.app import SMALL, Stock, app, headers, request_body
from bench.load import Load, load
from bench.measure import Effort, Figure, figure
from bench.peers import bare_boto3, bare_flask, companion, store_address
from tests.support.appliance import Appliance
from uploadkit.objectstore.address import StoreAddress

CONNECTIONS = (1, 16, 64)
Run = Callable[[int, float], Load]


def measure(effort: Effort) -> list[Figure]:
    """One appliance and one Companion, each a process, under the same load in turns."""
    with app() as appliance, companion(store_address(appliance).endpoint) as peer, bare_flask() as bare:
        base = f"{appliance.base}/api/v1/upload"

        def request(connections: int, seconds: float) -> Load:
            return load(f"{base}/request", connections, seconds, headers(appliance), [request_body()])

        def params(connections: int, seconds: float) -> Load:
            return load(f"{peer.base}/s3/params?filename=photo.jpg&type=image/jpeg", connections, seconds)

        def sign_part(connections: int, seconds: float) -> Load:
            return load(f"{peer.base}/s3/multipart/an-upload-id/1?key=a/film.mp4", connections, seconds)

        def nothing(connections: int, seconds: float) -> Load:
            return load(f"{bare}/api/v1/upload/request", connections, seconds, headers(appliance), [request_body()])

        asked = _rounds(effort, request, params, sign_part, nothing, _disk)
        completed = _rounds(effort, _Complete(appliance), _StoreCalls(store_address(appliance)))
    return [*_requests(asked), *_completes(completed)]


def _rounds(effort: Effort, *runs: Run) -> dict[int, list[tuple[Load, ...]]]:
    """By number of connections: what each run came to in each round, after a round that does not count."""
    for run in runs:
        run(CONNECTIONS[1], 1)
    found: dict[int, list[tuple[Load, ...]]] = {connections: [] for connections in CONNECTIONS}
    for _, connections in itertools.product(range(effort.rounds), CONNECTIONS):
        found[connections].append(tuple(run(connections, effort.seconds) for run in runs))
    return found


def _requests(found: dict[int, list[tuple[Load, ...]]]) -> Iterator[Figure]:
    name, params = "upload/request, {} at once", "Companion /s3/params"
    for connections, rounds in found.items():
        called = name.format(connections)
        at_16 = connections == 16  # there the targets are
        rates = [(ours.per_second, theirs.per_second) for ours, theirs, *_ in rounds]
        yield figure(called, params, "/s", rates, at_least=3 if at_16 else None)
        yield figure(f"{called}, p50", params, "ms", [(ours.p50_ms, theirs.p50_ms) for ours, theirs, *_ in rounds])
        worst = [(ours.p99_ms, theirs.p99_ms) for ours, theirs, *_ in rounds]
        yield figure(f"{called}, p99", params, "ms", worst, at_most=1 if at_16 else None)
    others = "Companion signs a part", "bare Flask, same server, no work", "this disk: 4 KiB, fdatasync"
    for place, beside in enumerate(others, 2):
        yield figure(name.format(16), beside, "/s", [(run[0].per_second, run[place].per_second) for run in found[16]])
    yield _no_collapse(name, found)


def _completes(found: dict[int, list[tuple[Load, ...]]]) -> Iterator[Figure]:
    name, calls = "upload/complete, {} at once", "boto3: GET, copy, delete"
    for connections, rounds in found.items():
        called = name.format(connections)
        yield figure(called, calls, "/s", [(ours.per_second, theirs.per_second) for ours, theirs in rounds])
        yield figure(f"{called}, p50", calls, "ms", [(ours.p50_ms, theirs.p50_ms) for ours, theirs in rounds])
        yield figure(f"{called}, p99", calls, "ms", [(ours.p99_ms, theirs.p99_ms) for ours, theirs in rounds])
    yield _no_collapse(name, found)


def _no_collapse(name: str, found: dict[int, list[tuple[Load, ...]]]) -> Figure:
    rates = [(many[0].per_second, few[0].per_second) for many, few in zip(found[64], found[16], strict=True)]
    return figure(name.format(64), "itself at 16", "/s", rates, at_least=0.8)


def _disk(_: int, seconds: float) -> Load:
    """How often the disk takes something for good, one after the other: what a database that commits each write alone can't exceed."""
    with tempfile.TemporaryFile() as file:
        writes, begun = 0, time.perf_counter()
        while time.perf_counter() < begun + seconds / 5:
            os.pwrite(file.fileno(), SMALL, writes * len(SMALL))
            os.fdatasync(file.fileno())
            writes += 1
        return Load(writes / (time.perf_counter() - begun), 0, 0, 0)


class _Complete:
    """Completes uploads, each once. How many a run will take, the run before it tells."""

    def __init__(self, appliance: Appliance) -> None:
        self._appliance, self._stock, self._per_second = appliance, Stock(appliance), 400.0

    def __call__(self, connections: int, seconds: float) -> Load:
        while True:
            bodies = self._stock.at_least(int(self._per_second * seconds * 1.5) + connections)
            found = load(f"{self._appliance.base}/api/v1/upload/complete", connections, seconds, headers(self._appliance), bodies)
            enough = found.bodies_used < len(bodies)
            self._stock.use(found.bodies_used)
            self._per_second = max(found.per_second, 0.7 * self._per_second) if enough else 2 * self._per_second
            if enough:
                return found


class _StoreCalls:
    """What complete asks of the store, asked by bare boto3 from as many threads: a ranged GET, a copy, a delete."""

    def __init__(self, store: StoreAddress) -> None:
        self._client, self._source = bare_boto3(store), {"Bucket": store.bucket, "Key": "bare/source"}
        self._client.put_object(**self._source, Body=SMALL)

    def __call__(self, connections: int, seconds: float) -> Load:
        begun = time.perf_counter()
        with ThreadPoolExecutor(connections) as threads:
            times = [one for some in threads.map(lambda number: self._until(begun + seconds, number), range(connections)) for one in some]
        hundredths = statistics.quantiles(times, n=100)
        return Load(len(times) / (time.perf_counter() - begun), hundredths[49] * 1000, hundredths[98] * 1000, 0)

    def _until(self, end: float, thread: int) -> list[float]:
        times = [time.perf_counter()]
        while times[-1] < end:
            self._client.get_object(**self._source, Range="bytes=0-4095")["Body"].read()
            copy = self._source | {"Key": f"bare/{thread}/{len(times)}"}
            self._client.copy_object(**copy, CopySource=self._source)
            self._client.delete_object(**copy)
            times.append(time.perf_counter())
        return [after - before for before, after in itertools.pairwise(times)]
