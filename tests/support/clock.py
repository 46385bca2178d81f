"""A clock that tests hold, move on, and put forward or back: in place of the functions of `uploadkit.core.clock` that read the time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unittest.mock import patch

from uploadkit.core import clock


@contextmanager
def travelled_to(at_ms: int) -> Iterator[Callable[[int], None]]:
    """Hold the clock at `at_ms`, also for what lasts a while; the yielded function moves it on by so many milliseconds."""
    held = at_ms

    def held_ms() -> int:
        return held

    def advance(by_ms: int) -> None:
        nonlocal held
        held += by_ms

    with patch.multiple(clock, now_ms=held_ms, monotonic_ms=held_ms, carried_on_ms=held_ms):
        yield advance


@contextmanager
def put_by(by_ms: int) -> Iterator[None]:
    """Put the clock forward (or back, below 0), as somebody does who corrects it; the monotonic one goes on as before."""
    before = clock.now_ms
    with patch.object(clock, "now_ms", lambda: before() + by_ms):
        yield
