"""The database locked, its disk full, its log cut off, its file damaged: an honest answer, and all goes on by itself once it can."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conftest import App, new_app
from tests.support.appliance import JPEG, Appliance, running, wait_until
from tests.support.old_databases import OLD, old_database, version_and_rows
from tests.support.receivers import Handler, Received, receiving
from tests.support.stores import OtherStore, byos_settings
from uploadkit import config
from uploadkit.core.errors import ConfigError
from uploadkit.core.sizes import MIB
from uploadkit.db import connection, migrating
from uploadkit.db.models import database
from uploadkit.files import single_upload
from uploadkit.files.single_upload import UploadRequest
from uploadkit.objectstore.doctor.examination import Finding
from uploadkit.objectstore.store import ObjectStore
from uploadkit.observability import diagnosis


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 72 MiB of its own; only root can make one."""
    place = tmp_path / "small-disk"
    place.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=72m,mode=0700", "tmpfs", str(place)], capture_output=True, check=False)
    if made.returncode != 0:
        pytest.skip("a file system can't be mounted here: needs root")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(disk: Path) -> Path:
    """Write a file until there is no room left."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(MIB))
    with ballast.open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    return ballast


def test_a_full_disk_under_the_database(tmp_path: Path, small_disk: Path, other_store: OtherStore) -> None:
    taken: list[str] = []

    def take(handler: Handler, received: Received) -> None:
        taken.append(received.json["file"]["id"])
        handler.reply(200)

    settings = byos_settings(
        other_store.bucket("small-disk").address,
        DATABASE__PATH=str(small_disk / "uploadkit.db"),
        HOUSEKEEPING__INTERVAL_SECONDS="1",
        WEBHOOKS__ALLOWED_PRIVATE_CIDRS='["127.0.0.0/8"]',
    )
    with receiving(take) as receiver, running(tmp_path / "home", **settings) as appliance:
        tell(appliance, receiver.url)
        before = appliance.upload(JPEG)
        slot = appliance.request(len(JPEG)).json
        assert appliance.put(slot, JPEG).status == 200
        ballast = fill(small_disk)
        wait_until(lambda: b"the disk under the database is nearly full" in appliance.request(5).body, what="new uploads to be refused")
        refused = fill_the_log(appliance, before["key"])
        assert (refused.status, refused.code, refused.headers["Retry-After"]) == (503, "STORAGE_UNAVAILABLE", "5")
        assert "disk is full" in refused.json["error"]["message"]
        assert "Free some space" in refused.json["error"]["suggestion"]
        assert appliance.complete(slot).status == 503
        assert appliance.call("DELETE", f"/files/{before['key']}").status == 503
        listed = appliance.call("GET", "/files")
        assert listed.status == 200
        assert appliance.read(before["url"]).body == JPEG
        ready = appliance.fetch("GET", f"{appliance.base}/readyz")
        assert (ready.status, ready.json["checks"]["disk"]["ok"]) == (503, False)
        wait_until(lambda: "put off to its next turn: SQLite says database or disk is full" in appliance.log(), what="a job to say so")
        ballast.unlink()
        assert appliance.complete(slot).status == 200
        wait_until(lambda: appliance.request(5).status == 200, what="new uploads to be taken")
        after = appliance.upload(JPEG)
        everything = {before["id"], slot["fileId"], after["id"]}
        wait_until(lambda: set(taken) == everything, what="the webhooks")
        assert {before["id"], slot["fileId"], after["id"]} <= {
            item["id"] for item in appliance.call("GET", "/files?limit=100").json["items"]
        }
        assert appliance.run("usage", "verify").returncode == 0
        assert appliance.run("reconcile").returncode == 0
    assert "Traceback" not in appliance.log()
    assert "Free some space" in appliance.log()


def test_a_disk_that_fills_up_during_an_upgrade(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = small_disk / "uploadkit.db"
    old_database(path, 3000, monkeypatch)
    settings = config.load(None, {"UPLOADKIT_DATA__DIR": str(small_disk)})
    ballast = fill(small_disk)
    for room in (0, 4 * MIB):  # for nothing; for the copy
        os.truncate(ballast, ballast.stat().st_size - room)
        with pytest.raises(ConfigError, match=r"free some space on .* start again"):
            connection.open_database(settings, upgrade=True)
    assert version_and_rows(path) == (OLD, 3000, 3000)
    ballast.unlink()
    connection.open_database(settings, upgrade=True)
    connection.close()
    assert version_and_rows(path) == (len(migrating.migrations()), 3000, 3000)


def tell(appliance: Appliance, url: str) -> None:
    project = appliance.project_id
    (route,) = appliance.call("GET", f"/projects/{project}/file-routes").json["items"]
    assert appliance.call("PATCH", f"/file-routes/{route['id']}", {"webhookUrl": url}).status == 200


def fill_the_log(appliance: Appliance, key: str):  # type: ignore[no-untyped-def]
    """Change a file until that is refused: SQLite's log has some room left in what it has taken before."""
    path = f"/files/{key}"
    change = functools.partial(appliance.call, "PATCH", path, {"metadata": {"filling": "x" * 4096}})
    return wait_until(lambda: answer if (answer := change()).status != 200 else None, what="a refusal")


def test_a_locked_database_is_503_and_reads_go_on(tmp_path: Path) -> None:
    with running(tmp_path) as appliance:
        appliance.call("GET", "/files")
        holder = sqlite3.connect(appliance.data_dir / "uploadkit.db", isolation_level=None)
        with contextlib.closing(holder), ThreadPoolExecutor(20) as pool:
            holder.execute("BEGIN IMMEDIATE")
            # More than there are threads: whoever comes later does not wait as long as the first.
            began = time.monotonic()
            refused = list(pool.map(lambda _: appliance.request(5), range(20)))
            assert time.monotonic() - began < 15
            assert {(answer.status, answer.code) for answer in refused} == {(503, "STORAGE_UNAVAILABLE")}
            assert all(answer.headers["Retry-After"] for answer in refused)
            assert "locked" in refused[0].json["error"]["message"]
            began = time.monotonic()
            assert appliance.call("GET", "/files").status == 200
            assert appliance.request(5).status == 503
            assert time.monotonic() - began < 2
            holder.execute("ROLLBACK")
        assert appliance.request(5).status == 200
        assert appliance.request(5).status == 200
    assert "Traceback" not in appliance.log()


@pytest.fixture
def left_behind(tmp_path: Path, app_bucket: ObjectStore) -> tuple[Path, list[str]]:
    """The database of an appliance that was killed, with its log; and the ids that it had acknowledged, in their order."""
    with new_app(tmp_path / "killed", app_bucket) as app:
        acknowledged = [request(app) for _ in range(30)]
        copy = tmp_path / "left"
        copy.mkdir()
        for name in ("uploadkit.db", "uploadkit.db-wal"):
            shutil.copy(tmp_path / "killed" / name, copy)
    return copy / "uploadkit.db", acknowledged


def request(app: App) -> str:
    return str(single_upload.request_upload(app.ctx, app.caller, UploadRequest("a", 4, "image/jpeg", "default", {})).file.id)


def opened_ids(path: Path) -> list[str]:
    """Open a database as the appliance does at its start; return the files' ids in their order."""
    settings = config.load(None, {"UPLOADKIT_DATA__DIR": str(path.parent)})
    connection.open_database(settings, upgrade=True)
    try:
        assert connection.damage() is None
        return [file_id for (file_id,) in connection.execute("SELECT id FROM file ORDER BY number")]
    finally:
        database.close()


def test_the_log_that_a_killed_appliance_left_loses_nothing(left_behind: tuple[Path, list[str]]) -> None:
    path, acknowledged = left_behind
    assert opened_ids(path) == acknowledged


@pytest.mark.parametrize("share", [0.99, 0.7, 0.3, 0.001, 0])
def test_a_log_that_is_cut_off_is_whole_up_to_there(left_behind: tuple[Path, list[str]], share: float) -> None:
    """No promise of ours: a disk that loses what it had synced. But what is left is no half thing."""
    path, acknowledged = left_behind
    log = path.with_name("uploadkit.db-wal")
    os.truncate(log, int(log.stat().st_size * share))
    try:
        found = opened_ids(path)
    except ConfigError:  # nothing is left of it, not even the tables
        assert share < 0.3
    else:
        assert found == acknowledged[: len(found)]


def test_a_log_beside_an_older_backup_is_damage_or_the_newer_state(tmp_path: Path, left_behind: tuple[Path, list[str]]) -> None:
    """Whoever puts a backup back has to remove the log of the database that it replaces: SQLite can't tell whose it is."""
    path, acknowledged = left_behind
    log = path.with_name("uploadkit.db-wal")
    kept = log.read_bytes()
    opened_ids(path)
    migrating.back_up(path, tmp_path / "backup.db")
    shutil.copy(tmp_path / "backup.db", path)
    log.write_bytes(kept)
    with contextlib.suppress(ConfigError, AssertionError, sqlite3.DatabaseError):
        assert opened_ids(path) == acknowledged
    log.unlink(missing_ok=True)
    path.with_name("uploadkit.db-shm").unlink(missing_ok=True)
    shutil.copy(tmp_path / "backup.db", path)
    assert opened_ids(path) == acknowledged


def test_a_damaged_database_is_refused_in_one_clear_line(tmp_path: Path, left_behind: tuple[Path, list[str]]) -> None:
    path, _ = left_behind
    opened_ids(path)
    whole = path.read_bytes()
    appliance = Appliance(tmp_path / "home")
    appliance.data_dir.mkdir(mode=0o700)
    damaged = appliance.data_dir / "uploadkit.db"
    for bytes_of in (b"no database at all, but some text" * 400, whole[: len(whole) // 3], whole[:100] + b"\xff" * (len(whole) - 100)):
        damaged.write_bytes(bytes_of)
        with pytest.raises(ConfigError, match=r"^database\.path: .* put a backup in its place"):
            opened_ids(damaged)
    for command in ("serve", "doctor"):
        refused = appliance.run(command)
        assert refused.returncode == 2
        (line,) = refused.stderr.strip().splitlines()
        assert line.startswith("error: database.path: ")


def examined(app: App) -> Finding:
    """What the doctor says of the database."""
    return next(finding for finding in diagnosis.examine(app.ctx.config, app.ctx.store) if finding.name == "database")


def test_the_doctor_finds_damage_that_the_start_does_not_see(app: App) -> None:
    request(app)
    (page,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'file'").fetchone()
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert examined(app).outcome == "ok"
    database.close()
    with app.ctx.config.database_path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xff" * 50)
    finding = examined(app)
    assert finding.outcome == "failed"
    assert "backup" in finding.suggestion
