"""Two ways to do the same, in turns, and their ratio: the only figure that a noisy machine gives honestly."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Comparison:
    """Seconds per round of ours and of theirs, each the median; `ratio` is how many times faster ours is (median of the rounds' ratios)."""

    name: str
    ours_seconds: float
    theirs_seconds: float
    ratio: float
    lowest: float
    highest: float
    target: float | None
    rounds: int


def compare(name: str, ours: Callable[[], object], theirs: Callable[[], object], *, rounds: int, target: float | None) -> Comparison:
    """Time `ours` and `theirs` in turns, `rounds` times, after one round that does not count."""
    ours(), theirs()
    times = [(_seconds(ours), _seconds(theirs)) for _ in range(rounds)]
    ratios = [theirs_s / ours_s for ours_s, theirs_s in times]
    return Comparison(
        name,
        statistics.median(first for first, _ in times),
        statistics.median(second for _, second in times),
        statistics.median(ratios),
        min(ratios),
        max(ratios),
        target,
        rounds,
    )


def _seconds(function: Callable[[], object]) -> float:
    begun = time.perf_counter()
    function()
    return time.perf_counter() - begun
