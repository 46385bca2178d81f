"""One object from one store to another, byte for byte.

Each piece goes through a temporary file, because its MD5 travels ahead of it: the target refuses what arrives otherwise. An object that was
uploaded in parts goes in the same parts, so that it keeps its ETag where the target computes it as the source did. Where that is a digest
of the bytes, what has come is held against it before it counts: what a disk has spoilt would else be called verified.
"""

from __future__ import annotations

import hashlib
import tempfile
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import IO, Protocol

from uploadkit.core.errors import StorageUnavailable
from uploadkit.core.etags import joined_etag
from uploadkit.core.sizes import MIB
from uploadkit.objectstore.objects import StoredObject
from uploadkit.objectstore.store import ObjectStore

_IN_MEMORY_BYTES = 16 * MIB
_CHUNK_BYTES = MIB


class Source(Protocol):
    """What objects are copied from: a store, or a backup."""

    def head(self, key: str, first_bytes: int = 4096) -> StoredObject | None:
        """Return what there is under `key`; None when there is nothing."""

    def read(self, key: str, etag: str, start: int, length: int, chunk_bytes: int) -> Iterator[bytes]:
        """Yield `length` bytes from byte `start` on of the object that has this `etag`."""


class SourceChanged(Exception):
    """The source does not hold what was verified."""


def copy_object(
    source: Source,
    target: ObjectStore,
    key: str,
    size_bytes: int,
    etag: str,
    part_size_bytes: int | None,
    content_type: str,
    disposition: str,
    *,
    spool: Path,
    is_digest: Callable[[StoredObject], bool],
) -> str:
    """Copy the object under `key`, which must have that size and `etag`, in parts of `part_size_bytes` if it has any.

    Pieces wait in unnamed files in the directory `spool`. `is_digest` says of what the source has whether its ETag follows from its bytes.
    Returns the object's ETag at the target.
    Raises SourceChanged, StorageUnavailable and its kinds, OSError; then nothing half stays at the target.
    """
    stored = source.head(key, 1)
    if stored is None:
        raise SourceChanged("its object is missing")
    if (stored.size_bytes, stored.etag) != (size_bytes, etag):
        raise SourceChanged("its object is not what was verified")

    has_digest = is_digest(stored)

    def require(found: str) -> None:
        if has_digest and found != etag:
            raise SourceChanged("its bytes are not those that were verified")

    def piece(start: int, length: int) -> AbstractContextManager[tuple[IO[bytes], bytes]]:
        return _piece(source, key, etag, start, length, spool)

    if part_size_bytes is None:
        with piece(0, size_bytes) as (body, md5):
            require(md5.hex())
            return target.put(key, body, b64encode(md5).decode(), content_type, disposition)
    upload_id = target.create_multipart(key, content_type, disposition)
    try:
        etags: list[str] = []
        md5s: list[str] = []
        for start in range(0, size_bytes, part_size_bytes):
            with piece(start, min(part_size_bytes, size_bytes - start)) as (body, md5):
                md5s.append(md5.hex())
                etags.append(target.put_part(key, upload_id, len(etags) + 1, body, b64encode(md5).decode()))
        require(joined_etag(md5s))
        if not target.complete_multipart(key, upload_id, size_bytes, list(enumerate(etags, 1))):
            raise StorageUnavailable("The target has lost the multipart upload")
    except BaseException:
        with suppress(StorageUnavailable):
            target.abort_multipart(key, upload_id)
        raise
    arrived = target.head(key, 1)
    if arrived is None or arrived.size_bytes != size_bytes:
        raise StorageUnavailable("The target does not have what it has just put together")
    return arrived.etag


@contextmanager
def _piece(source: Source, key: str, etag: str, start: int, length: int, spool: Path) -> Iterator[tuple[IO[bytes], bytes]]:
    """Bytes of an object as a file, with their MD5. Raises StorageUnavailable when they don't come whole."""
    digest = hashlib.md5(usedforsecurity=False)
    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES, dir=str(spool)) as file:
        for chunk in source.read(key, etag, start, length, _CHUNK_BYTES):
            digest.update(chunk)
            file.write(chunk)
        file.seek(0)
        yield file, digest.digest()
