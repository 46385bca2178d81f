"""Uppy's own `aws-s3` plugin, by the very lines of docs/clients.md, in Chromium across origins."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Route

from tests.browser.conftest import Traffic, endpoint, served
from tests.browser.packages import npm_packages, run
from tests.browser.waiting import wait_beside
from tests.support.appliance import ROOT, Appliance
from tests.support.browsers import Watched

__all__ = ["npm_packages"]

PAGE = """<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,">
<script type="module">
import { AwsS3, Uppy } from "./uppy.js";
window.upload = async (endpoint, files) => {
  const uppy = new Uppy();
  EXAMPLE
  for (const [name, type, content] of files) uppy.addFile({ name, type, data: new Blob([content], { type }) });
  window.uppy = uppy;
  const { successful, failed } = await uppy.upload();
  return {
    successful: successful.map(({ name, uploadURL, response }) => ({ name, uploadURL, id: response.body.id })),
    failed: failed.map(({ name, error }) => [name, error]),
  };
};
window.ready = true;
</script>"""


# Whether the token has room for another file.
ROOM = """async (endpoint) => {
  const body = JSON.stringify({ action: "request-upload", fileName: "a", contentType: "text/plain", contentLength: 1 });
  return (await fetch(`${endpoint}/default`, { method: "POST", headers: { "Content-Type": "application/json" }, body })).status;
}"""


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


def test_many_files_wait_for_a_limit_and_what_is_cancelled_gives_its_place_back(
    page: Page, site: str, appliance: Appliance, traffic: Traffic
) -> None:
    where, asked = endpoint(appliance, maxFiles=41), 0

    def limit(route: Route) -> None:
        nonlocal asked
        asked += 1
        if asked % 2 == 1 and route.request.method == "POST":
            headers = {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "Retry-After", "Retry-After": "0.1"}
            return route.fulfill(status=429, headers=headers, json={"error": {"code": "RATE_LIMITED", "message": "Too many"}})
        return route.continue_()

    page.goto(site)
    page.wait_for_function("window.ready")
    page.route(f"{where}/**", limit)
    files = [[f"{number}.txt", "text/plain", f"file {number}"] for number in range(40)]
    done = page.evaluate("([endpoint, files]) => upload(endpoint, files)", [where, files])
    assert (len(done["successful"]), done["failed"]) == (40, [])
    page.unroute_all()
    traffic.hold_after(0)
    page.evaluate("([endpoint, files]) => { window.end = upload(endpoint, files); }", [where, [["late.txt", "text/plain", "late"]]])
    wait_beside(page, lambda: not traffic.is_free)
    page.evaluate("uppy.removeFile(uppy.getFiles()[0].id)")
    wait_beside(page, lambda: page.evaluate(ROOM, where) == 200)
    traffic.release()
