"""Whatever becomes of the store, at every step that asks it: 503, nothing lost or counted twice, and all goes on once it is well again.

A real appliance with a bucket of its own behind a proxy that breaks what it carries. `storage.timeout_seconds` is 1 here, so that what
hangs is over soon; that the bound follows from the setting is what is tested.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from tests.conftest import App
from tests.faults import broken_store
from tests.faults.broken_store import AWAY, Weather, Where, everywhere
from tests.support.appliance import JPEG, Answer, Appliance, running, wait_until
from tests.support.killed_uploads import completed
from tests.support.store_proxy import Asked, proxied
from tests.support.stores import OtherStore, byos_settings
from uploadkit.context import Context
from uploadkit.core.errors import StorageUnavailable
from uploadkit.core.sizes import MIB
from uploadkit.maintenance import reconcile
from uploadkit.objectstore.store import ObjectStore
from uploadkit.observability import diagnosis

PARTS = (b"\x00\x00\x00\x20ftypisom".ljust(5 * MIB, b"\x01"), b"\x02" * 5 * MIB, b"\x03" * MIB)
TINY_BYTES, TINY_LIMIT = 300_000, 1_000_000
# Two attempts of one second and the pause between them, and what two loaded cores need on top.
LONGEST_SECONDS = 8.0


@dataclass
class Sick:
    """An appliance and the weather at its store."""

    appliance: Appliance
    weather: Weather
    tiny_key: str

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with contextlib.closing(sqlite3.connect(self.appliance.data_dir / "uploadkit.db", timeout=20)) as connection, connection:
            return connection.execute(sql).fetchall()

    def multipart(self, *, sent: bool) -> dict[str, Any]:
        body = {"fileName": "b", "fileSize": sum(map(len, PARTS)), "contentType": "video/mp4", "routeSlug": "default"}
        init = self.appliance.call("POST", "/upload/multipart/init", body)
        assert init.status == 200, init.body
        for part, content in zip(init.json["parts"], PARTS, strict=True) if sent else ():
            assert self.appliance.fetch("PUT", part["uploadUrl"], content).status == 200
        return dict(init.json)

    def on(self, verb: str, slot: dict[str, Any]) -> Callable[[], Answer]:
        ids = {"fileId": slot["fileId"], "uploadId": slot["uploadId"]}
        return lambda: self.appliance.call("POST", f"/upload/multipart/{verb}", ids)

    def stored(self) -> dict[str, Any]:
        slot = dict(self.appliance.request(len(JPEG)).json)
        assert self.appliance.put(slot, JPEG).status == 200
        return slot

    def timed(self, call: Callable[[], Answer]) -> Answer:
        began = time.monotonic()
        answer = call()
        assert time.monotonic() - began < LONGEST_SECONDS
        return answer


@pytest.fixture(scope="module")
def sick(tmp_path_factory: pytest.TempPathFactory, other_store: OtherStore) -> Iterator[Sick]:
    address, weather = other_store.bucket("behind-the-weather").address, Weather()
    with proxied(address, weather.rule) as broken:
        settings = byos_settings(
            broken,
            STORAGE__BYOS__PUBLIC_ENDPOINT=address.endpoint,
            STORAGE__TIMEOUT_SECONDS="1",
            HOUSEKEEPING__INTERVAL_SECONDS="1",
            TIERS__PRO__MAX_KEYS="",
        )
        with running(tmp_path_factory.mktemp("sick"), **settings) as appliance:
            project = appliance.call("POST", "/projects", {"name": "Tiny"}).json["id"]
            appliance.call("PATCH", f"/projects/{project}", {"limits": {"maxStorage": TINY_LIMIT}})
            yield Sick(appliance, weather, appliance.call("POST", f"/projects/{project}/keys", {"name": "x"}).json["key"])
            settle_and_check(Sick(appliance, weather, ""))


def settle_and_check(sick: Sick) -> None:
    """Rows = objects = quota, once the sweeper has been round; it is not waited for the pauses that it makes after failures."""

    def is_swept() -> bool:
        sick.rows("UPDATE file SET sweep_at = 0 WHERE sweep_attempts > 0")
        return sick.rows("SELECT count(*) FROM file WHERE sweep_attempts > 0 OR (sweep_at <= unixepoch() * 1000)") == [(0,)]

    wait_until(is_swept, what="the sweeper")
    agrees = sick.appliance.run("reconcile", "--json")
    report = json.loads(agrees.stdout)
    assert (agrees.returncode, report["findings"]) == (0, []), agrees.stdout
    assert sick.appliance.run("usage", "verify").returncode == 0
    held = "SELECT sum(storage_used_bytes), sum(storage_reserved_bytes) FROM project"
    of_rows = "SELECT sum(iif(status = 'UPLOADED', size_bytes, 0)), sum(reserved_bytes) FROM file"
    assert sick.rows(held) == sick.rows(of_rows)
    # A URL of a single upload is good until its deadline, so until then its bytes are reserved.
    unreserved = "SELECT count(*) FROM file WHERE status = 'UPLOADING' AND reserved_bytes <> size_bytes"
    assert sick.rows(unreserved) == [(0,)]
    assert "Traceback" not in sick.appliance.log()


def asks(method: str, key: str, **query: str) -> Where:
    def where(asked: Asked) -> bool:
        of_multipart = {"uploadId", "uploads"} & set(asked.query)
        return asked.method == method and asked.key == key and of_multipart == set(query)

    return where


def copies_to(key: str) -> Where:
    return lambda asked: asked.is_copy and asked.key == key


@dataclass
class Step:
    """A call that asks the store for something that `where` describes; `again` is what the client does once the store is well."""

    name: str
    where: Where
    call: Callable[[], Answer]
    again: Callable[[], Answer]
    well: int = 200


def steps(sick: Sick) -> list[Step]:
    """Everything that asks the store, but for the completion of uploads in parts."""
    appliance = sick.appliance
    looked, copied, deleted, kept = sick.stored(), sick.stored(), sick.stored(), appliance.upload(JPEG)
    begun, aborted = sick.multipart(sent=False), sick.multipart(sent=False)
    init = {"fileName": "new", "fileSize": 11 * MIB, "contentType": "video/mp4", "routeSlug": "default"}

    def complete(slot: dict[str, Any]) -> Callable[[], Answer]:
        return lambda: appliance.complete(slot)

    def delete(key: str) -> Callable[[], Answer]:
        return lambda: appliance.call("DELETE", f"/files/{key}")

    def begin() -> Answer:
        return appliance.call("POST", "/upload/multipart/init", init)

    def begins(asked: Asked) -> bool:
        return asked.method == "POST" and "uploads" in asked.query

    return [
        Step("look", asks("GET", f"pending/{looked['fileId']}"), complete(looked), complete(looked)),
        Step("copy", copies_to(copied["key"]), complete(copied), complete(copied)),
        Step("parts", asks("GET", begun["key"], uploadId=""), sick.on("parts", begun), sick.on("parts", begun)),
        Step("abort", asks("DELETE", aborted["key"], uploadId=""), sick.on("abort", aborted), sick.on("abort", aborted)),
        Step("init", begins, begin, begin),
        # Its row has gone from the lists by then; what is left to do is the sweeper's.
        Step("delete an upload", asks("DELETE", deleted["key"]), delete(deleted["key"]), delete(deleted["key"])),
        Step("delete a file", asks("DELETE", kept["key"]), delete(kept["key"]), delete(kept["key"]), 404),
    ]


def steps_of_parts(sick: Sick) -> list[Step]:
    """The three things that complete asks the store when an upload came in parts."""
    listed, joined, seen = (sick.multipart(sent=True) for _ in range(3))
    return [
        Step("list", asks("GET", listed["key"], uploadId=""), sick.on("complete", listed), sick.on("complete", listed)),
        Step("join", asks("POST", joined["key"], uploadId=""), sick.on("complete", joined), sick.on("complete", joined)),
        Step("look at the whole", asks("GET", seen["key"]), sick.on("complete", seen), sick.on("complete", seen)),
    ]


def fill_tiny(sick: Sick) -> list[Answer]:
    """Five requests where the quota has room for three; what was begun before counts."""
    return [sick.appliance.request(TINY_BYTES, key=sick.tiny_key) for _ in range(5)]


def tiny_is_free(sick: Sick) -> bool:
    """Whether nothing is reserved any more, where no deadline is waited for."""
    sick.rows(f"UPDATE file SET deadline_at = 0, sweep_at = 0 WHERE size_bytes = {TINY_BYTES} AND sweep_at > 0")
    return sick.rows("SELECT storage_used_bytes + storage_reserved_bytes FROM project WHERE name = 'Tiny'") == [(0,)]


def no_longer_ready(sick: Sick) -> str:
    """What /readyz says of the store, once it has noticed."""

    def checks() -> str | None:
        answer = sick.timed(lambda: sick.appliance.fetch("GET", f"{sick.appliance.base}/readyz"))
        return str(answer.json["checks"]["storage"]["detail"]) if answer.status == 503 else None

    return str(wait_until(checks, what="/readyz to notice"))


@pytest.mark.parametrize("fault", AWAY)
def test_a_store_that_is_out_of_order_at_every_step(sick: Sick, fault: str) -> None:
    # Their bytes take most of the time, so not under every fault.
    walk = steps(sick) + (steps_of_parts(sick) if fault in ("hangs", "loses its answer", "503", "a page") else [])
    tiny = sick.appliance.request(TINY_BYTES, key=sick.tiny_key).json
    sick.appliance.put(tiny, JPEG.ljust(TINY_BYTES, b"x"))
    places = [step.where for step in walk] + [asks("GET", f"pending/{tiny['fileId']}"), asks("GET", "pending/readiness-probe")]
    with sick.weather.of(AWAY[fault], *places), ThreadPoolExecutor(len(walk) + 3) as pool:
        noticed = pool.submit(no_longer_ready, sick)
        tiny_done = pool.submit(sick.timed, lambda: sick.appliance.complete(tiny, key=sick.tiny_key))
        answers = {step.name: pool.submit(sick.timed, step.call) for step in walk}
        more = fill_tiny(sick)
        reported = {name: answer.result() for name, answer in answers.items()}
        assert tiny_done.result().status == 503
        assert noticed.result()
        more += fill_tiny(sick)
    for name, answer in reported.items():
        if fault == "is cut short" and name in ("abort", "delete an upload"):
            assert answer.status == 200  # of an answer without a body nothing is missed
        elif name == "delete a file":
            assert answer.status == 200, "the object is the sweeper's"
        else:
            assert (answer.status, answer.code, answer.headers["Retry-After"]) == (503, "STORAGE_UNAVAILABLE", "5"), name
    for step in walk:
        assert step.again().status == step.well, step.name
    assert [answer.code for answer in more if answer.status != 200] == ["TIER_LIMIT_EXCEEDED"] * 8, "no URL beyond the quota"
    assert sick.appliance.complete(tiny, key=sick.tiny_key).status == 200
    for key in [tiny["key"], *(answer.json["key"] for answer in more if answer.status == 200)]:
        assert sick.appliance.call("DELETE", f"/files/{key}", key=sick.tiny_key).status == 200
    wait_until(lambda: tiny_is_free(sick), what="the reservations to be given back")


def test_a_slow_store_is_waited_for(sick: Sick) -> None:
    walk = steps(sick)
    with sick.weather.of(broken_store.slow, everywhere), ThreadPoolExecutor(len(walk)) as pool:
        answers = [pool.submit(step.call) for step in walk]
        reported = {step.name: answer.result() for step, answer in zip(walk, answers, strict=True)}
    assert {name: answer.body for name, answer in reported.items() if answer.status != 200} == {}


def test_xml_without_an_end(sick: Sick) -> None:
    walk = [step for step in steps(sick) + steps_of_parts(sick) if step.name in ("copy", "parts", "list", "join", "init")]
    with sick.weather.of(broken_store.xml_cut_short, *(step.where for step in walk)), ThreadPoolExecutor(len(walk)) as pool:
        assert {answer.status for answer in pool.map(lambda step: sick.timed(step.call), walk)} == {503}
    assert {step.again().status for step in walk} == {200}


def test_a_store_that_denies_everything(sick: Sick) -> None:
    """Without s3:ListBucket, AWS answers so for what is not there: complete says that the upload could not be seen, and leaves it."""
    walk = steps(sick)
    with sick.weather.of(broken_store.access_denied, everywhere), ThreadPoolExecutor(len(walk)) as pool:
        answers = [pool.submit(sick.timed, step.call) for step in walk]
        reported = {step.name: answer.result() for step, answer in zip(walk, answers, strict=True)}
    for name, answer in reported.items():
        if name in ("look", "copy"):
            assert (answer.status, answer.code) == (422, "UPLOAD_NOT_VERIFIED")
        elif name != "delete a file":
            assert (answer.status, answer.code) == (503, "STORAGE_UNAVAILABLE"), name
            assert "credentials s3:" in answer.json["error"]["suggestion"]
    assert {step.again().status for step in walk} == {200, 404}


def test_a_store_whose_clock_differs_is_told_as_that(sick: Sick) -> None:
    slot = sick.stored()
    with sick.weather.of(broken_store.clock_differs, everywhere):
        refused = sick.appliance.complete(slot)
        assert "clock" in refused.json["error"]["message"]
        assert "NTP" in refused.json["error"]["suggestion"]
        assert "RequestTimeTooSkewed" in no_longer_ready(sick)
    request_id = refused.headers["X-Request-Id"]
    (line,) = [line for line in sick.appliance.log().splitlines() if request_id in line and "WARNING" in line]
    assert "NTP" in line
    assert sick.appliance.complete(slot).status == 200


@pytest.mark.parametrize("fault", ["hangs", "trickles"])
def test_a_store_that_hangs_holds_up_nobody_else(sick: Sick, fault: str) -> None:
    """More clients complete than the server has threads; what needs no store is answered all the while."""
    appliance, slots = sick.appliance, [sick.stored() for _ in range(16)]
    with sick.weather.of(AWAY[fault], everywhere), ThreadPoolExecutor(24) as pool:
        # Some of them ask for one and the same upload, and wait for each other.
        completing = [pool.submit(appliance.complete, slots[number % 16]) for number in range(24)]
        waited = []
        while not all(answer.done() for answer in completing):
            began = time.monotonic()
            assert appliance.call("GET", "/files").status == 200
            assert appliance.fetch("GET", f"{appliance.base}/healthz").status == 200
            assert appliance.request(len(JPEG)).status == 200, "URLs are signed without the store"
            waited.append(time.monotonic() - began)
        reported = {(answer.result().status, answer.result().code) for answer in completing}
    assert reported <= {(503, "STORAGE_UNAVAILABLE"), (409, "CONFLICT")}
    assert len(waited) > 3
    assert max(waited) < 3
    assert {appliance.complete(slot).status for slot in slots} == {200}


@pytest.mark.parametrize("fault", ["hangs", "a page", "a page that says 404"])
def test_the_commands_that_look_at_a_broken_store_end_and_blame_no_file(app: App, fault: str) -> None:
    """Neither takes what a broken store says for what is in the bucket; `reconcile --fix` would give up every file."""
    weather = Weather()
    key = completed(app, app.caller)["key"]
    with proxied(app.ctx.store.address, weather.rule) as address:
        ctx = Context(app.ctx.config, ObjectStore(address, timeout_seconds=1))
        with weather.of(AWAY[fault], everywhere):
            began = time.monotonic()
            with pytest.raises(StorageUnavailable):
                reconcile.compare(ctx)
            found = {finding.name: finding.outcome for finding in diagnosis.examine(ctx.config, ctx.store)}
            assert "failed" in (found["reach"], found["bucket"])
            assert found["put"] == "skipped"
            assert time.monotonic() - began < 3 * LONGEST_SECONDS
        assert ctx.store.head(key) is not None
        assert [finding for finding in reconcile.compare(ctx).findings if app.project.id in finding.key] == []
