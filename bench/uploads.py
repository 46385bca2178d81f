"""Whole uploads per second beside a bare PUT of the same 4 KiB to the same store: the price of the appliance. And beside an appliance that
does not wait for the store's disk (`storage.bundled.durable = false`): the price of surviving a power cut.

Eight clients, each a process of its own, so that none waits for another's interpreter. Ours and the plain PUTs are sent by the same light
HTTP client; boto3's `put_object` is what a program without an appliance would call.
"""

from __future__ import annotations

import http.client
import json
import multiprocessing
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from bench.app import SMALL, add_route, app, headers, request_body
from bench.measure import Effort, Figure, figure
from bench.peers import bare_boto3, store_address
from tests.support.appliance import wait_until
from tests.support.receivers import receiving
from uploadkit.core import clock
from uploadkit.objectstore.address import StoreAddress
from uploadkit.objectstore.sigv4 import Signer

CLIENTS, ROUTE = 8, "photos"


@dataclass(frozen=True)
class Target:
    """Where a client sends to: the API with its headers, and the store."""

    base: str
    headers: dict[str, str]
    store: StoreAddress


Work = Callable[[Target, float], int]


def measure(effort: Effort) -> list[Figure]:
    """Everything is on: each of our uploads also has its webhook queued, and delivered while the next ones come in."""
    return [*_beside_boto3(effort), *_beside_not_durable(effort)]


def _beside_not_durable(effort: Effort) -> list[Figure]:
    """Two appliances that differ in one setting, each with a store of its own on the same disk, in turns."""
    spawned = multiprocessing.get_context("spawn")
    with (
        receiving() as receiver,
        app() as durable,
        app(STORAGE__BUNDLED__DURABLE="false") as quick,
        ProcessPoolExecutor(CLIENTS, mp_context=spawned) as clients,
    ):
        targets = []
        for appliance in (durable, quick):
            add_route(appliance, receiver, ROUTE)
            targets.append(Target(appliance.base, headers(appliance), store_address(appliance)))

        def rate(target: Target, count: int, seconds: float) -> float:
            delivered, end = len(receiver.received), time.monotonic() + seconds
            counts = [clients.submit(upload_until, target, end) for _ in range(count)]
            uploads = sum(one.result() for one in counts)
            wait_until(lambda: len(receiver.received) >= delivered + uploads, 120, "the webhooks of these uploads")
            return uploads / seconds

        def in_turns(count: int, seconds: float) -> tuple[float, float]:
            ours, theirs = (rate(target, count, seconds) for target in targets)
            return ours, theirs

        in_turns(CLIENTS, 1)
        rounds = {count: [in_turns(count, effort.seconds) for _ in range(effort.rounds)] for count in (1, CLIENTS)}
    name, beside = "whole uploads of 4 KiB", "storage.bundled.durable = false"
    return [
        figure(f"{name}, one client", beside, "/s", rounds[1], at_least=0.5),
        figure(f"{name}, {CLIENTS} clients", beside, "/s", rounds[CLIENTS], at_least=0.75),
    ]


def _beside_boto3(effort: Effort) -> list[Figure]:
    spawned = multiprocessing.get_context("spawn")  # none has a copy of what the others opened
    with receiving() as receiver, app() as appliance, ProcessPoolExecutor(CLIENTS, mp_context=spawned) as clients:
        add_route(appliance, receiver, ROUTE)
        target = Target(appliance.base, headers(appliance), store_address(appliance))

        def rate(work: Work, seconds: float) -> float:
            counts = [clients.submit(work, target, time.monotonic() + seconds) for _ in range(CLIENTS)]
            return sum(count.result() for count in counts) / seconds

        def in_order(seconds: float) -> list[float]:
            delivered = len(receiver.received)
            ours = rate(upload_until, seconds)
            # The others should not have to wait for the rest of our deliveries.
            wait_until(lambda: len(receiver.received) >= delivered + ours * seconds, 120, "the webhooks of these uploads")
            return [ours, rate(put_until, seconds), rate(put_by_boto3_until, seconds)]

        in_order(1)
        rates = [in_order(effort.seconds) for _ in range(effort.rounds)]
    name = f"whole uploads of 4 KiB, {CLIENTS} clients"
    return [
        figure(name, "boto3 put_object", "/s", [(ours, boto3) for ours, _, boto3 in rates], at_least=0.4),
        figure(name, "bare presigned PUT", "/s", [(ours, put) for ours, put, _ in rates]),
    ]


def upload_until(target: Target, end: float) -> int:
    """Request, PUT, complete, again and again; return how often."""
    count, body = 0, request_body(ROUTE)
    with _connection(target.base) as api, _connection(target.store.endpoint) as store:
        while time.monotonic() < end:
            slot = json.loads(_send(api, "POST", "/api/v1/upload/request", body, target.headers))
            _send(store, "PUT", slot["uploadUrl"], SMALL, {"Content-Type": "image/jpeg"})
            _send(api, "POST", "/api/v1/upload/complete", json.dumps({"fileId": slot["fileId"]}), target.headers)
            count += 1
    return count


def put_until(target: Target, end: float) -> int:
    """PUT to URLs that are signed on the spot, which costs next to nothing."""
    count, store = 0, target.store
    signer = Signer(store.base_url(store.endpoint), store.region, store.access_key_id, store.secret_access_key)
    signed = {"content-length": str(len(SMALL)), "content-type": "image/jpeg"}
    with _connection(store.endpoint) as connection:
        while time.monotonic() < end:
            url = signer.presign("PUT", f"bare/{uuid.uuid4()}", at_ms=clock.now_ms(), expires_seconds=3600, headers=signed)
            _send(connection, "PUT", url, SMALL, {"Content-Type": "image/jpeg"})
            count += 1
    return count


def put_by_boto3_until(target: Target, end: float) -> int:
    """The same by boto3's `put_object`."""
    count, client = 0, _boto3(target.store)
    while time.monotonic() < end:
        client.put_object(Bucket=target.store.bucket, Key=f"bare/{uuid.uuid4()}", Body=SMALL, ContentType="image/jpeg")
        count += 1
    return count


@cache
def _boto3(store: StoreAddress) -> Any:
    """One for all rounds: making it takes a good part of a second."""
    return bare_boto3(store)


@contextmanager
def _connection(base: str) -> Iterator[http.client.HTTPConnection]:
    with closing(http.client.HTTPConnection(urlsplit(base).netloc, timeout=60)) as connection:
        yield connection


def _send(connection: http.client.HTTPConnection, method: str, url: str, body: str | bytes, headers: dict[str, str]) -> bytes:
    parts = urlsplit(url)
    connection.request(method, f"{parts.path}?{parts.query}" if parts.query else parts.path, body, headers)
    answer = connection.getresponse()
    content = answer.read()
    if answer.status != 200:
        raise RuntimeError(f"{method} {parts.path}: {answer.status}")
    return content
