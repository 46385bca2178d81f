"""Every verified object read and held against its row, in a pass that may be interrupted and goes on where it was (docs/storage.md).

How far it is stands in `data/deep-check.jsonl`, which the end of the pass removes: a line for how it began, then lines for how far it came,
what was found, and the parts of large objects that were read.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from uploadkit.config import Config
from uploadkit.core import clock, file_locks
from uploadkit.db.models import File
from uploadkit.maintenance.object_check import Checked, Damage, EtagRules, Pace, PartDigests, check, etag_rules
from uploadkit.maintenance.queries import verified
from uploadkit.objectstore.factory import store_name
from uploadkit.objectstore.store import ObjectStore

_BATCH = 100
_THREADS = 4
_WRITE_EVERY_MS = 1000


@dataclass(frozen=True)
class Damaged:
    """A verified file whose object is not what it was, or can't be read."""

    file_id: str
    key: str
    damage: Damage


@dataclass
class Pass:
    """How far a pass over all files is: of how many files and bytes, how many are read, and what was found.

    Of `unproven` files the bytes came, but the store has no digest to hold them against. `went_on` says whether an earlier run began it.
    """

    total_files: int = 0
    total_bytes: int = 0
    files: int = 0
    read_bytes: int = 0
    unproven: int = 0
    damaged: list[Damaged] = field(default_factory=list)
    went_on: bool = False


def run(
    config: Config,
    store: ObjectStore,
    *,
    since_ms: int | None,
    bytes_per_second: float | None,
    anew: bool,
    stopping: threading.Event,
    tell: Callable[[Pass], None] = lambda progress: None,
) -> Pass:
    """Read the object of every file that was UPLOADED when the pass began; `tell` hears of each that is done.

    With `since_ms`, only of files completed from then on. What an earlier run left undone is taken up, unless it asked for something else
    or `anew` is set. At most `bytes_per_second` are read, if given. May be interrupted at any time, by `stopping` too.
    Raises Conflict when another pass runs, object_check.Stopped, and StorageUnavailable when the store goes away: what is done stays done.
    """
    alone = file_locks.held(config.data_dir / "deep-check.lock", "Another 'reconcile --deep' runs on this data directory")
    with alone, _Log(config.data_dir, {"store": store_name(config), "since": since_ms}, anew=anew) as log:
        progress = log.progress
        earlier = list(progress.damaged)
        pace = Pace(bytes_per_second, stopping)
        rules = etag_rules(store)
        tell(progress)
        pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="deep-check")
        try:
            for batch in _batches(log, since_ms):
                work = pool.map(lambda file: check(store, file, rules, pace, log.digests(file)), batch)
                for file, checked in zip(batch, work, strict=True):
                    log.note(file, checked)
                    tell(progress)
            _look_again(store, earlier, progress, rules, pace)
        finally:
            stopping.set()  # so that no thread goes on for what nobody waits for
            pool.shutdown(wait=True, cancel_futures=True)
        log.end()
    return progress


def _look_again(store: ObjectStore, earlier: list[Damaged], progress: Pass, rules: EtagRules, pace: Pace) -> None:
    """What an earlier run found may have been put back since."""
    for damaged in earlier:
        file = verified.find(damaged.file_id)
        if file is None or check(store, file, rules, pace).damage is None:
            progress.damaged.remove(damaged)


def _batches(log: _Log, since_ms: int | None) -> Iterator[list[File]]:
    while batch := verified.batch(log.seen, _BATCH, last_number=log.last, since_ms=since_ms):
        yield batch


class _Log:
    """`data/deep-check.jsonl`. A last line that a kill cut off is no line, and one for something else is begun anew."""

    def __init__(self, data_dir: Path, wanted: dict[str, Any], *, anew: bool) -> None:
        self._path = data_dir / "deep-check.jsonl"
        self._written_at = clock.monotonic_ms()
        self._writing = threading.Lock()
        self._parts: dict[int, list[str]] = {}
        lines = [] if anew or not self._path.exists() else _lines(self._path)
        began = lines[0] if lines and lines[0].get("wanted") == wanted else None
        self.progress, self.seen = Pass(went_on=began is not None), -1
        if began is None:
            began = {"wanted": wanted, **_extent(wanted["since"])}
        self.last = int(began["last"])
        self.progress.total_files, self.progress.total_bytes = began["files"], began["bytes"]
        for line in lines if self.progress.went_on else ():
            self._take(line)
        partial = self._path.with_name(f"{self._path.name}.partial")
        state = [began, self._state(), *self._findings(), *({"number": name, "parts": known} for name, known in self._parts.items())]
        partial.write_text("".join(json.dumps(line) + "\n" for line in state), encoding="utf-8")
        partial.replace(self._path)
        self._file = self._path.open("a", encoding="utf-8")

    def __enter__(self) -> _Log:
        return self

    def __exit__(self, *_: object) -> None:
        with self._writing:
            if self._path.exists():
                self._write(self._state())
            self._file.close()

    def digests(self, file: File) -> PartDigests:
        """Return the parts of `file` that were read by an earlier run, and have those of this one written down."""

        def save(new: list[str]) -> None:
            with self._writing:
                if not self._file.closed:
                    self._write({"number": file.number, "parts": new})

        return PartDigests(self._parts.pop(file.number, []), save)

    def note(self, file: File, checked: Checked) -> None:
        """Note what came of a file; what has been deleted or changed meanwhile is no finding."""
        progress = self.progress
        progress.files, progress.read_bytes = progress.files + 1, progress.read_bytes + file.size_bytes
        damage = checked.damage
        if damage is not None and not verified.is_as_it_was(file):
            damage = None
        progress.unproven += damage is None and not checked.proven
        with self._writing:
            self.seen = file.number
            if damage is not None:
                self._add(Damaged(file.id, file.key, damage))
                self._write(self._finding(progress.damaged[-1]))
            if clock.monotonic_ms() - self._written_at >= _WRITE_EVERY_MS:
                self._write(self._state())
                self._written_at = clock.monotonic_ms()

    def end(self) -> None:
        """Remove what was written: the pass is over."""
        self._path.unlink()

    def _take(self, line: dict[str, Any]) -> None:
        progress = self.progress
        if "seen" in line:
            self.seen, progress.files, progress.read_bytes, progress.unproven = (line[k] for k in ("seen", "files", "bytes", "unproven"))
            self._parts = {number: parts for number, parts in self._parts.items() if number > self.seen}
        elif "key" in line:
            self._add(Damaged(line["id"], line["key"], Damage(line["kind"], line["detail"])))
        elif "parts" in line:
            self._parts.setdefault(line["number"], []).extend(line["parts"])

    def _add(self, new: Damaged) -> None:
        """A kill may have come between a finding and how far that was: then it is found twice."""
        self.progress.damaged = [damaged for damaged in self.progress.damaged if damaged.file_id != new.file_id] + [new]

    def _state(self) -> dict[str, Any]:
        progress = self.progress
        return {"seen": self.seen, "files": progress.files, "bytes": progress.read_bytes, "unproven": progress.unproven}

    def _findings(self) -> Iterator[dict[str, Any]]:
        return (self._finding(damaged) for damaged in self.progress.damaged)

    def _finding(self, damaged: Damaged) -> dict[str, Any]:
        return {"id": damaged.file_id, "key": damaged.key, "kind": damaged.damage.kind, "detail": damaged.damage.detail}

    def _write(self, line: dict[str, Any]) -> None:
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()


def _extent(since_ms: int | None) -> dict[str, int]:
    """Return what the pass will be over: the number of its last file, how many files and bytes."""
    last, files, size_bytes = verified.extent(since_ms)
    return {"last": last, "files": files, "bytes": size_bytes}


def _lines(path: Path) -> list[dict[str, Any]]:
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict):
            lines.append(found)
    return lines
