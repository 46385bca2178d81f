"""Threads that work beside a test."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence


@contextlib.contextmanager
def beside(threads: Sequence[threading.Thread], over: threading.Event) -> Iterator[None]:
    """Have `threads` work for a block; at its end `over` tells them to stop, and they are waited for."""
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()
