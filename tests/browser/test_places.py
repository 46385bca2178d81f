"""Places of uploads under way, where one address has few: who closes a tab, cancels or fails gives them back, and who waits gets one."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, Route

from tests.browser.conftest import Traffic, endpoint, served
from tests.browser.scaled import module
from tests.browser.waiting import wait_beside
from tests.support.appliance import Appliance, running
from tests.support.queue_page import PAGE
from uploadkit.core.sizes import MIB

PLACES = 20  # browser.anonymous_pending_uploads, as it is by default

# The file goes once its first bytes have been looked at: no PUT succeeds, and it can't be read any more.
UNREADABLE = """() => {
  XMLHttpRequest.prototype.send = function () { setTimeout(() => this.onloadend()); };
  const slice = Blob.prototype.slice;
  const gone = { arrayBuffer: async () => { throw new Error("gone"); } };
  Blob.prototype.slice = function (from, to) { return to === 1 ? gone : slice.call(this, from, to); };
}"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "index.html").write_text(PAGE)
    (tmp_path / "uploadkit.js").write_text(module())
    (tmp_path / "other.html").write_text("<!doctype html><link rel=icon href='data:,'>")
    with served(tmp_path) as address:
        yield address


def anonymous(appliance: Appliance, origin: str) -> tuple[str, str]:
    """The slug of a new file route that pages of `origin` may upload by without a token, and its endpoint."""
    project = appliance.project_id
    slug = f"drop-{uuid.uuid4().hex[:8]}"
    rules = {"slug": slug, "anonymousUploads": True, "allowedOrigins": [origin]}
    made = appliance.call("POST", f"/projects/{project}/file-routes", rules)
    assert made.status == 201, made.body
    return slug, str(made.json["anonymousEndpoint"])


def tab(context: BrowserContext, site: str) -> Page:
    made = context.new_page()
    made.goto(site)
    made.wait_for_function("window.ready")
    return made


def begin(page: Page, where: str, route: str, *sizes: int, **options: Any) -> None:
    page.evaluate("([where, sizes, options]) => run(where, sizes, options)", [where, sizes, {"route": route, **options}])


def ends(page: Page) -> list[dict[str, Any]]:
    page.evaluate("all")
    return list(page.evaluate("now.ends"))


def under_way(appliance: Appliance, route: str) -> int:
    return len(appliance.call("GET", f"/files?routeSlug={route}&status=UPLOADING&limit=100").json["items"])


@pytest.mark.timeout(180)
def test_closed_tabs_give_their_places_back(browser_context: BrowserContext, appliance: Appliance, traffic: Traffic, site: str) -> None:
    route, where = anonymous(appliance, site)
    traffic.hold_after(0)
    tabs = [tab(browser_context, site) for _ in range(PLACES)]
    for number, one in enumerate(tabs):
        with one.expect_response(lambda answer: answer.request.method == "POST") as answered:  # then the page knows of its upload
            begin(one, where, route, 1000 + number)
        answered.value.finished()
    assert under_way(appliance, route) == PLACES
    last = tab(browser_context, site)
    for one in tabs:
        one.close()
    wait_beside(last, lambda: under_way(appliance, route) == 0)
    traffic.release()
    begin(last, where, route, 10)
    assert ends(last) == [{"status": "UPLOADED"}]


@pytest.mark.timeout(300)
def test_two_pages_with_twenty_files_each_at_one_address(browser_context: BrowserContext, tmp_path: Path, site: str) -> None:
    """There is room for five under way: who finds none looks again soon, and all arrive."""
    with running(tmp_path / "few-places", BROWSER__ANONYMOUS_PENDING_UPLOADS="5") as appliance:
        route, where = anonymous(appliance, site)
        pages = [tab(browser_context, site) for _ in range(2)]
        for number, page in enumerate(pages):
            begin(page, where, route, *range(100 + 100 * number, 120 + 100 * number))
        for page in pages:
            page.wait_for_function("now.done", timeout=280_000)
            assert ends(page) == [{"status": "UPLOADED"}] * 20
        assert "status=429" in appliance.log(), "the limit was felt"


@pytest.mark.parametrize("how", ["cancelled", "paused", "refused", "unreadable", "cancelled at the end"])
def test_what_ends_before_it_is_complete_gives_its_place_back(
    browser_context: BrowserContext, appliance: Appliance, traffic: Traffic, site: str, how: str
) -> None:
    """With a token for one file: the next one may have its place."""
    where, page = endpoint(appliance, maxFiles=1), tab(browser_context, site)
    completing: list[Route] = []
    if how == "refused":
        page.route("**/pending/**", lambda route: route.fulfill(status=411, headers={"Access-Control-Allow-Origin": "*"}))
    elif how == "unreadable":
        page.evaluate(UNREADABLE)
    elif how == "cancelled at the end":

        def hold(route: Route) -> None:
            if "upload-complete" in (route.request.post_data or ""):
                completing.append(route)
            else:
                route.continue_()

        page.route(f"{where}/**", hold)
    else:
        traffic.hold_after(0)
    begin(page, where, "default", 1000)
    if how in ("cancelled", "paused"):
        wait_beside(page, lambda: traffic.waiting == 1)
    elif how == "cancelled at the end":
        wait_beside(page, lambda: completing)
    if how in ("cancelled", "paused", "cancelled at the end"):
        page.evaluate("(how) => control.abort(how === 'paused' ? 'pause' : undefined)", how)
    codes = {"refused": "STORE_REFUSED", "unreadable": "FILE_UNREADABLE", "paused": "PAUSED"}
    assert [end["code"] for end in ends(page)] == [codes.get(how, "ABORTED")]
    assert page.evaluate("Object.keys(localStorage)") == []
    page.unroute_all()
    traffic.release()
    other = tab(browser_context, site)
    begin(other, where, "default", 5)
    assert ends(other) == [{"status": "UPLOADED"}]


@pytest.mark.parametrize("size", [1000, 11 * MIB])
def test_a_page_that_comes_back(browser_context: BrowserContext, appliance: Appliance, traffic: Traffic, site: str, size: int) -> None:
    """A page may be left and shown again as it was: its upload begins anew, or goes on where it is remembered."""
    route, where = anonymous(appliance, site)
    page = tab(browser_context, site)
    traffic.hold_after(0)
    begin(page, where, route, size)
    wait_beside(page, lambda: not traffic.is_free)
    page.evaluate("dispatchEvent(new PageTransitionEvent('pagehide', { persisted: true }))")
    if size < MIB:
        wait_beside(page, lambda: under_way(appliance, route) == 0)
    traffic.release()
    assert ends(page) == [{"status": "UPLOADED"}]


def test_a_page_that_can_keep_nothing_gives_back_what_is_in_parts(
    browser_context: BrowserContext, appliance: Appliance, traffic: Traffic, site: str
) -> None:
    route, where = anonymous(appliance, site)
    browser_context.add_init_script("Object.defineProperty(window, 'localStorage', { get() { throw new Error('denied'); } })")
    page = tab(browser_context, site)
    traffic.hold_after(0)
    begin(page, where, route, 11 * MIB)
    wait_beside(page, lambda: not traffic.is_free)
    assert under_way(appliance, route) == 1
    page.goto(f"{site}/other.html")
    wait_beside(page, lambda: under_way(appliance, route) == 0)
