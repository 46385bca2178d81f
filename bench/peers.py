"""The others: Uppy Companion and a bare Flask, each a process of its own, and a bare boto3 client of the same store."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import urllib3
from botocore.config import Config

from tests.support.appliance import Appliance, free_port, wait_until
from uploadkit.objectstore.address import StoreAddress

FOLDER = Path(__file__).with_name("companion")


@dataclass(frozen=True)
class Companion:
    """One that runs: where, and as which process."""

    base: str
    pid: int


@contextlib.contextmanager
def companion(store_endpoint: str) -> Iterator[Companion]:
    """Start Companion, installed on first use as its lock file says, for a store at `store_endpoint`; stop it at the end."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise SystemExit("make bench needs Node and npm (Debian: apt-get install nodejs npm)")
    installed, lock = FOLDER / "node_modules" / ".package-lock.json", FOLDER / "package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        subprocess.run([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"], cwd=FOLDER, check=True)
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"NODE_ENV": "production", "NODE_NO_WARNINGS": "1"}
        program = [node, str(FOLDER / "server.js"), str(port), store_endpoint, folder]
        process = subprocess.Popen(program, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        try:
            found = Companion(f"http://127.0.0.1:{port}", process.pid)
            wait_until(lambda: process.poll() is None and _answers(found.base), what="Companion to answer")
            yield found
        finally:
            process.terminate()
            process.wait(timeout=30)


def _answers(base: str) -> bool:
    try:
        return urllib3.request("GET", f"{base}/s3/params?filename=a&type=text/plain", retries=False, timeout=5).status == 200
    except urllib3.exceptions.HTTPError:
        return False


@contextlib.contextmanager
def bare_flask() -> Iterator[str]:
    """Start an application that does nothing on the appliance's own HTTP server (bench/bare_flask.py); yield where."""
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "bench.bare_flask", str(port)], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        base = f"http://127.0.0.1:{port}"
        wait_until(lambda: process.poll() is None and _is_up(f"{base}/"), what="a bare Flask to answer")
        yield base
    finally:
        process.terminate()
        process.wait(timeout=30)


def _is_up(url: str) -> bool:
    with contextlib.suppress(urllib3.exceptions.HTTPError):
        return urllib3.request("GET", url, retries=False, timeout=5).status == 404
    return False


def store_address(appliance: Appliance) -> StoreAddress:
    """The bundled store of an appliance that runs, as its owner knows it."""
    secrets = json.loads((appliance.data_dir / "store-credentials.json").read_text())
    answer = appliance.request()
    assert answer.status == 200, answer.body
    endpoint, bucket = answer.json["uploadUrl"].partition("/pending/")[0].rsplit("/", 1)
    return StoreAddress(endpoint, endpoint, "us-east-1", bucket, "path", secrets["access_key_id"], secrets["secret_access_key"])


def bare_boto3(store: StoreAddress) -> Any:
    """A boto3 client of that store, set up as boto3's documentation tells for a store that is not AWS."""
    return boto3.client(
        "s3",
        endpoint_url=store.endpoint,
        region_name=store.region,
        aws_access_key_id=store.access_key_id,
        aws_secret_access_key=store.secret_access_key,
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}, max_pool_connections=64),
    )
