"""A page that has the ES module, in a tab of Chromium."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from playwright.sync_api import Page

from tests.browser.conftest import served
from tests.browser.waiting import wait_beside
from tests.support.appliance import Appliance

PAGE = """<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><input type="file" multiple>
<script type="module">
import { createUploader } from "API/uploadkit.js";
const input = document.querySelector("input");
window.begin = (endpoint, { user, retrySeconds = 60, ...how } = {}, index = 0) => {
  const control = new AbortController();
  window.now = { sent: 0, peak: 0, result: null, error: null, control };
  const onProgress = (sent, total) => { now.sent = sent; now.total = total; now.peak = Math.max(now.peak, sent); };
  const uploader = createUploader({ endpoint, user, retrySeconds });
  now.done = uploader.upload(input.files[index], { ...how, onProgress, signal: control.signal }).then(
    (file) => { now.result = file; },
    (error) => { const { name, code, message, suggestion, status } = error; now.error = { name, code, message, suggestion, status }; });
};
Object.assign(window, { createUploader, ready: true });
</script>"""


class Tab:
    """A page with a file input and our module, and what a user does there."""

    def __init__(self, page: Page, address: str) -> None:
        self.page, self.address = page, address
        self.open()

    def open(self, *paths: Path) -> None:
        self.page.goto(self.address)
        self.page.wait_for_function("window.ready")
        if paths:
            self.page.set_input_files("input", [str(path) for path in paths])

    def begin(self, address: str, index: int = 0, **how: Any) -> None:
        self.page.evaluate("([endpoint, how, index]) => begin(endpoint, how, index)", [address, how, index])

    def end(self) -> dict[str, Any]:
        """Wait for the file, or the error, of the upload that began last."""
        self.page.evaluate("now.done")
        return dict(self.page.evaluate("now.result ?? now.error"))

    def wait(self, condition: Callable[[], Any]) -> None:
        wait_beside(self.page, condition)

    def remembered(self) -> list[str]:
        return list(self.page.evaluate("Object.keys(localStorage)"))


@contextlib.contextmanager
def site_of(folder: Path, appliance: Appliance) -> Iterator[str]:
    (folder / "index.html").write_text(PAGE.replace("API", appliance.base))
    with served(folder) as address:
        yield address
