"""The bundled store read through, a little at a time: oldest file first, round and round (docs/storage.md).

Where it is, and which files were damaged when they were read last, stands in the `setting` table, so that a restart goes on.
"""

from __future__ import annotations

import json
import logging
import secrets
from dataclasses import dataclass, field

from uploadkit.context import Context
from uploadkit.core import clock
from uploadkit.core.errors import StorageUnavailable
from uploadkit.core.sizes import MIB
from uploadkit.db import key_value
from uploadkit.db.connection import write
from uploadkit.db.models import File
from uploadkit.maintenance.object_check import PIECE_BYTES, Checked, Damage, EtagRules, Pace, Stopped, check, glance
from uploadkit.maintenance.queries import verified

log = logging.getLogger(__name__)

EVERY_SECONDS = 600
_BYTES_PER_SECOND = 8 * MIB
_LONGEST_ROUND_MS = 120_000  # an object that can't be read takes the store its time-outs
_LEAST_COST_BYTES = 64 * 1024  # what looking for a file costs the disk, however small it is
_BATCH = 100
_MOST_AGAIN = 20
_MOST_REMEMBERED = 1000
_SETTING = "scrub"


@dataclass
class _State:
    """The number of the file that was read last, and by id what was wrong with those that were damaged."""

    number: int = -1
    damaged: dict[str, str] = field(default_factory=dict)


def damaged_files() -> int:
    """Return how many files could not be read as they were verified, when they were read last."""
    return len(_load().damaged)


def scrub(ctx: Context) -> int:
    """Read the files whose turn it is, as many as the configuration allows for this round; return how many.

    Files that were damaged are read again first, since they may have been put back. Nothing is done while the store is away,
    or with a store of one's own, whose provider does this and counts requests.
    """
    per_hour = ctx.config.storage.bundled.scrub_bytes_per_hour
    if per_hour is None or ctx.config.storage.mode != "bundled":
        return 0
    state = _load()
    round_of = _Round(ctx, state, per_hour * EVERY_SECONDS // 3600)
    try:
        round_of.again()
        round_of.go_on()
    except (Stopped, StorageUnavailable):
        pass  # /readyz tells of a store that is away
    _save(state)
    return round_of.files


class _Round:
    def __init__(self, ctx: Context, state: _State, budget_bytes: int) -> None:
        self._ctx, self._state = ctx, state
        self._budget = self._left = max(budget_bytes, _LEAST_COST_BYTES)
        self._until = clock.monotonic_ms() + _LONGEST_ROUND_MS
        self._pace = Pace(_BYTES_PER_SECOND, ctx.stopping)
        self.files = 0

    def again(self) -> None:
        """Read what was damaged, those that have waited longest first."""
        for file_id in list(self._state.damaged)[:_MOST_AGAIN]:
            file = verified.find(file_id)
            if file is None:
                del self._state.damaged[file_id]
            elif self._goes_on():
                self._read(file)

    def go_on(self) -> None:
        """Read on from where the last round ended, at most once around."""
        began_at, is_around = self._state.number, False
        while self._goes_on():
            batch = verified.batch(self._state.number, _BATCH)
            if not batch:
                if is_around or began_at < 0:
                    self._state.number = -1
                    return
                is_around, self._state.number = True, -1
            for file in batch:
                if (is_around and file.number > began_at) or not self._goes_on():
                    return
                if file.id not in self._state.damaged:
                    self._read(file)
                self._state.number = file.number

    def _goes_on(self) -> bool:
        return self._left > 0 and clock.monotonic_ms() < self._until and not self._ctx.stopping.is_set()

    def _read(self, file: File) -> None:
        if file.size_bytes <= self._budget:
            checked = check(self._ctx.store, file, EtagRules(), self._pace)
        else:
            start = secrets.randbelow(-(-file.size_bytes // PIECE_BYTES)) * PIECE_BYTES
            checked = glance(self._ctx.store, file, self._pace, start)
        self.files += 1
        self._left -= max(checked.read_bytes, _LEAST_COST_BYTES)
        self._note(file, checked)

    def _note(self, file: File, checked: Checked) -> None:
        damaged = self._state.damaged
        known = damaged.pop(file.id, None)
        damage = checked.damage
        if damage is None or not verified.is_as_it_was(file):
            if known is not None:
                log.info("file %s is as it was verified again", file.id)
            return
        if len(damaged) < _MOST_REMEMBERED:
            damaged[file.id] = damage.kind
        if known is None:
            _tell(file, damage)


def _tell(file: File, damage: Damage) -> None:
    log.error("file %s is damaged: %s. 'reconcile --deep' reads all files and says what can be done", file.id, damage.detail)


def _load() -> _State:
    kept = key_value.get(_SETTING)
    return _State() if kept is None else _State(**json.loads(kept))


def _save(state: _State) -> None:
    value = json.dumps({"number": state.number, "damaged": state.damaged})
    with write():
        key_value.put(_SETTING, value)
