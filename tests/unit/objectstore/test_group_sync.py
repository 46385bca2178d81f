"""Sharing a sync: nobody goes on before a sync that began after their bytes were written; a disk that fails or hangs is told as that."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
import urllib3

from tests.conftest import App
from tests.faults import volatile_disk
from tests.support.appliance import JPEG, wait_until
from uploadkit.core import clock
from uploadkit.core.errors import StorageUnavailable
from uploadkit.core.sizes import MIB
from uploadkit.db.models import File
from uploadkit.files import lifecycle, verification
from uploadkit.files.admission import UploadRequest
from uploadkit.files.multipart_upload import complete_multipart, start_multipart
from uploadkit.files.single_upload import complete_upload, request_upload
from uploadkit.maintenance.sweeper import sweep_due
from uploadkit.objectstore.bundled import group_sync
from uploadkit.objectstore.bundled.group_sync import FileByFile, GroupSync


class SlowDisk:
    """A sync that lasts until it is let go."""

    def __init__(self) -> None:
        self.begun, self.running, self.go = 0, threading.Semaphore(0), threading.Semaphore(0)

    def __call__(self) -> None:
        self.begun += 1
        self.running.release()
        assert self.go.acquire(timeout=60)


def test_who_comes_while_a_sync_runs_waits_for_the_next_and_shares_it(tmp_path: Path) -> None:
    disk = SlowDisk()
    group = GroupSync(tmp_path, disk)
    with ThreadPoolExecutor(17) as threads:
        first = threads.submit(group.wait)
        assert disk.running.acquire(timeout=60)
        later = [threads.submit(group.wait) for _ in range(16)]
        wait_until(lambda: group._wanted == 2)
        disk.go.release()
        first.result(60)
        assert disk.running.acquire(timeout=60), "the next sync has begun"
        assert not any(waiter.done() for waiter in later), "the one that ran when they came is not theirs"
        disk.go.release()
        for waiter in later:
            waiter.result(60)
    assert disk.begun <= 3, "sixteen shared one sync, or two if some came late"


@pytest.mark.parametrize("failure", [OSError(5, "Input/output error"), ValueError("Input/output error")])
def test_a_failed_sync_is_everybodys_and_for_good(tmp_path: Path, failure: Exception) -> None:
    """Linux tells it once: the pages count as clean from then on, and the next sync would succeed without them."""
    calls = []

    def failing() -> None:
        calls.append(1)
        raise failure

    group = GroupSync(tmp_path, failing, wait_seconds=5)
    assert group.trouble() is None
    for _ in range(2):
        with pytest.raises(StorageUnavailable, match="Input/output error"):
            group.wait()
    assert calls == [1]
    assert "Input/output error" in str(group.trouble())


def test_a_disk_that_hangs_keeps_nobody_for_ever(tmp_path: Path) -> None:
    disk = SlowDisk()
    group = GroupSync(tmp_path, disk, wait_seconds=0.05)
    with pytest.raises(StorageUnavailable, match="has not written everything"):
        group.wait()
    assert group.trouble() is None
    for _ in range(3):
        disk.go.release()
    group._wait_seconds = 60
    group.wait()


def test_nothing_is_acknowledged_that_is_not_on_the_disk(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """The upload is as it was, and can be completed once the disk writes again. The database's writer is not held meanwhile."""
    slot = request_upload(app.ctx, app.caller, UploadRequest("a.jpg", len(JPEG), "image/jpeg", "default", {}))
    app.ctx.store._patient_client.put_object(Bucket="app", Key=slot.file.pending_key, Body=JPEG, ContentType="image/jpeg")
    seen: list[str] = []

    def failing() -> None:
        with ThreadPoolExecutor(1) as other:
            seen.append(other.submit(lambda: File.get_by_id(slot.file.id).status).result(60))
            other.submit(request_upload, app.ctx, app.caller, UploadRequest("b", 1, "", "default", {})).result(60)
        raise StorageUnavailable("The disk fails")

    monkeypatch.setattr(app.ctx.store, "sync", failing)
    with pytest.raises(StorageUnavailable):
        complete_upload(app.ctx, app.caller, slot.file.id, {})
    assert seen == ["UPLOADING"]
    assert File.get_by_id(slot.file.id).status == "UPLOADING"
    monkeypatch.undo()
    assert complete_upload(app.ctx, app.caller, slot.file.id, {}).status == "UPLOADED"


@pytest.mark.skipif(volatile_disk.why_not() is not None, reason=str(volatile_disk.why_not()))
@pytest.mark.parametrize("way", [group_sync.system_sync, FileByFile])
def test_a_sync_misses_no_new_renamed_or_rotated_file(tmp_path: Path, way: Callable[[Path], Callable[[], None]]) -> None:
    disk = volatile_disk.PoweredFileSystem(tmp_path, 64 * MIB)
    try:
        disk.power_on()
        store = disk.directory / "store"
        store.mkdir()
        sync = way(store)
        (store / "1.dat").write_bytes(b"first" * 1000)
        sync()
        (store / "1.dat").rename(store / "1.old")
        (store / "1.cpd").write_bytes(b"vacuumed" * 1000)
        (store / "1.cpd").rename(store / "1.dat")
        (store / "filer" / "05").mkdir(parents=True)
        (store / "filer" / "05" / "000002.log").write_bytes(b"journal" * 1000)
        with (store / "1.old").open("ab") as file:
            file.write(b"more" * 1000)
        sync()
        disk.cut_power(0, 0)
        with pytest.raises(OSError, match="Input/output error"):
            _write_and(sync, store / "late")
        del sync  # it has the disk open
        disk.take_away()
        disk.power_on()
        assert {str(path.relative_to(store)): path.stat().st_size for path in store.rglob("*") if path.is_file()} == {
            "1.dat": 8000,
            "1.old": 9000,
            "filer/05/000002.log": 7000,
        }
    finally:
        disk.take_away()


def _write_and(sync: Callable[[], None], path: Path) -> None:
    path.write_bytes(b"late")
    sync()


def test_files_that_come_and_go_are_looked_for_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file may have been renamed, between the listing and its sync, to a name that had been passed."""
    synced: list[str] = []
    (tmp_path / "b.new").write_bytes(b"x")

    def sync(path: Path) -> None:
        if path.name == "b.new":
            path.rename(tmp_path / "a")
            raise FileNotFoundError(path)
        synced.append(path.name)

    monkeypatch.setattr(group_sync.durable_files, "sync", sync)
    FileByFile(tmp_path)()
    assert synced == ["a", tmp_path.name]


def test_one_that_waits_is_not_woken_by_an_older_sync(tmp_path: Path) -> None:
    """Waits and syncs in any order by eight threads: whatever was written before a wait is in a sync that began afterwards."""
    written, lock = 0, threading.Lock()
    on_disk = 0

    def sync() -> None:
        nonlocal on_disk
        on_disk = written

    group = GroupSync(tmp_path, sync)

    def work() -> None:
        nonlocal written
        for _ in range(200):
            with lock:
                written += 1
                mine = written
            group.wait()
            assert on_disk >= mine

    with ThreadPoolExecutor(8) as threads:
        ended: list[Future[None]] = [threads.submit(work) for _ in range(8)]
        for one in ended:
            one.result(60)


def test_parts_from_before_the_machine_started_are_read_before_they_count(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """A power cut may have left their entries and not their bytes; joining them reads none."""
    content = b"\x00\x00\x00\x20ftypisom" + bytes(11 * MIB)
    slot = start_multipart(app.ctx, app.caller, UploadRequest("a.mp4", len(content), "video/mp4", "default", {}))
    file, size = slot.file, slot.file.part_size_bytes or 0
    assert file.upload_id
    for part in slot.part_urls:
        body = content[(part.number - 1) * size : part.number * size]
        assert urllib3.request("PUT", part.upload_url, body=body).status == 200
    reads: list[int] = []

    def unreadable(key: str, etag: str, start: int, length: int, chunk_bytes: int) -> Iterator[bytes]:
        reads.append(length)
        raise StorageUnavailable("The object store refused: 500")
        yield b""

    monkeypatch.setattr(app.ctx.store, "read", unreadable)
    monkeypatch.setattr(verification, "started_at_ms", clock.now_ms)
    with pytest.raises(StorageUnavailable):
        complete_multipart(app.ctx, app.caller, file.id, file.upload_id, None, {})
    assert reads == [len(content)]
    assert File.get_by_id(file.id).status == "UPLOADING"
    monkeypatch.setattr(verification, "started_at_ms", lambda: clock.now_ms() - 3600_000)  # now they came after it
    assert complete_multipart(app.ctx, app.caller, file.id, file.upload_id, None, {}).status == "UPLOADED"
    assert len(reads) == 1, "what came after the start is not read"


def test_what_is_noted_as_gone_is_gone_from_the_disk(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a deleted object would be back after a power cut, and no row would tell the sweeper."""
    slot = request_upload(app.ctx, app.caller, UploadRequest("a.jpg", len(JPEG), "image/jpeg", "default", {}))
    lifecycle.leave_uploading(app.ctx, slot.file, "aborted", "The upload was aborted")

    def failing() -> None:
        raise StorageUnavailable("The disk fails")

    monkeypatch.setattr(app.ctx.store, "sync", failing)
    before = File.get_by_id(slot.file.id).sweep_at
    sweep_due(app.ctx)
    assert File.get_by_id(slot.file.id).sweep_at == before, "the sweeper comes back to it"
    monkeypatch.undo()
    sweep_due(app.ctx)
    assert File.get_by_id(slot.file.id).sweep_at != before
