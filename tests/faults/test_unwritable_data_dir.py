"""A data directory that can't be written, or not any more: the start, /readyz and doctor say so."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.appliance import running
from tests.support.stores import OtherStore, byos_settings
from uploadkit.core import writable

NOBODY = 65534


@contextlib.contextmanager
def mounted(place: Path, *arguments: str) -> Iterator[None]:
    """Mount something at `place`; only root can."""
    made = subprocess.run(["mount", *arguments, str(place)], capture_output=True, check=False)
    if made.returncode != 0:
        pytest.skip("a file system can't be mounted here: needs root")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@contextlib.contextmanager
def read_only(place: Path) -> Iterator[None]:
    """Have nothing written under `place`; files that are open stay so, as when a disk fails."""
    with mounted(place, "--bind", str(place)):
        subprocess.run(["mount", "-o", "remount,bind,ro", str(place)], check=True)
        yield


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Run as a user whom permissions stop; root they don't."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_directory_that_can_be_written_is_left_as_it_was(tmp_path: Path) -> None:
    assert writable.problem(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_missing_and_forbidden(tmp_path: Path) -> None:
    assert writable.problem(tmp_path / "gone") == "No such file or directory"
    tmp_path.chmod(0o555)
    with as_nobody():
        assert writable.problem(tmp_path) == "Permission denied"
    tmp_path.chmod(0o700)


def test_mounted_read_only(tmp_path: Path) -> None:
    with read_only(tmp_path):
        assert writable.problem(tmp_path) == "Read-only file system"
    assert writable.problem(tmp_path) is None


def test_no_room_and_no_inodes(tmp_path: Path) -> None:
    with mounted(tmp_path, "-t", "tmpfs", "-o", "size=256k,nr_inodes=8", "tmpfs"):
        assert writable.problem(tmp_path) is None
        with (tmp_path / "ballast").open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        assert writable.problem(tmp_path) == "No space left on device"
        (tmp_path / "ballast").unlink()
        with contextlib.suppress(OSError):
            for number in range(20):
                (tmp_path / str(number)).touch()
        assert writable.problem(tmp_path) == "No space left on device"


def test_readyz_and_doctor_see_it_and_all_is_well_again_afterwards(tmp_path: Path, other_store: OtherStore) -> None:
    settings = byos_settings(other_store.bucket("unwritable").address)
    with running(tmp_path / "home", **settings) as appliance:
        with read_only(appliance.data_dir):
            ready = appliance.fetch("GET", f"{appliance.base}/readyz")
            assert ready.status == 503
            assert ready.json["checks"]["disk"]["ok"] is False
            assert "can't be written" in ready.json["checks"]["disk"]["detail"]
            assert str(appliance.data_dir) not in str(ready.json), "anybody may ask"
            doctor = appliance.run("doctor", "--json")
            (finding,) = (one for one in json.loads(doctor.stdout)["checks"] if one["name"] == "data directory")
            assert (doctor.returncode, finding["outcome"]) == (1, "failed")
            assert finding["detail"] == f"{appliance.data_dir} can't be written: Read-only file system"
            assert "df -i" in finding["suggestion"]
            assert appliance.call("GET", "/files").status == 200
        assert appliance.fetch("GET", f"{appliance.base}/readyz").status == 200
