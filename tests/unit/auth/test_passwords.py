"""However many passwords are to be looked at: a few at a time, a few that wait, and everybody else goes on."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from types import SimpleNamespace

import pytest

from uploadkit.auth import passwords
from uploadkit.core.errors import RateLimited


@pytest.fixture(autouse=True)
def as_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "_slots", passwords._Slots())
    monkeypatch.setattr(passwords, "_slots_of_known", passwords._Slots(1))


@pytest.mark.parametrize(("threads", "most"), [(16, 4), (256, 4), (8, 2), (4, 1), (1, 1)])
def test_a_flood_takes_a_quarter_of_the_threads_at_most(monkeypatch: pytest.MonkeyPatch, threads: int, most: int) -> None:
    go_on, reckoned = threading.Event(), list[int]()
    slow = SimpleNamespace(verify=lambda *_: reckoned.append(1) or go_on.wait(60))
    monkeypatch.setattr(passwords, "_hasher", slow)
    monkeypatch.setattr(passwords, "_LONGEST_WAIT_SECONDS", 60)
    passwords.leave_threads(threads)

    def guess(_: int) -> str:
        with suppress(RateLimited):
            passwords.matches("$a", "guess")
            return "looked at"
        return "refused"

    with ThreadPoolExecutor(20) as pool:
        answers = [pool.submit(guess, number) for number in range(20)]
        until = time.monotonic() + 60
        while sum(answer.done() for answer in answers) < 20 - most and time.monotonic() < until:
            time.sleep(0.01)
        assert [answer.result() for answer in answers if answer.done()] == ["refused"] * (20 - most), "at once, all but those few"
        assert len(reckoned) <= 2, "64 MiB each"
        go_on.set()
    assert sorted(answer.result() for answer in answers) == ["looked at"] * most + ["refused"] * (20 - most)


def test_a_flood_of_strangers_keeps_nobody_out_who_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "_LONGEST_WAIT_SECONDS", 0.05)
    kept = passwords.hash_password("a password")
    with passwords._place(passwords._slots), passwords._place(passwords._slots):
        with pytest.raises(RateLimited):
            passwords.matches(kept, "a password")
        assert passwords.matches(kept, "a password", is_known=True)
        assert passwords.hash_password("a new password")


def test_nobody_waits_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "_LONGEST_WAIT_SECONDS", 0.05)
    with passwords._place(passwords._slots), passwords._place(passwords._slots), pytest.raises(RateLimited) as refused:
        passwords.matches(None, "guess")
    assert refused.value.retry_after_seconds
    assert passwords.matches(passwords.hash_password("a password"), "a password"), "and the places are free again"
    assert not passwords.matches(None, "a password")
    assert not passwords.matches("no hash", "a password")
