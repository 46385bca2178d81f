"""`/uploadkit-uppy.js` under the real Uppy with its Dashboard and Golden Retriever, in Chromium, across origins."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Traffic, endpoint, served
from tests.browser.packages import npm_packages, run
from tests.browser.waiting import wait_beside
from tests.support.appliance import Appliance
from tests.support.browsers import Watched
from uploadkit.core.sizes import MIB

__all__ = ["npm_packages"]

PAGE = """<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><link rel="stylesheet" href="uppy.css"><div id="here"></div>
<script type="module">
import { Dashboard, GoldenRetriever, Uppy } from "./uppy.js";
import UploadKit from "API/uploadkit-uppy.js";
window.begin = (endpoints, { retriever, ...options } = {}) => {
  window.seen = { success: [], errors: [], progress: 0 };
  window.uppy = new Uppy()
    .use(Dashboard, { inline: true, target: "#here", showRemoveButtonAfterComplete: true })
    .use(UploadKit, { endpoint: () => endpoints.length > 1 ? endpoints.shift() : endpoints[0], retrySeconds: 60, ...options })
    .use(GoldenRetriever, retriever)
    .on("upload-success", (file, answer) => seen.success.push({ name: file.name, url: answer.uploadURL, body: answer.body }))
    .on("upload-error", (file, error) => seen.errors.push(error.code))
    .on("upload-progress", (file, { bytesUploaded }) => { seen.progress = Math.max(seen.progress, bytesUploaded); });
};
window.ready = true;
</script>"""


class Dashboard:
    """Uppy's Dashboard, and what a user does with it."""

    def __init__(self, page: Page, address: str) -> None:
        self.page, self.address = page, address

    def open(self, *endpoints: str, files: tuple[Path, ...] = (), **options: Any) -> None:
        self.page.goto(self.address)
        self.page.wait_for_function("window.ready")
        self.page.evaluate("([endpoints, options]) => begin(endpoints, options)", [list(endpoints), options])
        if files:
            self.page.set_input_files(".uppy-Dashboard-input >> nth=0", [str(path) for path in files])

    def click(self, name: str) -> None:
        self.page.get_by_role("button", name=re.compile(f"^{name}")).first.click()

    def seen(self, what: str) -> Any:
        return self.page.evaluate(f"seen.{what}")

    def complete(self) -> list[dict[str, Any]]:
        expect(self.page.locator(".uppy-StatusBar.is-complete")).to_be_visible(timeout=60_000)
        return list(self.seen("success"))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, appliance: Appliance, npm_packages: Path) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("site")
    run("esbuild", "uppy.js", "--bundle", "--format=esm", f"--outfile={folder / 'uppy.js'}", "--log-level=error")
    (folder / "index.html").write_text(PAGE.replace("API", appliance.base))
    with served(folder) as address:
        yield address


@pytest.fixture
def dashboard(page: Page, watched: Watched, site: str) -> Dashboard:
    return Dashboard(page, site)


def test_small_and_large_files(
    dashboard: Dashboard, appliance: Appliance, watched: Watched, traffic: Traffic, big_file: Path, tmp_path: Path
) -> None:
    contents = {
        "note.txt": b"A note",
        "README": b"No ending",
        "Grüße 你好 🎉.png": b"\x89PNG\r\n\x1a\n1",
        "holiday.bin": big_file.read_bytes(),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    dashboard.open(endpoint(appliance), files=tuple(tmp_path / name for name in contents), allowedMetaFields=["album"])
    dashboard.page.evaluate("uppy.setMeta({ album: 'spring' })")
    dashboard.click("Upload 4 files")
    done = dashboard.complete()
    assert {file["name"] for file in done} == set(contents)
    for file in done:
        assert hashlib.sha256(appliance.read(file["url"]).body).digest() == hashlib.sha256(contents[file["name"]]).digest()
        assert appliance.call("GET", f"/files/by-id/{file['body']['id']}").json["clientMetadata"] == {"album": "spring"}
    assert dashboard.seen("progress") == big_file.stat().st_size
    assert watched.errors == []


def test_pause_and_resume(dashboard: Dashboard, appliance: Appliance, traffic: Traffic, big_file: Path) -> None:
    dashboard.open(endpoint(appliance), files=(big_file,))
    traffic.hold_after(5)
    dashboard.click("Upload 1 file")
    wait_beside(dashboard.page, lambda: traffic.is_holding)
    dashboard.click("Pause")
    traffic.release()
    wait_beside(dashboard.page, lambda: traffic.is_free)
    assert len(traffic.parts_stored()) == 5
    dashboard.click("Resume")
    assert len(dashboard.complete()) == 1
    assert sorted(traffic.parts_stored()) == list(range(1, 14))


def test_cancel(dashboard: Dashboard, appliance: Appliance, traffic: Traffic, big_file: Path) -> None:
    where = endpoint(appliance, maxFiles=1)
    dashboard.open(where, files=(big_file,))
    traffic.hold_after(3)
    dashboard.click("Upload 1 file")
    wait_beside(dashboard.page, lambda: traffic.is_holding)
    began = dashboard.page.evaluate("JSON.parse(localStorage[Object.keys(localStorage).find((key) => key.startsWith('uploadkit:'))])")
    dashboard.click("Cancel")
    traffic.release()
    wait_beside(dashboard.page, lambda: appliance.call("GET", f"/files/by-id/{began['fileId']}").json["status"] == "FAILED")
    assert dashboard.seen("errors") == []


def test_retry(dashboard: Dashboard, appliance: Appliance, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("A note")
    wrong = f"{appliance.base}/api/uploadkit/t/ukt_{'x' * 32}"
    dashboard.open(wrong, endpoint(appliance), files=(tmp_path / "note.txt",))
    dashboard.click("Upload 1 file")
    expect(dashboard.page.locator(".uppy-StatusBar.is-error")).to_be_visible()
    assert dashboard.seen("errors") == ["UNAUTHORIZED"]
    dashboard.click("Retry")
    assert [file["name"] for file in dashboard.complete()] == ["note.txt"]


@pytest.mark.parametrize("keeps_blobs", [True, False])
def test_golden_retriever_goes_on_after_a_reload(
    dashboard: Dashboard, appliance: Appliance, traffic: Traffic, big_file: Path, keeps_blobs: bool
) -> None:
    retriever = {"indexedDB": {"maxFileSize": 100 * MIB}} if keeps_blobs else {}
    dashboard.open(endpoint(appliance), files=(big_file,), retriever=retriever)
    traffic.hold_after(5)
    dashboard.click("Upload 1 file")
    wait_beside(dashboard.page, lambda: traffic.is_holding)
    dashboard.open(endpoint(appliance), retriever=retriever)
    traffic.release()
    wait_beside(dashboard.page, lambda: traffic.is_free)
    expect(dashboard.page.get_by_text("Session restored")).to_be_visible()
    assert len(traffic.parts_stored()) == 5
    if not keeps_blobs:  # as it is by default with a file of this size: the user has to choose it again
        dashboard.click("Re-select")
        dashboard.page.set_input_files(".uppy-Dashboard-input >> nth=0", str(big_file))
    dashboard.click("Resume|Upload")
    assert len(dashboard.complete()) == 1
    assert sorted(traffic.parts_stored()) == list(range(1, 14))


def test_many_files(dashboard: Dashboard, appliance: Appliance, watched: Watched, tmp_path: Path) -> None:
    """A thousand were tried by hand, with the appliance's own limit of requests; these are as many as a test can wait for."""
    files = tuple(tmp_path / f"{number}.txt" for number in range(60))
    for path in files:
        path.write_text(f"Uppy sends {path.name}")
    dashboard.open(endpoint(appliance, maxFiles=60), files=files)
    dashboard.click("Upload 60 files")
    done = dashboard.complete()
    assert sorted(file["name"] for file in done) == sorted(path.name for path in files)
    assert (dashboard.seen("errors"), watched.errors) == ([], [])
