"""Pages of other origins in a real Chromium: narrow `cors_origins`, tracing on every request, what is shown before it is read."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.browser.conftest import endpoint, served
from tests.support.appliance import Appliance, running
from tests.support.store_proxy import Answered, Asked, proxied
from tests.support.stores import byos_settings, started_store
from uploadkit.core.sizes import MIB

PNG = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")
TRACED = """
const tracing = { traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", baggage: "user=1", "sentry-trace": "1-1" };
const plainFetch = window.fetch, send = XMLHttpRequest.prototype.send;
window.fetch = (url, init = {}) => plainFetch(url, { ...init, headers: { ...init.headers, ...tracing } });
XMLHttpRequest.prototype.send = function (body) {
  for (const name in tracing) this.setRequestHeader(name, tracing[name]);
  return send.call(this, body);
};
"""
UPLOADING = """<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><script>TRACED</script><script type="module">
import { createUploader } from "API/uploadkit.js";
window.upload = async (endpoint, size) => {
  const uploader = createUploader({ endpoint, retrySeconds: 5 });
  return (await uploader.upload(new File([new Uint8Array(size)], "a.bin"))).url;
};
window.ready = true;
</script>"""
READ = """async (url) => { try { return (await (await fetch(url)).arrayBuffer()).byteLength; } catch (error) { return String(error); } }"""
SHOW = """(url) => new Promise((resolve) => {
  const image = new Image();
  if (CROSS) image.crossOrigin = "anonymous";
  image.onload = () => resolve("shown"); image.onerror = () => resolve("not shown");
  image.src = url;
})"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    folder = tmp_path_factory.mktemp("site-of-origins")
    with served(folder) as address:
        yield address, folder


@pytest.fixture(scope="module")
def narrow(site: tuple[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    """An appliance whose bundled store lets pages of one web site upload, as a careful operator sets it."""
    address, folder = site
    settings = {"STORAGE__BUNDLED__CORS_ORIGINS": json.dumps([address, "capacitor://localhost"])}
    with running(tmp_path_factory.mktemp("narrow"), **settings) as appliance:
        (folder / "index.html").write_text(UPLOADING.replace("TRACED", TRACED).replace("API", appliance.base))
        (folder / "plain.html").write_text("<!doctype html><link rel=icon href='data:,'>")
        yield appliance


def test_a_page_that_traces_every_request_uploads_and_reads(page: Page, narrow: Appliance, site: tuple[str, Path]) -> None:
    page.goto(site[0])
    page.wait_for_function("window.ready")
    for size in (1000, 11 * MIB):
        url = page.evaluate("([endpoint, size]) => upload(endpoint, size)", [endpoint(narrow), size])
        assert page.evaluate(READ, url) == size, "the redirect's preflight, with Origin: null"


def test_a_page_reads_what_a_redirect_leads_to(page: Page, narrow: Appliance, site: tuple[str, Path]) -> None:
    file = narrow.upload(PNG, "a.png", "image/png")
    link = narrow.call("POST", f"/files/{file['key']}/link", {}).json["url"]
    page.goto(f"{site[0]}/plain.html")
    for url in (file["url"], link):
        assert page.evaluate(READ, url) == len(PNG)
        assert page.evaluate(SHOW.replace("CROSS", "true"), url) == "shown"
    assert page.evaluate(READ, f"{narrow.base}/f/nowhere") > 0, "a page can read why there is nothing"


def test_the_dashboard_uploads_although_it_is_not_on_the_list(page: Page, narrow: Appliance) -> None:
    asked = {"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "content-type"}
    slot = narrow.request(1).json
    for origin, may in ((narrow.base, True), (narrow.base.replace("127.0.0.1", "localhost"), True), ("https://evil.example", False)):
        answer = narrow.fetch("OPTIONS", slot["uploadUrl"], headers={"Origin": origin, **asked})
        assert ("PUT" in answer.headers.get("Access-Control-Allow-Methods", "")) is may, origin
    for host in ("127.0.0.1", "localhost"):
        page.goto(f"http://{host}:{narrow.port}/healthz")
        slot = narrow.request(5, "a.txt", "text/plain").json
        put = "async ([url, type]) => (await fetch(url, { method: 'PUT', body: '12345', headers: { 'Content-Type': type } })).status"
        assert page.evaluate(put, [slot["uploadUrl"], "text/plain"]) == 200


def test_what_is_shown_first_can_be_read_after(page: Page, site: tuple[str, Path], tmp_path: Path, narrow: Appliance) -> None:
    """On a store that says `Vary: Origin` only to who sends one, and of a file that is old enough for a browser to keep it."""

    def without_vary(asked: Asked, pass_on: Callable[[Asked], Answered]) -> Answered:
        answered = pass_on(asked)
        if asked.method in ("GET", "HEAD") and "X-Amz-Signature" in asked.query:
            dropped = ("last-modified",) if "Origin" in asked.headers else ("last-modified", "vary")
            answered.headers = {name: value for name, value in answered.headers.items() if name.lower() not in dropped}
            answered.headers["Last-Modified"] = "Thu, 01 Jan 2026 00:00:00 GMT"
        return answered

    with (
        started_store(tmp_path / "store") as other,
        proxied(other.address, without_vary) as address,
        running(tmp_path / "appliance", **byos_settings(address)) as appliance,
    ):
        file = appliance.upload(PNG, "a.png", "image/png")
        page.goto(f"{site[0]}/plain.html")
        assert page.evaluate(SHOW.replace("CROSS", "false"), file["url"]) == "shown"
        assert page.evaluate(READ, file["url"]) == len(PNG)
        assert page.evaluate(SHOW.replace("CROSS", "true"), file["url"]) == "shown"
        assert page.evaluate(SHOW.replace("CROSS", "false"), file["url"]) == "shown"
