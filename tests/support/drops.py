"""Files and folders dropped on a page."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Page


def drop(page: Page, where: str, *paths: Path) -> None:
    """Drop files or folders on an element, as from the file manager."""
    box = page.locator(where).bounding_box()
    assert box is not None
    session = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": kind, "x": box["x"] + 20, "y": box["y"] + 20, "data": data})
