"""The store behind the players."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from tests.support.peers import started_minio
from tests.support.stores import started_store
from uploadkit.objectstore.address import StoreAddress
from uploadkit.objectstore.store import ObjectStore


@contextlib.contextmanager
def store_behind(home: Path) -> Iterator[Callable[[str], StoreAddress]]:
    """Start a MinIO where there is one, else a SeaweedFS; yield what makes a bucket there and returns its address."""
    with contextlib.ExitStack() as stack:
        if os.environ.get("TEST_MINIO") or shutil.which("minio"):
            owner = stack.enter_context(started_minio(home))
        else:
            owner = stack.enter_context(started_store(home)).address

        def bucket(name: str) -> StoreAddress:
            address = replace(owner, bucket=name)
            ObjectStore(address).create_bucket()
            return address

        yield bucket
