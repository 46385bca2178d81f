"""Uppy's own `aws-s3` plugin, by the very lines of docs/clients.md, in Chromium across origins."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.appliance import ROOT, Appliance
from tests.browser.conftest import endpoint, served
from tests.browser.packages import npm_packages, run
from tests.browsers import Watched

__all__ = ["npm_packages"]

PAGE = """<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,">
<script type="module">
import { AwsS3, Uppy } from "./uppy.js";
window.upload = async (endpoint, files) => {
  const uppy = new Uppy();
  EXAMPLE
  for (const [name, type, content] of files) uppy.addFile({ name, type, data: new Blob([content], { type }) });
  const { successful, failed } = await uppy.upload();
  return {
    successful: successful.map(({ name, uploadURL, response }) => ({ name, uploadURL, id: response.body.id })),
    failed: failed.map(({ name, error }) => [name, error]),
  };
};
window.ready = true;
</script>"""


def documented() -> str:
    """The example, but for its import and the file route, which a page has its own of."""
    blocks = re.findall(r"```js\n(.*?)```", (ROOT / "docs" / "clients.md").read_text(), re.DOTALL)
    (example,) = (block for block in blocks if "@uppy/aws-s3" in block)
    assert "/avatars`" in example
    return re.sub(r"^import .*$", "", str(example), flags=re.MULTILINE).replace("/avatars`", "/default`")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, npm_packages: Path) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("site")
    run("esbuild", "uppy.js", "--bundle", "--format=esm", f"--outfile={folder / 'uppy.js'}", "--log-level=error")
    (folder / "index.html").write_text(PAGE.replace("EXAMPLE", documented()))
    with served(folder) as address:
        yield address


def test_files_are_complete_or_failed_each_by_itself(page: Page, site: str, appliance: Appliance, watched: Watched) -> None:
    page.goto(site)
    page.wait_for_function("window.ready")
    files = [["a.txt", "text/plain", "A note"], ["b.xyz", "", "Nobody knows"], ["c.png", "image/png", "<!doctype html><p>"]]
    done: dict[str, Any] = page.evaluate("([endpoint, files]) => upload(endpoint, files)", [endpoint(appliance), files])
    assert [(file["name"], appliance.read(file["uploadURL"]).body) for file in done["successful"]] == [
        ("a.txt", b"A note"),
        ("b.xyz", b"Nobody knows"),
    ]
    for file in done["successful"]:
        assert appliance.call("GET", f"/files/by-id/{file['id']}").json["url"] == file["uploadURL"]
    assert done["failed"] == [["c.png", "This looks like a web page, not a picture"]]
