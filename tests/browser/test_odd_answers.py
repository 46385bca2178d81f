"""`/uploadkit.js` where the endpoint answers what UploadKit never would: an error that says so, at once, and the page goes on."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, Route

from tests.support.appliance import Appliance
from tests.support.browsers import Watched
from tests.support.module_tab import Tab, site_of
from uploadkit.core.sizes import MIB

ENDPOINT = "http://odd.example.com/api/uploadkit/t/ukt_x"
PUT = "http://odd.example.com/put"
SLOT = {"fileId": "f", "key": "k", "uploadUrl": PUT, "headers": {"Content-Type": "text/plain"}}
PLAN = {"fileId": "f", "uploadId": "u", "partSize": 5 * MIB, "parts": [{"partNumber": number, "uploadUrl": PUT} for number in (1, 2, 3)]}
FAR = [{"partNumber": 10**9 + number, "size": 1, "etag": "x"} for number in range(50_000)]
SMALL: dict[str, Any] = {
    "a number": 7,
    "a text": "x",
    "a list": [],
    "no address": {**SLOT, "uploadUrl": None},
    "a script for an address": {**SLOT, "uploadUrl": "javascript:alert(1)"},
    "a number for an address": {**SLOT, "uploadUrl": 7},
    "two lines in a header": {**SLOT, "headers": {"Content-Type": "a\r\nb"}},
    "a code that is none": {"error": {"code": 7, "message": {"a": 1}}},
    "no file at the end": SLOT,
}
LARGE: dict[str, Any] = {
    "parts of no size": {**PLAN, "partSize": 0},
    "parts of less than a byte": {**PLAN, "partSize": 0.001},
    "parts of one byte each": {**PLAN, "partSize": 1},
    "a text for a size": {**PLAN, "partSize": "5"},
    "parts that are none": {**PLAN, "parts": [None]},
    "no parts": {**PLAN, "parts": []},
    "parts behind the end": {**PLAN, "uploaded": FAR},
    "arrived parts that are none": {**PLAN, "uploaded": [None]},
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, appliance: Appliance) -> Iterator[str]:
    with site_of(tmp_path_factory.mktemp("site"), appliance) as address:
        yield address


@pytest.mark.parametrize("name", [*SMALL, *LARGE])
def test_what_is_no_answer_of_the_appliance_is_told_as_that(
    browser_context: BrowserContext, page: Page, watched: Watched, site: str, tmp_path: Path, name: str
) -> None:
    answer = (SMALL | LARGE)[name]
    headers = {"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Headers": "*", "Access-Control-Allow-Methods": "*"}

    def answered(route: Route) -> None:
        asked = route.request.post_data or ""
        is_end = "complete" in asked or "abort" in asked
        status = 400 if "error" in name or "code" in name else 200
        route.fulfill(status=status, headers=headers, body=json.dumps({} if is_end else answer), content_type="application/json")

    browser_context.route("http://odd.example.com/**", answered)
    path = tmp_path / "file.txt"
    path.write_bytes(b"words and words" if name in SMALL else b"x" * (11 * MIB))
    tab = Tab(page, site)
    tab.open(path)
    tab.begin(ENDPOINT, retrySeconds=1)
    page.wait_for_function("now.error || now.result", timeout=60_000)
    assert tab.end()["code"] == "UNEXPECTED_ANSWER"


def test_a_fraction_of_a_second_to_wait_is_a_second(browser_context: BrowserContext, page: Page, site: str, tmp_path: Path) -> None:
    times: list[float] = []
    headers = {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "*", "Retry-After": "0.001"}

    def limited(route: Route) -> None:
        if route.request.method == "POST":
            times.append(time.monotonic())
        route.fulfill(status=429, headers=headers | {"Access-Control-Allow-Headers": "*"}, body='{"error": {"code": "RATE_LIMITED"}}')

    browser_context.route("http://odd.example.com/**", limited)
    path = tmp_path / "file.txt"
    path.write_bytes(b"words")
    tab = Tab(page, site)
    tab.open(path)
    tab.begin(ENDPOINT)
    tab.wait(lambda: len(times) > 3)
    assert times[3] - times[0] > 2.5
