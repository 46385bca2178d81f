"""One object from one store to another, byte for byte.

Each piece goes through a temporary file, because its MD5 travels ahead of it: the target refuses what arrives otherwise. An object that was
uploaded in parts goes in the same parts, so that it keeps its ETag where the target computes it as the source did.
"""

from __future__ import annotations

import base64
import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO

from uploadkit.errors import StorageUnavailable
from uploadkit.storage.s3 import ObjectStore

_IN_MEMORY_BYTES = 16 * 1024**2
_CHUNK_BYTES = 1024**2


def copy_object(
    source: ObjectStore, target: ObjectStore, key: str, size_bytes: int, part_size_bytes: int | None, content_type: str, disposition: str
) -> str:
    """Copy the object under `key`, in parts of `part_size_bytes` if it has any; return its ETag at the target.

    Raises StorageUnavailable and its kinds; then nothing half stays at the target.
    """
    if part_size_bytes is None:
        with _piece(source, key, 0, size_bytes) as (body, md5):
            return target.put(key, body, md5, content_type, disposition)
    upload_id = target.create_multipart(key, content_type, disposition)
    try:
        etags: list[str] = []
        for start in range(0, size_bytes, part_size_bytes):
            with _piece(source, key, start, min(part_size_bytes, size_bytes - start)) as (body, md5):
                etags.append(target.put_part(key, upload_id, len(etags) + 1, body, md5))
        if not target.complete_multipart(key, upload_id, list(enumerate(etags, 1))):
            raise StorageUnavailable("The target has lost the multipart upload")
    except BaseException:
        with suppress(StorageUnavailable):
            target.abort_multipart(key, upload_id)
        raise
    stored = target.look_at(key, 1)
    if stored is None:
        raise StorageUnavailable("The target does not have what it has just put together")
    return stored.etag


@contextmanager
def _piece(source: ObjectStore, key: str, start: int, length: int) -> Iterator[tuple[IO[bytes], str]]:
    """Bytes of an object as a file, with their MD5 as Content-MD5 has it. Raises StorageUnavailable when they don't come whole."""
    digest = hashlib.md5(usedforsecurity=False)
    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES) as file:
        for chunk in source.read(key, start, length, _CHUNK_BYTES):
            digest.update(chunk)
            file.write(chunk)
        if file.tell() != length:
            raise StorageUnavailable(f"The source broke off after {start + file.tell()} bytes")
        file.seek(0)
        yield file, base64.b64encode(digest.digest()).decode()
