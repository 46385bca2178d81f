"""One object held against its row, byte for byte: what was verified once, is it still there, and can it be read?

An ETag is a digest of the bytes where stores keep to the rule: the MD5 of a single upload, the MD5 of the parts' MD5s of one in parts.
Where it is none (encryption by a KMS, stores with ETags of their own), size, ETag and that the bytes come are all that can be held.
"""

from __future__ import annotations

import base64
import hashlib
import io
import re
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal

from uploadkit.core import clock
from uploadkit.core.errors import InvalidParts, StorageUnavailable
from uploadkit.core.etags import joined_etag
from uploadkit.core.ids import new_id
from uploadkit.core.sizes import MIB
from uploadkit.db.models import File
from uploadkit.objectstore.boto import StorageRefused
from uploadkit.objectstore.objects import Piece, StoredObject
from uploadkit.objectstore.store import ObjectStore

PIECE_BYTES = 8 * MIB
"""What is held in memory of an object at a time."""
_SAVE_EVERY_BYTES = 256 * MIB
_MD5 = re.compile(r"[0-9a-f]{32}")
_PROBE_KEY = "pending/readiness-probe"
_PROBE = b"UploadKit asks what an ETag is"
_PROBE_MD5 = base64.b64encode(hashlib.md5(_PROBE, usedforsecurity=False).digest()).decode()

DamageKind = Literal["object_unreadable", "object_differs", "row_without_object"]


class Unreadable(Exception):
    """The store answers, but not for this object."""


class Stopped(Exception):
    """Somebody wants the reading to end."""


@dataclass(frozen=True)
class EtagRules:
    """Whether the store's ETags are digests of the bytes, of single uploads and of uploads in parts."""

    single: bool = True
    in_parts: bool = True


@dataclass(frozen=True)
class Damage:
    """What is wrong with an object, in a sentence."""

    kind: DamageKind
    detail: str


@dataclass(frozen=True)
class Checked:
    """What came of reading one object: `read_bytes` of it came; `proven` says whether a digest was held against them."""

    read_bytes: int
    proven: bool
    damage: Damage | None = None


@dataclass
class Pace:
    """At most `bytes_per_second` (None: as fast as it goes), all threads together. When `stopping` is set, the reading ends."""

    bytes_per_second: float | None
    stopping: threading.Event
    _due_ms: float = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def wait(self, size_bytes: int) -> None:
        """Wait until `size_bytes` more may be read. Raises Stopped."""
        wait_ms = 0.0
        if self.bytes_per_second is not None:
            with self._lock:
                now = clock.monotonic_ms()
                self._due_ms = max(self._due_ms, now)
                wait_ms = self._due_ms - now
                self._due_ms += size_bytes * 1000 / self.bytes_per_second
        if self.stopping.wait(wait_ms / 1000) if wait_ms else self.stopping.is_set():
            raise Stopped


@dataclass
class PartDigests:
    """The MD5s of the parts that were read already of a large object, so that an interrupted reading can go on; `save` gets new ones."""

    known: list[str] = field(default_factory=list)
    save: Callable[[list[str]], None] = lambda new: None


def read(store: ObjectStore, key: str, start: int, length: int) -> Piece | None:
    """Return a piece of an object; None when there is none. Raises Unreadable, and StorageUnavailable when the store is away."""
    try:
        return store.read_piece(key, start, length)
    except StorageRefused as error:
        raise Unreadable(error.message) from None
    except StorageUnavailable as error:
        require_answer(store)
        reason = error.message
    try:  # once more: it may have been away for a moment
        return store.read_piece(key, start, length)
    except StorageRefused as error:
        reason = error.message
    except StorageUnavailable:
        require_answer(store)
    raise Unreadable(reason)


def require_answer(store: ObjectStore) -> None:
    """Ask the store for something that is not there. Raises StorageUnavailable when it does not answer that either."""
    with suppress(StorageRefused):
        store.read_piece(_PROBE_KEY, 0, 1)


def etag_rules(store: ObjectStore) -> EtagRules:
    """Find out by two tiny objects under `pending/` whether the store's ETags are digests; where it may not, S3's rule is believed.

    Raises StorageUnavailable when the store is away.
    """
    key = f"pending/deep-check-{new_id()}"
    single = in_parts = True
    try:
        single = _put_whole(store, key)
        in_parts = _put_in_parts(store, f"{key}-parts")
    except (StorageRefused, InvalidParts):
        pass
    finally:
        with suppress(StorageUnavailable):
            store.delete(key)
            store.delete(f"{key}-parts")
    return EtagRules(single, in_parts)


def _put_whole(store: ObjectStore, key: str) -> bool:
    return _follows_rule(store, key, store.put(key, io.BytesIO(_PROBE), _PROBE_MD5, "text/plain", "inline"), _hex_of_probe())


def _put_in_parts(store: ObjectStore, key: str) -> bool:
    upload_id = store.create_multipart(key, "text/plain", "inline")
    try:
        part = store.put_part(key, upload_id, 1, io.BytesIO(_PROBE), _PROBE_MD5)
        store.complete_multipart(key, upload_id, len(_PROBE), [(1, part)])
    except BaseException:
        with suppress(StorageUnavailable):
            store.abort_multipart(key, upload_id)
        raise
    return _follows_rule(store, key, None, joined_etag([_hex_of_probe()]))


def _follows_rule(store: ObjectStore, key: str, etag: str | None, digest: str) -> bool:
    """Say whether an ETag is the digest of the bytes, but where a KMS has a hand in it: each such object says so itself."""
    stored = store.head(key, 1)
    return stored is None or _is_sealed(stored) or stored.etag == digest == (etag or digest)


def _hex_of_probe() -> str:
    return hashlib.md5(_PROBE, usedforsecurity=False).hexdigest()


def check(
    store: ObjectStore,
    file: File,
    rules: EtagRules,
    pace: Pace,
    digests: PartDigests | None = None,
    take: Callable[[bytes], None] = lambda piece: None,
) -> Checked:
    """Read the object of a verified `file` and hold it against the row; `take` gets its bytes, up to PIECE_BYTES at a time, in order.

    Raises Stopped, StorageUnavailable when the store is away, and what `take` raises.
    """
    reading = _Reading(store, file, pace, digests or PartDigests(), take)
    try:
        damage, proven = reading.hold(rules)
    except Unreadable as error:
        return Checked(reading.read_bytes, False, Damage("object_unreadable", f"the store can't read it: {error}"))
    return Checked(reading.read_bytes, proven, damage)


def glance(store: ObjectStore, file: File, pace: Pace, start: int) -> Checked:
    """Read one piece of a file that is too large to be read whole, from byte `start` on. Raises as `check` does."""
    reading = _Reading(store, file, pace, PartDigests())
    try:
        found = reading.piece(start, min(PIECE_BYTES, file.size_bytes - start))
    except Unreadable as error:
        return Checked(0, False, Damage("object_unreadable", f"the store can't read it: {error}"))
    return Checked(reading.read_bytes, False, found if isinstance(found, Damage) else None)


class _Reading:
    def __init__(
        self, store: ObjectStore, file: File, pace: Pace, digests: PartDigests, take: Callable[[bytes], None] = lambda piece: None
    ) -> None:
        self._store, self._file, self._pace, self._digests, self._take = store, file, pace, digests, take
        self._stored: StoredObject | None = None
        self.read_bytes = 0

    def hold(self, rules: EtagRules) -> tuple[Damage | None, bool]:
        """Read all of the object; say what is wrong, and whether a digest was held against the bytes. Raises Unreadable."""
        file = self._file
        part_bytes = file.part_size_bytes or file.size_bytes
        parts = -(-file.size_bytes // part_bytes)
        md5s, unsaved, unsaved_bytes = self._digests.known[: parts - 1], 0, 0  # at least one part is asked for
        for part_start in range(len(md5s) * part_bytes, file.size_bytes, part_bytes):
            md5 = hashlib.md5(usedforsecurity=False)
            part_end = min(part_start + part_bytes, file.size_bytes)
            for start in range(part_start, part_end, PIECE_BYTES):
                found = self.piece(start, min(PIECE_BYTES, part_end - start))
                if isinstance(found, Damage):
                    return found, False
                md5.update(found)
                self._take(found)
            md5s.append(md5.hexdigest())
            unsaved, unsaved_bytes = unsaved + 1, unsaved_bytes + part_bytes
            if unsaved_bytes >= _SAVE_EVERY_BYTES and file.is_multipart:
                self._digests.save(md5s[-unsaved:])
                unsaved = unsaved_bytes = 0
        wanted = joined_etag(md5s) if file.is_multipart else md5s[0]
        if not is_digest(file, self._stored, rules):
            return None, False
        if wanted != file.etag:
            return Damage("object_differs", f"its bytes are not those that were verified: they give the ETag {wanted}"), True
        return None, True

    def piece(self, start: int, length: int) -> bytes | Damage:
        """Return bytes of the object, if it still is the one that was verified. Raises Unreadable."""
        file = self._file
        self._pace.wait(length)
        found = read(self._store, file.key, start, length)
        if found is None:
            return Damage("row_without_object", "the file's object is not in the bucket")
        stored = self._stored = found.stored
        self.read_bytes += len(found.content)
        if stored.size_bytes != file.size_bytes:
            return Damage("object_differs", f"somebody has replaced the object: {stored.size_bytes} bytes, {file.size_bytes} were verified")
        if stored.etag != file.etag:
            return Damage("object_differs", "somebody has replaced the object: another ETag than was verified")
        if len(found.content) != length:
            raise Unreadable(f"{len(found.content)} bytes came of {length} from byte {start} on")
        return found.content


def is_digest(file: File, stored: StoredObject | None, rules: EtagRules) -> bool:
    """Say whether the ETag that was verified for `file` is a digest of its bytes, by what the store says of its object (None: unknown)."""
    assert file.etag is not None
    if stored is not None and _is_sealed(stored):
        return False
    if not file.is_multipart:
        return rules.single and _MD5.fullmatch(file.etag) is not None
    assert file.part_size_bytes is not None
    digest, _, count = file.etag.partition("-")
    return rules.in_parts and _MD5.fullmatch(digest) is not None and count == str(-(-file.size_bytes // file.part_size_bytes))


def _is_sealed(stored: StoredObject) -> bool:
    return stored.encryption.startswith("aws:kms")
