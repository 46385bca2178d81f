"""The dashboard in a real Chromium."""

from playwright.sync_api import expect

from tests.support.browsers import browser, browser_context, page, watched

__all__ = ["browser", "browser_context", "page", "watched"]

# As long as actions have; two cores may be busy with much else.
expect.set_options(timeout=60_000)
