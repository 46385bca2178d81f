"""Waiting for something outside a page while the page goes on."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Page


def wait_beside(page: Page, condition: Callable[[], Any], seconds: float = 60) -> None:
    """Wait until `condition` is true. A plain sleep would stop playwright, which runs in this thread."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"waited {seconds} s in vain"
        page.wait_for_timeout(20)
