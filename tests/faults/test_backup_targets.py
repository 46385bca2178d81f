"""Targets of backups that fail: a disk that is full, a bucket that hangs, refuses, is slow or goes away in the middle."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import App
from tests.support.sample_files import film, in_parts, jpeg, single
from tests.support.store_proxy import Answered, Asked, proxied
from uploadkit.core.errors import StorageUnavailable
from uploadkit.core.sizes import MIB
from uploadkit.files import deletion_hold
from uploadkit.maintenance.backups import creation, places, verification
from uploadkit.maintenance.backups.layout import Backup
from uploadkit.maintenance.backups.target import existing
from uploadkit.objectstore.address import StoreAddress
from uploadkit.objectstore.store import ObjectStore


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 6 MiB; only root can make one."""
    place = tmp_path / "small-disk"
    place.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m,mode=0700", "tmpfs", str(place)], capture_output=True, check=False)
    if made.returncode != 0:
        pytest.skip("a file system can't be mounted here: needs root")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def back_up(app: App, place: places.Place) -> Backup:
    return creation.create(app.ctx.config, app.ctx.store, place, keep=1, stopping=threading.Event())


def faults(app: App, place: places.Place) -> list[str]:
    target = existing(app.ctx.config, place)
    return verification.verify(target, verification.chosen(target, None), app.ctx.config.data_dir).faults


def test_a_full_disk_leaves_the_last_good_one_and_the_next_goes_on(app: App, small_disk: Path) -> None:
    place = places.Folder(small_disk / "backups")
    single(app, jpeg())
    good = back_up(app, place)
    in_parts(app, *film())  # 10 MiB
    with pytest.raises(StorageUnavailable, match="No space left on device"):
        back_up(app, place)
    assert existing(app.ctx.config, place).ids()[0] == [good.id]
    assert faults(app, place) == []
    assert not deletion_hold.is_held()
    assert not [path for path in small_disk.rglob("*.part") if path.is_file()], "nothing half stays"
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    assert back_up(app, place).files == 2
    assert faults(app, place) == []
    assert len(existing(app.ctx.config, place).ids()[0]) == 1, "the older one, and the unfinished one, are gone"


Rule = Callable[[Asked, Callable[[Asked], Answered]], Answered]


def full(asked: Asked, pass_on: Callable[[Asked], Answered]) -> Answered:
    return Answered.error(507, "InsufficientStorage") if asked.method == "PUT" else pass_on(asked)


def refusing(asked: Asked, pass_on: Callable[[Asked], Answered]) -> Answered:
    return Answered.error(403, "AccessDenied") if asked.method == "PUT" else pass_on(asked)


def hanging_up(asked: Asked, pass_on: Callable[[Asked], Answered]) -> Answered:
    return Answered(raw=[]) if asked.method == "PUT" and asked.key.startswith("two/files/") else pass_on(asked)


def silent(asked: Asked, pass_on: Callable[[Asked], Answered]) -> Answered:
    if asked.method == "GET" and asked.key:
        time.sleep(3)  # longer than it is waited for
    return pass_on(asked)


@pytest.fixture
def bucket(app: App) -> StoreAddress:
    """An empty bucket beside the app's own."""
    address = StoreAddress(**(vars(app.ctx.store.address) | {"bucket": f"backups-{app.project.id[-12:]}"}))
    ObjectStore(address).create_bucket()
    return address


@pytest.mark.parametrize("rule", [full, refusing, hanging_up, silent])
def test_a_bucket_that_fails_is_told_within_a_bound_and_the_next_backup_goes_on(app: App, bucket: StoreAddress, rule: Rule) -> None:
    single(app, jpeg())
    in_parts(app, *film())
    with proxied(bucket, rule) as to:
        began = time.monotonic()
        with pytest.raises(StorageUnavailable):
            back_up(app, places.Bucket(ObjectStore(to, timeout_seconds=1), "two"))
        assert time.monotonic() - began < 60
    place = places.Bucket(ObjectStore(bucket), "two")
    assert not deletion_hold.is_held()
    assert back_up(app, place).files == 2
    assert faults(app, place) == []


def test_a_bucket_that_goes_away_in_the_middle_keeps_what_it_has(app: App, bucket: StoreAddress) -> None:
    for _ in range(6):
        single(app, jpeg())
    sent: list[str] = []

    def rule(asked: Asked, pass_on: Callable[[Asked], Answered]) -> Answered:
        if asked.method == "PUT" and asked.key.startswith("one/files/"):
            sent.append(asked.key)
            if len(sent) > 3:
                return Answered(raw=[])
        return pass_on(asked)

    with proxied(bucket, rule) as to, pytest.raises(StorageUnavailable):
        back_up(app, places.Bucket(ObjectStore(to, timeout_seconds=1), "one"))
    place = places.Bucket(ObjectStore(bucket), "one")
    assert existing(app.ctx.config, place).ids()[0] == []
    assert back_up(app, place).files == 6
    assert faults(app, place) == []


def test_a_slow_bucket_is_waited_for(app: App, bucket: StoreAddress) -> None:
    in_parts(app, *film())

    def slow(asked: Asked, pass_on: Callable[[Asked], Answered]) -> Answered:
        if asked.method == "PUT":
            time.sleep(0.3)
        return pass_on(asked)

    with proxied(bucket, slow) as to:
        place = places.Bucket(ObjectStore(to, timeout_seconds=1), "slow")
        made = back_up(app, place)
        assert made.size_bytes > 10 * MIB
        assert faults(app, place) == []
