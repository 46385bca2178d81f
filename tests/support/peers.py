"""MinIO and versitygw, where their programs are found: TEST_MINIO and TEST_VERSITYGW name them, or PATH does."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3

from tests.support.appliance import free_port, wait_until
from uploadkit.objectstore.address import StoreAddress
from uploadkit.objectstore.store import ObjectStore

_USER, _SECRET = "uploadkit-root", "not-a-secret-but-long"


def program(name: str) -> str:
    """The path of `name`, or a skip that says what to set."""
    found = os.environ.get(f"TEST_{name.upper()}") or shutil.which(name)
    if found is None:
        pytest.skip(f"no {name} program: set TEST_{name.upper()} or put it on PATH")
    return found


@contextlib.contextmanager
def _running(command: list[str], environment: dict[str, str], home: Path, port: int, health_path: str) -> Iterator[StoreAddress]:
    endpoint = f"http://127.0.0.1:{port}"
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(command, env={"PATH": os.defpath, "HOME": str(home), **environment}, stdout=log, stderr=log)
    try:

        def is_up() -> bool:
            assert process.poll() is None, (home / "log").read_text()
            with contextlib.suppress(urllib3.exceptions.HTTPError):
                return urllib3.request("GET", endpoint + health_path, retries=False, timeout=2).status < 500
            return False

        wait_until(is_up, what=command[0])
        address = StoreAddress(endpoint, endpoint, "us-east-1", "peers", "path", _USER, _SECRET)
        wait_until(lambda: _is_made(address), what="the bucket")
        yield address
    finally:
        process.kill()
        process.wait()


def _is_made(address: StoreAddress) -> bool:
    with contextlib.suppress(Exception):  # MinIO answers before it is ready
        ObjectStore(address).create_bucket()
        return True
    return False


@contextlib.contextmanager
def started_minio(home: Path, **settings: str) -> Iterator[StoreAddress]:
    """A MinIO of its own with a bucket, by its root credentials."""
    port = free_port()
    command = [program("minio"), "server", "--quiet", "--address", f"127.0.0.1:{port}", str(home / "data")]
    environment = {"MINIO_ROOT_USER": _USER, "MINIO_ROOT_PASSWORD": _SECRET, "MINIO_BROWSER": "off", "MINIO_UPDATE": "off", **settings}
    with _running(command, environment, home, port, "/minio/health/ready") as address:
        yield address


@contextlib.contextmanager
def started_versitygw(home: Path) -> Iterator[StoreAddress]:
    """A versitygw of its own with a bucket, on a directory."""
    port = free_port()
    (home / "data").mkdir()
    command = [program("versitygw"), "--port", f"127.0.0.1:{port}", "--access", _USER, "--secret", _SECRET, "posix", str(home / "data")]
    with _running(command, {}, home, port, "/") as address:
        yield address
