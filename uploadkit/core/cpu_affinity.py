"""Staying on one processor core: what Python can't use of the others costs more than it brings (docs/decisions/0021-one-core.md)."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_allowed: set[int] | None = None

if sys.platform == "linux":

    def stay() -> None:
        """Keep the calling thread, and all that are started from here on, on one core of those that this process may use."""
        global _allowed
        _allowed = os.sched_getaffinity(0)
        cores = sorted(_allowed)
        os.sched_setaffinity(0, {cores[os.getpid() % len(cores)]})

    @contextmanager
    def left() -> Iterator[None]:
        """Let the calling thread use every core for the length of a block, to start a program that should have them all."""
        if _allowed is None:
            yield
            return
        own = os.sched_getaffinity(0)
        os.sched_setaffinity(0, _allowed)
        try:
            yield
        finally:
            os.sched_setaffinity(0, own)

else:  # nothing there says where a thread runs

    def stay() -> None:
        """Do nothing."""

    @contextmanager
    def left() -> Iterator[None]:
        """Do nothing."""
        yield
