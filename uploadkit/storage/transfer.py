"""One object from one store to another, byte for byte.

Each piece goes through a temporary file, because its MD5 travels ahead of it: the target refuses what arrives otherwise. An object that was
uploaded in parts goes in the same parts, so that it keeps its ETag where the target computes it as the source did.
"""

from __future__ import annotations

import base64
import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import IO

from uploadkit.errors import StorageUnavailable
from uploadkit.storage.s3 import ObjectStore

_IN_MEMORY_BYTES = 16 * 1024**2
_CHUNK_BYTES = 1024**2


class SourceChanged(Exception):
    """The source does not hold what was verified."""


def copy_object(
    source: ObjectStore,
    target: ObjectStore,
    key: str,
    size_bytes: int,
    etag: str,
    part_size_bytes: int | None,
    content_type: str,
    disposition: str,
    *,
    spool: Path,
) -> str:
    """Copy the object under `key`, which must have that size and `etag`, in parts of `part_size_bytes` if it has any.

    Pieces wait in unnamed files in the directory `spool`. Returns the object's ETag at the target.
    Raises SourceChanged, StorageUnavailable and its kinds, OSError; then nothing half stays at the target.
    """
    stored = source.look_at(key, 1)
    if stored is None:
        raise SourceChanged("its object is missing")
    if (stored.size_bytes, stored.etag) != (size_bytes, etag):
        raise SourceChanged("its object is not what was verified")

    def piece(start: int, length: int) -> AbstractContextManager[tuple[IO[bytes], str]]:
        return _piece(source, key, etag, start, length, spool)

    if part_size_bytes is None:
        with piece(0, size_bytes) as (body, md5):
            return target.put(key, body, md5, content_type, disposition)
    upload_id = target.create_multipart(key, content_type, disposition)
    try:
        etags: list[str] = []
        for start in range(0, size_bytes, part_size_bytes):
            with piece(start, min(part_size_bytes, size_bytes - start)) as (body, md5):
                etags.append(target.put_part(key, upload_id, len(etags) + 1, body, md5))
        if not target.complete_multipart(key, upload_id, size_bytes, list(enumerate(etags, 1))):
            raise StorageUnavailable("The target has lost the multipart upload")
    except BaseException:
        with suppress(StorageUnavailable):
            target.abort_multipart(key, upload_id)
        raise
    arrived = target.look_at(key, 1)
    if arrived is None or arrived.size_bytes != size_bytes:
        raise StorageUnavailable("The target does not have what it has just put together")
    return arrived.etag


@contextmanager
def _piece(source: ObjectStore, key: str, etag: str, start: int, length: int, spool: Path) -> Iterator[tuple[IO[bytes], str]]:
    """Bytes of an object as a file, with their MD5 as Content-MD5 has it. Raises StorageUnavailable when they don't come whole."""
    digest = hashlib.md5(usedforsecurity=False)
    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES, dir=str(spool)) as file:
        for chunk in source.read(key, etag, start, length, _CHUNK_BYTES):
            digest.update(chunk)
            file.write(chunk)
        if file.tell() != length:
            raise StorageUnavailable(f"The source broke off after {start + file.tell()} bytes")
        file.seek(0)
        yield file, base64.b64encode(digest.digest()).decode()
