"""Whether a store of one's own enforces what URLs were signed for: tried at the start and daily.

No upload URL is signed for a store that takes forged writes, or lets an upload URL read other objects, unless
`storage.byos.allow_unsafe_store` says so (docs/decisions/0027-stores-that-believe-too-much.md). No answer is no verdict: what was found
last still holds. While a store has never answered, nothing is signed for it either; no upload could be completed then. The findings are
kept in the table `setting`, so that a start need not wait for the next look.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from uploadkit.config import Config
from uploadkit.core import clock
from uploadkit.core.packaged_files import PROGRAM
from uploadkit.db import key_value
from uploadkit.db.connection import write
from uploadkit.objectstore import doctor
from uploadkit.objectstore.doctor import Expectations, Finding
from uploadkit.objectstore.factory import store_name
from uploadkit.objectstore.store import ObjectStore

log = logging.getLogger(__name__)

LOOK_EVERY_SECONDS = 5
_LOOK_SECONDS = 30
_AGAIN_MS = 60_000
_SETTING = "store_trust"
# These are for everybody who asks /readyz or for an upload URL: which check it was, is for the log, the dashboard and the doctor.
_NEW = "the store is not known yet and has to be looked at first"
_UNSAFE = f"the store failed a safety check at the start; the log says which, '{PROGRAM} doctor' what to do"


@dataclass(frozen=True)
class Verdict:
    """What was found out about a store: what was wrong, and which headers upload URLs have to bar."""

    store: str
    at_ms: int
    findings: tuple[Finding, ...] = ()
    barred: tuple[str, ...] = ()

    @property
    def is_unsafe(self) -> bool:
        """Whether clients can do what they must not."""
        return any(_is_hole(finding) for finding in self.findings)


@dataclass
class StoreTrust:
    """What is known of the store in use. `unanswered` says what the last look could not find out, "" when all was answered."""

    config: Config
    store: ObjectStore = field(repr=False)
    verdict: Verdict | None = None
    unanswered: str = ""
    _due_ms: int = 0
    _has_logged: bool = False
    _unclear_looks: int = 0

    @property
    def is_asked(self) -> bool:
        """Whether this store is looked at: one of one's own. The bundled one is tried before it is used."""
        return self.config.storage.mode == "byos"

    def begin(self) -> None:
        """Go by what was found out before; where nothing was, nothing is signed until the first look is over."""
        if self.is_asked:
            self.verdict = _kept(store_name(self.config))
            self._apply(_NEW)

    def look_if_due(self) -> int:
        """Look at the store if it is time to; return how many looks that were. Takes half a minute at most, or little more."""
        if not self.is_asked or clock.monotonic_ms() < self._due_ms:
            return 0
        found = doctor.safety(self.store, Expectations.of(self.config), seconds=_LOOK_SECONDS)
        self.unanswered = found.unanswered
        known, before = self.verdict is not None, self._findings_of(self.verdict)
        is_clear = not any(isinstance(finding, doctor.Unclear) for finding in found.findings)
        self._unclear_looks = 0 if is_clear else self._unclear_looks + 1
        if not found.unanswered:
            self.verdict = Verdict(store_name(self.config), clock.now_ms(), self._findings(found.findings), tuple(found.barred))
            _keep(self.verdict)
        elif any(_is_hole(finding) for finding in found.findings):
            # Half an answer takes nothing away, but a hole is a hole.
            all_of_them = {finding.name: finding for finding in (*self._findings_of(self.verdict), *found.findings)}
            self.verdict = Verdict(store_name(self.config), clock.now_ms(), tuple(all_of_them.values()), tuple(found.barred))
            _keep(self.verdict)
        answered = found.has_answered or known
        self._apply(None if answered else _NEW)
        self._due_ms = clock.monotonic_ms() + (0 if not answered else self._pause_ms)
        self._log_findings(before)
        return 1

    def _findings(self, found: Sequence[Finding]) -> tuple[Finding, ...]:
        """What was found. Where the answer was neither yes nor no, as of a store that is busy, a fault that was known stays one."""
        faults = {finding.name: finding for finding in self._findings_of(self.verdict) if finding.outcome == "failed"}
        return tuple(faults.get(finding.name, finding) if isinstance(finding, doctor.Unclear) else finding for finding in found)

    @property
    def _pause_ms(self) -> int:
        """How long to wait for the next look. A store that never gives a clear answer is asked more and more rarely."""
        if self.unanswered or self._is_unsafe:
            return _AGAIN_MS
        return min(_AGAIN_MS << min(self._unclear_looks - 1, 11), clock.DAY_MS) if self._unclear_looks else clock.DAY_MS

    @property
    def _is_unsafe(self) -> bool:
        return self.verdict is not None and self.verdict.is_unsafe

    def _apply(self, without_verdict: str | None) -> None:
        byos = self.config.storage.byos
        if self.verdict is None:
            self.store.distrust = without_verdict
            return
        if byos.bar_headers == "auto":
            self.store.barred_headers = self.verdict.barred
        self.store.distrust = _UNSAFE if self.verdict.is_unsafe and not byos.allow_unsafe_store else None

    @staticmethod
    def _findings_of(verdict: Verdict | None) -> Sequence[Finding]:
        return () if verdict is None else verdict.findings

    def _log_findings(self, before: Sequence[Finding]) -> None:
        """Log what is new."""
        first = not self._has_logged
        self._has_logged = True
        for finding in self._findings_of(self.verdict):
            if first or finding not in before:
                log.log(logging.ERROR if finding.outcome == "failed" else logging.WARNING, "%s. %s", finding.detail, finding.suggestion)
        if first and self._is_unsafe:
            allowed = self.config.storage.byos.allow_unsafe_store
            log.error(
                "the store is not safe: %s",
                "upload URLs are signed all the same, because storage.byos.allow_unsafe_store is on"
                if allowed
                else "no upload URL is signed until it is, or storage.byos.allow_unsafe_store is set; files can be read",
            )
        if self.unanswered:
            log.warning("whether the store is safe could not be found out this time: %s", self.unanswered)


def _is_hole(finding: Finding) -> bool:
    return finding.outcome == "failed" and finding.name in doctor.UNSAFE


def _kept(name: str) -> Verdict | None:
    kept = key_value.get(_SETTING)
    try:
        found: dict[str, Any] = json.loads(kept) if kept else {}
        if found.get("store") != name:
            return None
        findings = tuple(Finding(**finding) for finding in found["findings"])
        return Verdict(name, int(found["at_ms"]), findings, tuple(found["barred"]))
    except (ValueError, TypeError, KeyError):  # of another version
        return None


def _keep(verdict: Verdict) -> None:
    with write():
        key_value.put(_SETTING, json.dumps(asdict(verdict)))
