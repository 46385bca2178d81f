"""Moving to another store: every file's object copied and verified, while the appliance goes on serving (docs/storage.md).

What is verified is immutable, so copying needs no pause: a second pass takes what came since, and only the last one wants the appliance
stopped. Reads and writes objects; the configuration is the command's business.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from uploadkit import clock
from uploadkit.content import disposition
from uploadkit.db import execute, write
from uploadkit.errors import StorageUnavailable
from uploadkit.media_types import same_type
from uploadkit.models import File
from uploadkit.storage.s3 import ObjectStore, StoredObject
from uploadkit.storage.s3_client import AccessDenied
from uploadkit.storage.transfer import copy_object

_BATCH = 100
_THREADS = 4
_SETTING = "storage_copy"


@dataclass
class Copied:
    """What a pass did: files copied, files that were there already, and by key what could not be copied.

    `etags` are, by file id, the ETags of objects that got another one at the target.
    """

    files: int = 0
    there_already: int = 0
    failures: dict[str, str] = field(default_factory=dict)
    etags: dict[str, str] = field(default_factory=dict)


def copy_files(source: ObjectStore, target: ObjectStore, tell: Callable[[File], None]) -> Copied:
    """Copy the object of every UPLOADED file that the target does not have; `tell` hears of each that is done.

    A file that fails is noted and the others go on. May be repeated, and interrupted at any time.
    """
    done, began_at = Copied(), _first_pass_began_at(target)
    with ThreadPoolExecutor(_THREADS) as pool:
        for batch in _batches():
            for file, outcome in zip(batch, pool.map(lambda file: _copy(source, target, file), batch), strict=True):
                _note(done, file, outcome)
                tell(file)
    # What was copied and then deleted must not live on in the other store.
    for (key,) in execute("SELECT key FROM file WHERE status = 'DELETED' AND deleted_at >= ?", (began_at,)).fetchall():
        target.delete(key)
    return done


def _first_pass_began_at(target: ObjectStore) -> int:
    """When the first pass to this target began (milliseconds since the epoch), written down then."""
    named = f"{target.address.endpoint}/{target.address.bucket}"
    row = execute("SELECT value FROM setting WHERE name = ?", (_SETTING,)).fetchone()
    if row is not None and json.loads(row[0])["to"] == named:
        return int(json.loads(row[0])["beganAt"])
    began_at = clock.now_ms()
    with write():
        execute("INSERT OR REPLACE INTO setting (name, value) VALUES (?, ?)", (_SETTING, json.dumps({"to": named, "beganAt": began_at})))
    return began_at


def take_over(copied: Copied) -> None:
    """Give rows the ETag that their object has at the target, in one transaction: to be called when that becomes the store in use."""
    with write():
        execute("DELETE FROM setting WHERE name = ?", (_SETTING,))
        for file_id, etag in copied.etags.items():
            execute("UPDATE file SET etag = ? WHERE id = ? AND status = 'UPLOADED'", (etag, file_id))


def size_of_all() -> tuple[int, int]:
    """Return how many files there are to copy, and their bytes."""
    files, size_bytes = execute("SELECT count(*), coalesce(sum(size_bytes), 0) FROM file WHERE status = 'UPLOADED'").fetchone()
    return files, size_bytes


def uploads_under_way() -> int:
    """Return how many uploads have begun and not ended: their bytes are in the old store alone."""
    (count,) = execute("SELECT count(*) FROM file WHERE status = 'UPLOADING'").fetchone()
    return int(count)


@dataclass(frozen=True)
class _Outcome:
    etag: str = ""
    copied: bool = False
    failure: str | None = None


def _batches() -> Iterator[list[File]]:
    seen = -1
    while batch := list(File.select().where(File.number > seen, File.status == "UPLOADED").order_by(File.number).limit(_BATCH)):
        yield batch
        seen = batch[-1].number


def _copy(source: ObjectStore, target: ObjectStore, file: File) -> _Outcome:
    try:
        present = _at_target(target, file.key)
        if present is not None and _is_it(present, file):
            return _Outcome(present.etag)
        shown_as = disposition(file.file_name, file.content_type)
        etag = copy_object(source, target, file.key, file.size_bytes, file.part_size_bytes, file.content_type, shown_as)
        return _Outcome(etag, copied=True)
    except StorageUnavailable as error:
        return _Outcome(failure=f"{error.message}. {error.suggestion or ''}".strip())


def _at_target(target: ObjectStore, key: str) -> StoredObject | None:
    try:
        return target.look_at(key, 1)
    except AccessDenied:  # AWS says so of a missing object, too; if it is not that, the PUT will be refused as well
        return None


def _is_it(stored: StoredObject, file: File) -> bool:
    """Keys hold random ids, so what lies there was copied by an earlier pass, under its Content-MD5."""
    return stored.size_bytes == file.size_bytes and same_type(stored.content_type, file.content_type)


def _note(done: Copied, file: File, outcome: _Outcome) -> None:
    if outcome.failure is not None:
        done.failures[file.key] = outcome.failure
        return
    done.files += outcome.copied
    done.there_already += not outcome.copied
    if outcome.etag != file.etag:
        done.etags[file.id] = outcome.etag
