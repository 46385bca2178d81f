"""One large file: our client beside boto3's transfer manager, the same store, part size and number of parts at once."""

from __future__ import annotations

import itertools
import os
import tempfile
from pathlib import Path

from boto3.s3.transfer import TransferConfig

from bench.app import app
from bench.measure import Effort, Figure, figure, in_turns, seconds_of
from bench.peers import bare_boto3, store_address
from uploadkit.client import Client

PART_BYTES = 5 * 1024**2
AT_ONCE = 4


def measure(effort: Effort) -> list[Figure]:
    """Upload the same file by both, and delete it before the next round, so that neither fills the disk for the other."""
    size = effort.big_file_bytes
    with tempfile.TemporaryDirectory() as folder, app(STORAGE__BUNDLED__MAX_DISK_BYTES="32GB") as appliance:
        path = Path(folder) / "film.mp4"
        _fill(path, size)
        store, numbers = store_address(appliance), itertools.count()
        client, bare = Client(appliance.base, appliance.key), bare_boto3(store)
        settings = TransferConfig(multipart_chunksize=PART_BYTES, multipart_threshold=PART_BYTES, max_concurrency=AT_ONCE)

        def ours() -> float:
            taken = seconds_of(lambda: keys.append(client.upload(path, parallel_parts=AT_ONCE).key))
            client.delete(keys.pop())
            return taken

        def theirs() -> float:
            key = f"bare/{next(numbers)}"
            taken = seconds_of(lambda: bare.upload_file(str(path), store.bucket, key, {"ContentType": "video/mp4"}, Config=settings))
            bare.delete_object(Bucket=store.bucket, Key=key)
            return taken

        keys: list[str] = []
        rounds = in_turns(effort, ours, theirs)
    return [figure(f"{size // 1024**2:,} MiB in parts, by our client", "boto3's transfer manager", "s", rounds, at_most=1.1)]


def _fill(path: Path, size: int) -> None:
    """Bytes that don't compress, and that begin as a film does."""
    with path.open("wb") as file:
        file.write(b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom")
        while (left := size - file.tell()) > 0:
            file.write(os.urandom(min(left, 1024**2)))
