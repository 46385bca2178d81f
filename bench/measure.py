"""Figures: two ways to do the same, measured in turns, and their ratio, the only thing that a noisy machine tells honestly."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Effort:
    """How long to measure: rounds in turns, seconds that each load lasts, and the sizes of what takes long."""

    rounds: int
    seconds: float
    big_file_bytes: int
    stocks: tuple[int, ...]


FULL = Effort(rounds=5, seconds=3, big_file_bytes=1024**3, stocks=(1_000, 100_000, 1_000_000))
QUICK = Effort(rounds=3, seconds=1, big_file_bytes=128 * 1024**2, stocks=(1_000, 100_000))


@dataclass(frozen=True)
class Figure:
    """One line of the table: the medians of ours and of theirs, and `ratio`, the median of the rounds' own ratios, ours over theirs."""

    name: str
    beside: str
    unit: str
    ours: float
    theirs: float
    ratio: float
    lowest: float
    highest: float
    target: str
    met: bool


def figure(
    name: str,
    beside: str,
    unit: str,
    rounds: Sequence[tuple[float, float]],
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    ours_at_most: float | None = None,
) -> Figure:
    """Return what `rounds`, pairs of ours and theirs, come to. `at_least`, `at_most`: of the ratio; `ours_at_most`: of ours."""
    ours, theirs = (statistics.median(values) for values in zip(*rounds, strict=True))
    ratios = [first / second for first, second in rounds]
    ratio = statistics.median(ratios)
    targets = [
        (f"≥ {at_least} ×", at_least is None or ratio >= at_least),
        (f"≤ {at_most} ×", at_most is None or ratio <= at_most),
        (f"≤ {ours_at_most} {unit}", ours_at_most is None or ours <= ours_at_most),
    ]
    target = ", ".join(text for text, _ in targets if "None" not in text)
    return Figure(name, beside, unit, ours, theirs, ratio, min(ratios), max(ratios), target, all(met for _, met in targets))


def in_turns(effort: Effort, ours: Callable[[], float], theirs: Callable[[], float]) -> list[tuple[float, float]]:
    """Measure both in turns, after one round that does not count."""
    ours(), theirs()
    return [(ours(), theirs()) for _ in range(effort.rounds)]


def seconds_of(function: Callable[[], object]) -> float:
    """Return how long a call takes."""
    begun = time.perf_counter()
    function()
    return time.perf_counter() - begun
