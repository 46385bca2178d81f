"""Many files, slow lines, limits and silence: what people choose arrives. Times are scaled; bytes, browser and store are real."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, Route

from tests.browser.conftest import Traffic, endpoint, served
from tests.browser.scaled import module
from tests.browser.waiting import wait_beside
from tests.support.appliance import Appliance, free_port
from tests.support.browsers import Watched
from tests.support.queue_page import PAGE
from uploadkit.core.sizes import MIB

MANY_FILES = int(os.environ.get("MANY_FILES", "60"))


class Uploading:
    """A page that uploads files of its own making."""

    def __init__(self, page: Page, folder: Path, address: str) -> None:
        self.page, self.folder, self.address = page, folder, address

    def open(self, **seconds: float) -> None:
        """Open the page with the module's times made these."""
        (self.folder / "uploadkit.js").write_text(module(**seconds))
        self.page.goto(self.address)
        self.page.wait_for_function("window.ready")

    def begin(self, where: str, *sizes: int, **options: Any) -> None:
        self.page.evaluate("([where, sizes, options]) => run(where, sizes, options)", [where, sizes, options])

    def ends(self) -> list[dict[str, Any]]:
        """Wait until all have ended, and return how."""
        self.page.evaluate("all")
        return list(self.page.evaluate("now.ends"))


@pytest.fixture
def uploading(page: Page, watched: Watched, appliance: Appliance, tmp_path: Path) -> Iterator[Uploading]:
    (tmp_path / "index.html").write_text(PAGE)
    with served(tmp_path) as address:
        yield Uploading(page, tmp_path, address)


def puts(watched: Watched) -> int:
    return sum(asked.startswith("PUT ") for asked in watched.requests)


def throttled(context: BrowserContext, page: Page, bytes_per_second: int) -> None:
    conditions = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": bytes_per_second}
    context.new_cdp_session(page).send("Network.emulateNetworkConditions", conditions)


def test_twenty_files_on_a_slow_line(uploading: Uploading, browser_context: BrowserContext, appliance: Appliance, watched: Watched) -> None:
    """All together need five times as long as the module bears silence; each is sent once."""
    uploading.open(SILENCE_SECONDS=2, START_SECONDS=20)
    throttled(browser_context, uploading.page, 2_000_000)
    uploading.begin(endpoint(appliance, maxFiles=20), *[1_000_000] * 20)
    assert uploading.ends() == [{"status": "UPLOADED"}] * 20
    assert puts(watched) == 20


def test_a_proxy_that_takes_all_at_once_and_passes_it_on_slowly(
    uploading: Uploading, appliance: Appliance, traffic: Traffic, watched: Watched
) -> None:
    uploading.open(SILENCE_SECONDS=0.5, ANSWER_SECONDS=4, SLOWEST_BYTES_PER_SECOND=500_000)
    traffic.delay(3)
    uploading.begin(endpoint(appliance), 3_000_000)
    assert uploading.ends() == [{"status": "UPLOADED"}]
    assert puts(watched) == 1


def test_silence_is_told_as_silence(uploading: Uploading, appliance: Appliance, traffic: Traffic) -> None:
    """The store takes the bytes and never answers: that says nothing about CORS."""
    uploading.open(ANSWER_SECONDS=1, SLOWEST_BYTES_PER_SECOND=10_000_000)
    traffic.hold_after(0)
    uploading.begin(endpoint(appliance), 1000, retrySeconds=0)
    [error] = uploading.ends()
    assert (error["code"], "does not answer" in error["message"], "CORS" in error["suggestion"]) == ("NETWORK_ERROR", True, False)


@pytest.mark.timeout(180 + MANY_FILES)
def test_more_files_than_requests_are_let_in(uploading: Uploading, appliance: Appliance, traffic: Traffic) -> None:
    """The limit makes this last many times as long as `retrySeconds`: nothing fails, and it is not asked in vain all the time.

    With MANY_FILES=1000 in the environment it is as many, and the appliance's own limit, of 300 requests a minute, makes it last minutes.
    """
    count = MANY_FILES
    uploading.page.set_default_timeout(3_600_000)
    uploading.open()
    uploading.begin(endpoint(appliance, maxFiles=count), *[2000] * count, limit={"answers": 60, "seconds": 3}, retrySeconds=1)
    assert uploading.ends() == [{"status": "UPLOADED"}] * count
    assert len(traffic.puts) == count
    assert uploading.page.evaluate("refused") < count / 2
    assert uploading.page.evaluate("refused") > 0, "the limit was felt"


def test_waiting_for_a_limit_can_be_aborted(uploading: Uploading, appliance: Appliance) -> None:
    uploading.open()
    uploading.begin(endpoint(appliance), *[10] * 6, limit={"answers": 0, "seconds": 3000})
    uploading.page.wait_for_function("refused > 0")
    uploading.page.evaluate("control.abort()")
    assert {error["code"] for error in uploading.ends()} == {"ABORTED"}
    assert uploading.page.evaluate("refused") <= 4, "those that were asked before it was known"


@pytest.mark.parametrize("size", [1000, 11 * MIB])
def test_what_has_arrived_is_not_given_up(uploading: Uploading, appliance: Appliance, traffic: Traffic, size: int) -> None:
    """`complete` fails for longer than any other step is tried again, then for longer than it is itself; the next call completes."""
    asked = 0

    def fail(route: Route) -> None:
        nonlocal asked
        if not route.request.post_data_json["action"].endswith("complete"):
            return route.continue_()
        asked += 1
        return route.fulfill(status=503, headers={"Access-Control-Allow-Origin": "*"}, json={"error": {"code": "BUSY", "message": "Busy"}})

    where = endpoint(appliance, maxFiles=1)
    uploading.open(COMPLETE_SECONDS=3)
    uploading.page.route(f"{where}/**", fail)
    uploading.begin(where, size, retrySeconds=0)
    assert [end["code"] for end in uploading.ends()] == ["BUSY"]
    assert asked > 2
    uploading.page.unroute(f"{where}/**")
    arrived = traffic.bytes_received()
    uploading.open()
    uploading.begin(where, size)
    assert uploading.ends() == [{"status": "UPLOADED"}]
    assert traffic.bytes_received() == arrived == size
    assert uploading.page.evaluate("Object.keys(localStorage)") == []


def test_a_browser_that_wrongly_thinks_it_is_offline(uploading: Uploading, appliance: Appliance) -> None:
    uploading.page.add_init_script("Object.defineProperty(navigator, 'onLine', { get: () => false })")
    uploading.open(FIRST_CONTACT_SECONDS=0.4)
    uploading.begin(endpoint(appliance), 1000)
    assert uploading.ends() == [{"status": "UPLOADED"}]
    uploading.begin(f"http://127.0.0.1:{free_port()}", 1000)
    [error] = uploading.ends()
    assert (error["code"], "offline" in error["suggestion"]) == ("NETWORK_ERROR", True)


def test_one_line_for_all_uploaders_of_a_page(uploading: Uploading, appliance: Appliance, traffic: Traffic) -> None:
    uploading.open()
    traffic.hold_after(0)
    for _ in range(3):
        uploading.begin(endpoint(appliance), *[1000] * 3)
    wait_beside(uploading.page, lambda: traffic.is_holding)
    uploading.page.evaluate("fetch('/')")  # there is room for others
    assert traffic.is_holding
    traffic.release()
    uploading.page.wait_for_function("now.ends.length === 9")
    assert uploading.ends() == [{"status": "UPLOADED"}] * 9
