"""Passwords of admins: argon2id, and never so many at a time that nothing else is answered.

Each hash takes 64 MiB and most of a core for a tenth of a second, and anybody decides how many are wanted at once. So only a few are
reckoned at a time, few more wait, and not for long: the other threads go on with what they have.
"""

from __future__ import annotations

import threading
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from uploadkit.core.errors import RateLimited

LONGEST = 200
_AT_A_TIME = 2
_LONGEST_WAIT_SECONDS = 2
_hasher = PasswordHasher()
# Looked at for an unknown address, so that the time of an answer does not tell which addresses are known.
_NOBODY = "$argon2id$v=19$m=65536,t=3,p=4$08WqrvOo54yvHY5qAFWnFQ$ERb4E+9pk+Yr64vz0IE2Vf+eRIhrGbx86JJJ43GH3s8"


class _Slots:
    """Who reckons (`at_a_time`) or waits to: `most` threads, of all that serve requests."""

    def __init__(self, at_a_time: int = _AT_A_TIME) -> None:
        self.most, self.reckoning = 2 * at_a_time, threading.BoundedSemaphore(at_a_time)
        self._here, self._lock = 0, threading.Lock()

    def enter(self) -> bool:
        with self._lock:
            if self._here >= self.most:
                return False
            self._here += 1
            return True

    def leave(self) -> None:
        with self._lock:
            self._here -= 1


_slots = _Slots()
# Whoever has many networks can fill the other one, and must not keep out those who sign in from where they always do.
_slots_of_known = _Slots(1)


def leave_threads(threads: int) -> None:
    """Of `threads` that serve requests, let unknown visitors' passwords take at most a quarter, and those of known ones another one."""
    for slots, most in ((_slots, 2 * _AT_A_TIME), (_slots_of_known, 2)):
        slots.most = max(1, min(most, threads // 4))


def hash_password(password: str) -> str:
    """Return what the database keeps of a password, of somebody who may choose one. Raises RateLimited."""
    with _place(_slots_of_known):
        return _hasher.hash(_as_read(password))


def matches(password_hash: str | None, password: str, *, is_known: bool = False) -> bool:
    """Say whether a password belongs to a hash; without one, take the same time and say no.

    `is_known`: who asks has been let in from there before, and waits for nobody unknown. Raises RateLimited.
    """
    slots = _slots_of_known if is_known else _slots
    if len(password) > LONGEST:
        return False
    # Earlier versions kept a password as it came.
    return any(_fits(slots, password_hash, spelling) for spelling in dict.fromkeys((_as_read(password), password)))


def _as_read(password: str) -> str:
    """One spelling for what reads the same: keyboards and systems write "ä" as one character or as two (NIST SP 800-63B, 3.1.1.2)."""
    return unicodedata.normalize("NFKC", password)


def _fits(slots: _Slots, password_hash: str | None, password: str) -> bool:
    try:
        with _place(slots):
            return _hasher.verify(password_hash or _NOBODY, password) and password_hash is not None
    except (VerificationError, InvalidHashError):
        return False


@contextmanager
def _place(slots: _Slots) -> Iterator[None]:
    """A place to reckon. Raises RateLimited when too many wait already, or when none gets free in time."""
    if not slots.enter():
        raise _busy()
    try:
        if not slots.reckoning.acquire(timeout=_LONGEST_WAIT_SECONDS):
            raise _busy()
        try:
            yield
        finally:
            slots.reckoning.release()
    finally:
        slots.leave()


def _busy() -> RateLimited:
    return RateLimited("Too many passwords are being looked at in this moment", "Try again in some seconds", retry_after_seconds=2)
