"""What the store says of the things it keeps, read out of its answers. Refuses what no S3 store would say."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from uploadkit.core.errors import StorageUnavailable
from uploadkit.core.etags import plain_etag
from uploadkit.objectstore.boto import NOT_S3_SUGGESTION, understood


@dataclass(frozen=True)
class StoredObject:
    """What the store says of an object: size in bytes, type, ETag (without quotes) and its first bytes.

    `encryption` is what it says of that, "" without any: under a key of a KMS, an ETag is no digest of the bytes.
    """

    size_bytes: int
    content_type: str
    etag: str
    first_bytes: bytes
    encryption: str = ""


@dataclass(frozen=True)
class Piece:
    """Bytes of an object, and what the store says of it with them."""

    stored: StoredObject
    start: int
    content: bytes


@dataclass(frozen=True)
class StoredPart:
    """A part that has arrived: its number, size in bytes, ETag (without quotes) and when (milliseconds since the epoch).

    `rivals` are the ETags of other contents that came under the same number, where the store can't tell which was the last.
    """

    number: int
    size_bytes: int
    etag: str
    arrived_at: int
    rivals: frozenset[str] = frozenset()


def stored_object(headers: Mapping[str, str], first_bytes: bytes) -> StoredObject:
    """Read the answer to a GET of an object's beginning. Raises StorageUnavailable when it is not one of S3, or tells no size."""
    require_etag(headers)
    given = headers.get("Content-Range", f"bytes 0-0/{headers.get('Content-Length', '')}")
    total = re.fullmatch(r"bytes [0-9]{1,18}-[0-9]{1,18}/([0-9]{1,18})", given)
    if not total:
        raise StorageUnavailable("The object store's answer to GetObject does not say how large the object is", NOT_S3_SUGGESTION)
    encryption = headers.get("x-amz-server-side-encryption", "")
    with understood():
        return StoredObject(int(total[1]), headers.get("Content-Type", ""), etag_in(headers), first_bytes, encryption)


def etag_in(answer: Mapping[str, Any]) -> str:
    """Return the ETag of an answer or a list's item, without quotes. Raises KeyError and ValueError; for within `understood`."""
    return etag_of(answer["ETag"])


def etag_of(text: str) -> str:
    """Return an ETag as `plain_etag` does. Raises ValueError when it is none (RFC 9110 section 8.8.3), or is too long to keep."""
    if not re.fullmatch(r"[\x21-\x7e]{0,256}", etag := plain_etag(text)):
        raise ValueError("no ETag")
    return etag


def upload_id_in(answer: Mapping[str, Any]) -> str:
    """Return a multipart upload's id. Raises KeyError and ValueError, also when it is too long for a URL; for within `understood`."""
    upload_id: str = answer["UploadId"]
    if not re.fullmatch(r"[\x21-\x7e]{1,2048}", upload_id):
        raise ValueError("no upload id")
    return upload_id


def size_of(item: Mapping[str, Any]) -> int:
    """Return the bytes that a list's item has. Raises KeyError and ValueError; for within `understood`."""
    size = int(item["Size"])
    if not 0 <= size < 1 << 63:
        raise ValueError("no size")
    return size


def piece(headers: Mapping[str, str], start: int, content: bytes) -> Piece:
    """Read the answer to a GET of bytes from `start` on. Raises StorageUnavailable when these are others, or it is no answer of S3."""
    stored = stored_object(headers, content if start == 0 else b"")
    _require_start(headers.get("Content-Range"), start)
    return Piece(stored, start, content)


def require_bytes(answer: Mapping[str, Any], etag: str, start: int) -> None:
    """Refuse boto3's answer to a GET unless it is of the object with that `etag`, from byte `start` on. Raises StorageUnavailable."""
    require_etag(answer)
    with understood():
        is_it = etag_in(answer) == etag
    if not is_it:
        raise StorageUnavailable("The object store answers with another object than the one that was asked for", NOT_S3_SUGGESTION)
    _require_start(answer.get("ContentRange"), start)


def _require_start(content_range: str | None, start: int) -> None:
    if not (content_range or "bytes 0-").startswith(f"bytes {start}-"):
        raise StorageUnavailable("The object store answers with other bytes of the object than it was asked for", NOT_S3_SUGGESTION)


def require_etag(answer: Mapping[str, Any]) -> None:
    """Refuse what looks like an object and is somebody else's page. Raises StorageUnavailable."""
    if "ETag" not in answer:
        raise StorageUnavailable("What came as the object store's answer to GetObject is not one of S3 (no ETag)", NOT_S3_SUGGESTION)


def stored_part(part: Mapping[str, Any]) -> StoredPart:
    """Read one item of a list of parts. Raises StorageUnavailable."""
    with understood():
        return StoredPart(part["PartNumber"], size_of(part), etag_in(part), int(part["LastModified"].timestamp() * 1000))


def last_of_each(parts: Sequence[StoredPart]) -> list[StoredPart]:
    """The parts by number. S3 lists what was put last under a number; SeaweedFS lists every PUT, in any order, with its second."""
    newest: dict[int, StoredPart] = {}
    for part in parts:
        known = newest.get(part.number)
        if known is None or part.arrived_at > known.arrived_at:
            newest[part.number] = part
        elif part.arrived_at == known.arrived_at and part.etag != known.etag:
            newest[part.number] = replace(known, rivals=known.rivals | {part.etag})
    return [newest[number] for number in sorted(newest)]
