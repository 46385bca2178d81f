"""The power fails at a random moment under load, again and again: what was acknowledged is there after the next start, rows and bytes.

The disk is `volatile_disk.py`'s: it loses what it was not told to flush. `POWER_CUTS=20` runs long; `POWER_CUT_STORE` names another engine
("minio", which is then looked for on PATH), `POWER_CUT_MOUNT` options of the mount ("data=writeback"), `POWER_CUT_SEED` another chance, and
`POWER_CUT_DURABLE=false` shows what the setting is for.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import json
import os
import random
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
import urllib3

from tests.faults import volatile_disk
from tests.support.appliance import JPEG, Appliance, wait_until
from tests.support.background import beside
from uploadkit.core.sizes import MIB

CUTS = int(os.environ.get("POWER_CUTS", "1"))
SEED = int(os.environ.get("POWER_CUT_SEED", "1"))
PARTS_BYTES = 11 * MIB
PER_CUT = 50 if CUTS > 1 else 25  # acknowledged between two cuts, at the least
MOST_IN_PARTS = 6  # they would fill the disk
MOST_SECONDS_BETWEEN_CUTS = 3.0
SETTINGS = {
    "STORAGE__BUNDLED__MAX_DISK_BYTES": "1GB",  # so that volumes of 64 MB fill, and the space of deleted files is reclaimed meanwhile
    "STORAGE__BUNDLED__DURABLE": os.environ.get("POWER_CUT_DURABLE", "true"),
    "STORAGE__BUNDLED__ENGINE": os.environ.get("POWER_CUT_STORE", "seaweedfs"),
    # What the cut left half done is over soon.
    "STORAGE__PRESIGN_EXPIRES_SECONDS": "60",
    "HOUSEKEEPING__ABANDONED_UPLOAD_SECONDS": "1",
    "HOUSEKEEPING__INTERVAL_SECONDS": "1",
}

pytestmark = pytest.mark.skipif(volatile_disk.why_not() is not None, reason=str(volatile_disk.why_not()))


@dataclass(frozen=True)
class Acknowledged:
    """A file as `complete` has answered it."""

    key: str
    url: str
    size_bytes: int
    sha256: str


@dataclass
class Facts:
    """What clients were told: files, and keys whose deletion they were told of or may have been."""

    acknowledged: int = 0
    files: dict[str, Acknowledged] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    perhaps_deleted: set[str] = field(default_factory=set)
    under_way: dict[str, tuple[str, dict[str, str], bytes]] = field(default_factory=dict)  # by key: path and body of complete, content
    calls: Counter[str] = field(default_factory=Counter)
    has_power: bool = True


class Load:
    """Five clients that upload until told to stop: four single files, one in parts and deleting them again. Broken calls are part of it."""

    def __init__(self, appliance: Appliance, facts: Facts) -> None:
        self.appliance, self.facts = appliance, facts
        self._over = threading.Event()
        works = [self._singles] * 4 + [self._in_parts]
        self._threads = [threading.Thread(target=self._until_over, args=(work, number)) for number, work in enumerate(works)]

    def going_on(self) -> contextlib.AbstractContextManager[None]:
        return beside(self._threads, self._over)

    def _until_over(self, work: object, number: int) -> None:
        assert callable(work)
        chance = random.Random(os.urandom(16))
        while not self._over.is_set():
            with contextlib.suppress(urllib3.exceptions.HTTPError):  # the power is away
                work(chance)

    def _singles(self, chance: random.Random) -> None:
        content = JPEG + chance.randbytes(chance.choice((100, 4096, 20_000, 70_000)))
        slot = self.appliance.request(len(content))
        self.facts.calls[f"request {slot.status}"] += 1
        put = self.appliance.put(slot.json, content).status if slot.status == 200 else 0
        if put != 200:
            # The store's own word for it is 500, and it may say so when every request to its disk fails.
            self.facts.calls[f"put {put}" if self.facts.has_power else f"put {put} without power"] += 1
            self._over.wait(0.05)
            return
        if self._complete(slot.json["key"], "/upload/complete", {"fileId": slot.json["fileId"]}, content) and chance.random() < 0.2:
            self._delete(slot.json["key"])

    def _in_parts(self, chance: random.Random) -> None:
        content = b"\x00\x00\x00\x20ftypisom" + chance.randbytes(PARTS_BYTES)
        body = {"fileName": "b", "fileSize": len(content), "contentType": "video/mp4", "routeSlug": "default"}
        slot = self.appliance.call("POST", "/upload/multipart/init", body)
        if slot.status != 200:
            self._over.wait(0.05)
            return
        for part in slot.json["parts"]:
            start = (part["partNumber"] - 1) * slot.json["partSize"]
            if self.appliance.fetch("PUT", part["uploadUrl"], content[start : start + slot.json["partSize"]]).status != 200:
                return
        ids = {"fileId": slot.json["fileId"], "uploadId": slot.json["uploadId"]}
        if chance.random() < 0.3:  # its client completes it after the cut
            self.facts.under_way[slot.json["key"]] = ("/upload/multipart/complete", ids, content)
        elif self._complete(slot.json["key"], "/upload/multipart/complete", ids, content):
            large = [file.key for file in self.facts.files.values() if file.size_bytes > MIB]
            for key in large[:-MOST_IN_PARTS]:
                self._delete(key)

    def complete_what_was_under_way(self) -> None:
        """Its bytes came before the power cut, and nobody had promised anything: 200 now is a promise."""
        for key, (path, body, content) in list(self.facts.under_way.items()):
            self._complete(key, path, body, content, when=" after the cut")
            self.facts.under_way.pop(key, None)

    def _complete(self, key: str, path: str, body: dict[str, str], content: bytes, when: str = "") -> bool:
        self.facts.under_way[key] = (path, body, content)
        done = self.appliance.call("POST", path, body)
        self.facts.calls[f"{path}{when} {done.status}"] += 1
        del self.facts.under_way[key]
        if done.status == 200:
            self.facts.acknowledged += 1
            self.facts.files[key] = Acknowledged(key, done.json["url"], len(content), hashlib.sha256(content).hexdigest())
        return done.status == 200

    def _delete(self, key: str) -> None:
        self.facts.perhaps_deleted.add(key)  # the answer may be lost
        self.facts.files.pop(key, None)
        if self.appliance.call("DELETE", f"/files/{key}").status == 200:
            self.facts.deleted.add(key)


def test_what_was_acknowledged_survives_power_cuts(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    facts = Facts()
    with powered(tmp_path) as (disk, appliance):
        for number in range(CUTS):
            keeps = chance.choice((0.0, 0.5, 1.0)) if number else 0.0
            goal = facts.acknowledged + PER_CUT
            with Load(appliance, facts).going_on():
                wait_until(lambda goal=goal: facts.acknowledged >= goal, 120, f"some uploads: {facts.calls}")
                time.sleep(chance.uniform(0.3, MOST_SECONDS_BETWEEN_CUTS))  # the moment is chance's
                facts.has_power = False
                cut = disk.cut_power(keeps, chance.randrange(2**32))
                kill(appliance)
            disk.take_away()
            disk.power_on()
            facts.has_power = True
            note_start_of_machine(tmp_path, appliance)
            assert sound(appliance.data_dir / "uploadkit.db")
            appliance.start()
            Load(appliance, facts).complete_what_was_under_way()
            missing = missing_of(appliance, facts)
            given_up = "volumeDataIntegrityChecking failed"  # weed reads such a volume, and never writes to or vacuums it again
            assert given_up not in (appliance.data_dir / "store.log").read_text(errors="replace")
            text = f"cut {number + 1}, {cut}: {len(missing)} lost of {facts.acknowledged} acknowledged, {len(facts.files)} not deleted"
            print(f"{text}; {dict(facts.calls)}", flush=True)
            assert not missing, f"{text}: {list(missing.items())[:5]}"
        report = json.loads(appliance.run("reconcile", "--json").stdout)
    found = [finding for finding in report["findings"] if finding["kind"] in ("row_without_object", "object_differs")]
    assert not found
    assert not {call for call in facts.calls if call.endswith(" 500")}, "a disk without power is no mistake of ours"


def test_the_disk_loses_what_was_not_flushed_and_nothing_else(tmp_path: Path) -> None:
    """Else the test above proves nothing."""
    disk = volatile_disk.PoweredFileSystem(tmp_path, 64 * MIB)
    try:
        disk.power_on()
        (disk.directory / "flushed").write_bytes(b"here" * 5000)
        os.sync()
        (disk.directory / "page-cache").write_bytes(b"gone" * 5000)
        # Written to the disk, but only into its cache.
        with (disk.directory / "flushed").open("r+b") as file:
            file.write(b"gone" * 5000)
            file.flush()
            written_back = ctypes.CDLL(None, use_errno=True).sync_file_range(file.fileno(), ctypes.c_int64(0), ctypes.c_int64(0), 7)
            assert written_back == 0
            cut = disk.cut_power(0, 0)
        disk.take_away()
        disk.power_on()
        assert cut["lost"] == cut["cached"] > 0
        assert (disk.directory / "flushed").read_bytes() == b"here" * 5000
        assert not (disk.directory / "page-cache").exists()
    finally:
        disk.take_away()


@contextlib.contextmanager
def powered(home: Path) -> Iterator[tuple[volatile_disk.PoweredFileSystem, Appliance]]:
    """An appliance with its data on a disk whose power can be cut."""
    disk = volatile_disk.PoweredFileSystem(home, 3072 * MIB, os.environ.get("POWER_CUT_MOUNT", ""))
    data = disk.directory / "data"
    appliance = Appliance(home / "appliance", DATA__DIR=str(data), **SETTINGS)
    appliance.data_dir = data
    try:
        disk.power_on()
        note_start_of_machine(home, appliance)
        yield disk, appliance.start()
    finally:
        kill(appliance)
        disk.take_away()


def note_start_of_machine(home: Path, appliance: Appliance) -> None:
    """Have the appliance believe that the machine has just started, which it would have after a power cut."""
    (home / "sitecustomize.py").write_text(f"import psutil\npsutil.boot_time = lambda: {time.time()}\n")
    appliance.environment["PYTHONPATH"] = str(home)


def kill(appliance: Appliance) -> None:
    """End the appliance and its store at once, and wait until nothing of them holds the disk."""
    if appliance.process is None or appliance.process.poll() is not None:
        return
    children = psutil.Process(appliance.process.pid).children(recursive=True)
    appliance.kill()
    for child in children:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
    psutil.wait_procs(children, timeout=20)
    appliance.http.clear()


def sound(database: Path) -> bool:
    with contextlib.closing(sqlite3.connect(database)) as connection:
        return bool(connection.execute("PRAGMA quick_check").fetchone() == ("ok",))


def missing_of(appliance: Appliance, facts: Facts) -> dict[str, str]:
    """Read every file that was acknowledged, row and bytes; say of each that is not as it was what is wrong."""

    def fault(file: Acknowledged) -> str | None:
        row = appliance.call("GET", f"/files/{file.key}")
        if row.status != 200 or row.json["fileSize"] != file.size_bytes:
            return f"row: {row.status}"
        answer = appliance.read(file.url)
        if answer.status != 200:
            return f"bytes: {answer.status}"
        return None if hashlib.sha256(answer.body).hexdigest() == file.sha256 else "other bytes"

    with ThreadPoolExecutor(4) as readers:
        faults = zip(facts.files.values(), readers.map(fault, facts.files.values()), strict=True)
        missing = {file.key: text for file, text in faults if text}
    # Just after a start weed may be replacing a volume by its vacuumed copy, and answers 500 meanwhile. What is lost stays lost.
    until = time.monotonic() + 60
    while missing and time.monotonic() < until:
        time.sleep(1)
        facts.calls["reads repeated"] += len(missing)
        missing = {key: text for key in missing if (text := fault(facts.files[key]))}
    missing |= {key: "deleted, and there again" for key in facts.deleted if appliance.call("GET", f"/files/{key}").status != 404}
    facts.deleted.clear()
    return missing
