"""Every page in light and dark, wide and on a phone: usable by everybody, narrow enough, silent, and asking nobody else for anything."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.packages import npm_packages
from tests.dashboard import stock
from tests.support.browsers import Watched

__all__ = ["npm_packages"]

WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
# Of axe-core's findings. The frame of a preview is the store's, and a PDF's is Chromium's own.
AXE = """async (rules) => {
  const found = await axe.run(document, { iframes: false, resultTypes: ["violations"], ...(rules && { runOnly: rules }) });
  return found.violations.filter(({ impact }) => impact === "serious" || impact === "critical")
    .flatMap(({ id, nodes }) => nodes.map((node) => `${id}: ${node.html} ${node.failureSummary}`));
}"""
# The same page in other colours: only these rules may say something new of it.
OF_COLOURS = ["color-contrast", "link-in-text-block"]
# A page that refuses is told to the console by Chromium itself.
REFUSED = {"failure": "404", "front-failure": "404", "sign-in-refused": "401"}


@pytest.mark.timeout(600)
def test_every_page(browser: Browser, tmp_path: Path, npm_packages: Path) -> None:
    # With less motion nothing is between two colours when axe looks.
    context = browser.new_context(reduced_motion="reduce", viewport=WIDE)  # type: ignore[arg-type]
    context.set_default_timeout(60_000)
    context.add_init_script(path=npm_packages / "node_modules/axe-core/axe.min.js")
    page, watched = context.new_page(), Watched()
    watched.watch(page)
    wrong: list[str] = []
    with stock.stocked(tmp_path) as stocked:
        for name in stock.visit(page, stocked):
            wrong += [f"{name}, {found}" for found in looked_at(page)]
            wrong += [f"{name}: {error}" for error in watched.errors if f"status of {REFUSED.get(name)}" not in error]
            watched.errors.clear()
        context.close()
    asked = {urlsplit(request.partition(" ")[2]) for request in watched.requests}
    # Chromium's own PDF viewer asks for chrome: and chrome-extension: addresses, which stay in the browser.
    origins = {f"{url.scheme}://{url.netloc}" for url in asked if url.scheme in ("http", "https", "ws", "wss")}
    assert not wrong, "\n\n".join(wrong)
    assert origins == {stocked.appliance.base, stocked.store}


def looked_at(page: Page) -> Iterator[str]:
    """What is wrong with a page as it stands: on a phone and wide, dark and light. It is loaded no second time."""
    for size, viewport in (("phone", PHONE), ("wide", WIDE)):
        page.set_viewport_size(viewport)  # type: ignore[arg-type]
        if page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"):
            yield f"{size}: is wider than the screen"
        for scheme, rules in (("dark", OF_COLOURS), ("light", None)):
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            if not follows(page, scheme):
                yield f"{size}, {scheme}: has the other colours"
            yield from (f"{size}, {scheme}: {found}" for found in page.evaluate(AXE, rules))


def follows(page: Page, scheme: str) -> bool:
    """Whether the page is as light or dark as the system wants it."""
    brightness = sum(page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).map(Number)"))
    return (brightness > 600) == (scheme == "light")
