"""Chromium for tests, driven by playwright: the one that Debian packages, not a download.

`from tests.browsers import browser, page, watched` in a conftest.py makes the fixtures. Where no Chromium is, the tests that need it are
skipped, and with REQUIRE_BROWSER=1 (as in CI) they fail.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NoReturn

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

__all__ = ["browser", "browser_context", "chromium", "lacking", "page", "watched"]

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


def lacking(what: str) -> NoReturn:
    """Skip the test for want of `what`; fail it where browser tests are a must."""
    if os.environ.get("REQUIRE_BROWSER") == "1":
        pytest.fail(f"{what}, and REQUIRE_BROWSER=1 says that browser tests must run", pytrace=False)
    pytest.skip(f"{what}: browser tests are skipped")


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """A headless Chromium that is closed at the end."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        lacking("there is no chromium on PATH (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        # Containers have no user namespaces for Chromium's sandbox, and often a tiny /dev/shm.
        started = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-dev-shm-usage"])
        try:
            yield started
        finally:
            started.close()


@dataclass
class Watched:
    """What happened on a page: errors on its console or uncaught, and the requests it made, as "METHOD url"."""

    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def watch(self, page: Page) -> None:
        """Note from now on what `page` does."""
        page.on("console", self._note)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda request: self.requests.append(f"{request.method} {request.url}"))

    def _note(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(f"{message.text} ({message.location.get('url', '')})")


# Per module: while playwright runs, no other test in this thread could start an event loop of its own.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for all tests of a module."""
    with chromium() as started:
        yield started


@pytest.fixture
def browser_context(browser: Browser) -> Iterator[BrowserContext]:
    """A profile of its own for each test: no cookies, no localStorage."""
    context = browser.new_context()
    context.set_default_timeout(60_000)
    yield context
    context.close()


@pytest.fixture
def page(browser_context: BrowserContext) -> Page:
    """An empty page."""
    return browser_context.new_page()


@pytest.fixture
def watched(page: Page) -> Watched:
    """What happens on `page`."""
    record = Watched()
    record.watch(page)
    return record
