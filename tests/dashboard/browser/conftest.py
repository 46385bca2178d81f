"""The dashboard in a real Chromium."""

from tests.browsers import browser, browser_context, page, watched  # noqa: F401
