"""Moving to another store: every file's object copied and verified, while the appliance goes on serving (docs/storage.md).

What is verified is immutable, so copying needs no pause: a second pass takes what came since, and only the last one wants the appliance
stopped. What was copied is written down in `data/storage-copy.jsonl`; the first start with the other store takes that over. Which store
the files are in is written down at every start, so that no command fixes one store by what another lacks.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from uploadkit.config import Config
from uploadkit.core import durable_files
from uploadkit.core.errors import StorageUnavailable
from uploadkit.core.media_types import strict
from uploadkit.db import key_value
from uploadkit.db.connection import write
from uploadkit.db.models import File
from uploadkit.files.naming import disposition
from uploadkit.maintenance.object_check import EtagRules, etag_rules, is_digest
from uploadkit.maintenance.queries import reconcile, verified
from uploadkit.maintenance.reconcile import is_ours
from uploadkit.objectstore import listing
from uploadkit.objectstore.boto import AccessDenied, StorageRefused
from uploadkit.objectstore.factory import store_name
from uploadkit.objectstore.objects import StoredObject
from uploadkit.objectstore.store import ObjectStore
from uploadkit.objectstore.transfer import SourceChanged, copy_object

log = logging.getLogger(__name__)

_BATCH = 100
_THREADS = 4
_IN_USE = "store_in_use"


@dataclass
class Copied:
    """What a pass did: files copied, files that were there already, and by key what could not be copied."""

    files: int = 0
    there_already: int = 0
    failures: dict[str, str] = field(default_factory=dict)


def store_in_use() -> str | None:
    """Return the name of the store that the appliance used when it started last; None before its first start."""
    return key_value.get(_IN_USE)


def arrive(config: Config) -> None:
    """Write down which store is in use from now on; if files were copied to it, take over the ETags they have there. For the start."""
    present, before = store_name(config), store_in_use()
    if present == before:
        return
    written = _CopyLog(config)
    etags = written.etags if written.target == present else {}
    with write():
        for file_id, etag in etags.items():
            verified.set_etag(file_id, etag)
        key_value.put(_IN_USE, present)
    if etags:
        written.path.unlink()
    elif before is not None and verified.any_there():
        log.warning("the store was %s and is %s now; 'storage copy' moves files, a changed setting does not", before, present)


def copy_files(config: Config, source: ObjectStore, target_config: Config, target: ObjectStore, tell: Callable[[File], None]) -> Copied:
    """Copy the object of every UPLOADED file that the target does not have; `tell` hears of each that is done.

    A file that can't be copied is noted, and the others go on; also one that a store fails at, as long as it answers otherwise. May be
    repeated, and interrupted at any time. Raises StorageUnavailable when one of the stores does not answer any more.
    """
    done, written = Copied(), _CopyLog(config, store_name(target_config))
    rules = etag_rules(source)
    pool = ThreadPoolExecutor(_THREADS)
    try:
        for batch in _batches():
            work = pool.map(lambda file: _tried_twice(source, target, file, written.etags.get(file.id), config.data_dir, rules), batch)
            for file, outcome in zip(batch, work, strict=True):
                if outcome.at_store:
                    source.probe()
                    target.probe()
                _note(done, written, file, outcome)
                tell(file)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    target.sync()  # also what an earlier pass had copied
    durable_files.sync(written.path)
    return done


def clear_target(target: ObjectStore) -> bool:
    """Delete what lies at the target and belongs to no file: copied, and deleted since. False when the target can't be listed.

    For the last pass, when nothing changes any more.
    """
    known = reconcile.projects_ever()
    try:
        for page in listing.objects(target):
            keys = [item.key for item in page if is_ours(item.key, known)]
            alive = verified.keys_there(keys)
            for key in keys:
                if key not in alive:
                    target.delete(key)
    except AccessDenied:
        return False
    return True


def size_of_all() -> tuple[int, int]:
    """Return how many files there are to copy, and their bytes."""
    return verified.count_and_size()


def uploads_under_way() -> int:
    """Return how many uploads have begun and not ended: their bytes are in the old store alone."""
    return verified.count_under_way()


class _CopyLog:
    """`data/storage-copy.jsonl`: the target's name, then the id and the target's ETag of each file copied there. One for another target
    is begun anew; a last line that a kill cut off is no line.
    """

    def __init__(self, config: Config, target: str | None = None) -> None:
        self.path: Path = config.data_dir / "storage-copy.jsonl"
        self.target, self.etags = None, {}  # type: str | None, dict[str, str]
        if self.path.exists():
            lines = self.path.read_text(encoding="utf-8").splitlines()
            self.target = json.loads(lines[0])["to"] if lines else None
            self.etags = {entry["id"]: entry["etag"] for entry in map(_entry, lines[1:]) if entry}
            if lines and not self.path.read_bytes().endswith(b"\n"):
                self._write("\n")
        if target is not None and target != self.target:
            self.target, self.etags = target, {}
            durable_files.write_private(self.path, json.dumps({"to": target}) + "\n")

    def add(self, file_id: str, etag: str) -> None:
        self.etags[file_id] = etag
        self._write(json.dumps({"id": file_id, "etag": etag}) + "\n")

    def _write(self, text: str) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(text)


def _entry(line: str) -> dict[str, str] | None:
    try:
        found: dict[str, str] = json.loads(line)
        return found
    except ValueError:
        return None


@dataclass(frozen=True)
class _Outcome:
    etag: str = ""
    copied: bool = False
    failure: str | None = None
    at_store: bool = False  # it is not known whether this file alone makes a store fail


def _batches() -> Iterator[list[File]]:
    seen = -1
    while batch := verified.batch(seen, _BATCH):
        yield batch
        seen = batch[-1].number


def _tried_twice(source: ObjectStore, target: ObjectStore, file: File, copied_as: str | None, spool: Path, rules: EtagRules) -> _Outcome:
    outcome = _copy(source, target, file, copied_as, spool, rules)
    return _copy(source, target, file, copied_as, spool, rules) if outcome.at_store else outcome


def _copy(source: ObjectStore, target: ObjectStore, file: File, copied_as: str | None, spool: Path, rules: EtagRules) -> _Outcome:
    """Copy one file, unless the target has exactly what was verified, or what an earlier pass has brought there."""
    try:
        present = _at_target(target, file.key)
        if present is not None and _is_it(present, file, copied_as):
            return _Outcome(present.etag)
        content_type = strict(file.content_type)
        content_disposition = disposition(file.file_name, content_type)
        assert file.etag is not None
        size_bytes, part_bytes = file.size_bytes, file.part_size_bytes
        etag = copy_object(
            source, target, file.key, size_bytes, file.etag, part_bytes, content_type, content_disposition,
            spool=spool, is_digest=lambda stored: is_digest(file, stored, rules),
        )  # fmt: skip
        target.sync()
        return _Outcome(etag, copied=True)
    except SourceChanged as error:
        return _Outcome(failure=f"{error}; 'reconcile' says more")
    except StorageRefused as error:
        return _Outcome(failure=f"{error.message}. {error.suggestion}")
    except StorageUnavailable as error:
        return _Outcome(failure=error.message, at_store=True)
    except OSError as error:
        return _Outcome(failure=f"{error.strerror}: {spool} must have room for {_THREADS} objects or parts")


def _at_target(target: ObjectStore, key: str) -> StoredObject | None:
    try:
        return target.head(key, 1)
    except AccessDenied:  # AWS says so of a missing object, too; if it is not that, the PUT will be refused as well
        return None


def _is_it(stored: StoredObject, file: File, copied_as: str | None) -> bool:
    return stored.size_bytes == file.size_bytes and stored.etag in (file.etag, copied_as)


def _note(done: Copied, written: _CopyLog, file: File, outcome: _Outcome) -> None:
    if outcome.failure is not None:
        if not verified.is_there(file.id):
            return  # deleted meanwhile
        done.failures[file.key] = outcome.failure
        return
    done.files += outcome.copied
    done.there_already += not outcome.copied
    if written.etags.get(file.id) != outcome.etag:
        written.add(file.id, outcome.etag)
