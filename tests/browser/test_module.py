"""`/uploadkit.js` in a real Chromium, across origins: a page, the appliance and the store each have their own."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, Route

from tests.browser.conftest import Traffic, endpoint
from tests.support.appliance import Appliance, free_port, running
from tests.support.browsers import Watched
from tests.support.module_tab import Tab, site_of
from uploadkit.core.sizes import MIB

PART = 5 * MIB


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, appliance: Appliance) -> Iterator[str]:
    with site_of(tmp_path_factory.mktemp("site"), appliance) as address:
        yield address


@pytest.fixture
def tab(page: Page, watched: Watched, site: str) -> Tab:
    return Tab(page, site)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_small_files_one_without_a_type_and_one_with_a_unicode_name(
    tab: Tab, appliance: Appliance, watched: Watched, traffic: Traffic, tmp_path: Path
) -> None:
    files = {
        "note.txt": ("text/plain;charset=utf-8", b"A note"),
        "README": ("text/plain;charset=utf-8", b"No ending"),
        "Grüße 你好 🎉.png": ("image/png", b"\x89PNG\r\n\x1a\n" + b"1"),
    }
    for name, (_, content) in files.items():
        (tmp_path / name).write_bytes(content)
    tab.open(*(tmp_path / name for name in files))
    where = endpoint(appliance, metadata={"userId": "ann"})
    for index, (name, (content_type, content)) in enumerate(files.items()):
        tab.begin(where, index, metadata={"album": "spring"})
        file = tab.end()
        assert (file["name"], file["size"], file["status"]) == (name, len(content), "UPLOADED")
        assert file["type"] == content_type
        assert appliance.read(file["url"]).body == content
        kept = appliance.call("GET", f"/files/by-id/{file['id']}").json
        assert (kept["metadata"], kept["clientMetadata"]) == ({"userId": "ann"}, {"album": "spring"})
        assert tab.page.evaluate("[now.sent, now.total]") == [len(content), len(content)]
    assert watched.errors == []
    assert [put.status for put in traffic.puts] == [200, 200, 200]


def test_a_large_file_goes_in_parts(tab: Tab, appliance: Appliance, watched: Watched, traffic: Traffic, big_file: Path) -> None:
    tab.open(big_file)
    tab.begin(endpoint(appliance))
    file = tab.end()
    assert file["size"] == big_file.stat().st_size
    assert sha256(appliance.read(file["url"]).body) == sha256(big_file.read_bytes())
    assert sorted(traffic.parts_stored()) == list(range(1, 14))
    assert traffic.bytes_received() == big_file.stat().st_size
    assert tab.remembered() == []
    assert watched.errors == []


def test_a_reload_in_the_middle_sends_no_finished_part_again(tab: Tab, appliance: Appliance, traffic: Traffic, big_file: Path) -> None:
    tab.open(big_file)
    traffic.hold_after(6)
    tab.begin(endpoint(appliance, metadata={"userId": "ann"}), user="ann")
    tab.wait(lambda: traffic.is_holding)
    tab.open(big_file)
    traffic.release()
    first = set(traffic.parts_stored())
    tab.wait(lambda: traffic.is_free)
    traffic.puts.clear()
    tab.begin(endpoint(appliance), user="ann")
    file = tab.end()
    assert set(traffic.parts_stored()) == set(range(1, 14)) - first
    assert traffic.bytes_received() == big_file.stat().st_size - 6 * PART
    assert sha256(appliance.read(file["url"]).body) == sha256(big_file.read_bytes())
    kept = appliance.call("GET", f"/files/by-id/{file['id']}").json
    assert kept["metadata"] == {"userId": "ann"}, "what the token vouched for that began it"
    assert tab.remembered() == []


def test_nobody_goes_on_with_what_another_user_began(tab: Tab, appliance: Appliance, traffic: Traffic, big_file: Path) -> None:
    tab.open(big_file)
    traffic.hold_after(2)
    tab.begin(endpoint(appliance), user="ann")
    tab.wait(lambda: traffic.is_holding)
    tab.open(big_file)
    traffic.release()
    tab.begin(endpoint(appliance), user="bob")
    assert tab.end()["status"] == "UPLOADED"
    assert sorted(traffic.parts_stored()[2:]) == list(range(1, 14))


def test_an_upload_that_is_gone_starts_anew(tab: Tab, appliance: Appliance, traffic: Traffic, big_file: Path) -> None:
    answer = appliance.call("POST", "/upload-tokens", {"routeSlug": "default", "maxFiles": 10}).json
    for end in ("abort", "revoke"):
        tab.open(big_file)
        traffic.hold_after(2)
        tab.begin(answer["endpoint"])
        tab.wait(lambda: traffic.is_holding)
        began = tab.page.evaluate("JSON.parse(Object.values(localStorage)[0])")
        tab.open(big_file)
        traffic.release()
        if end == "abort":
            ids = {"fileId": began["fileId"], "uploadId": began["uploadId"]}
            assert appliance.call("POST", "/upload/multipart/abort", ids).status == 200
        else:
            assert appliance.call("DELETE", f"/upload-tokens/{answer['id']}").status == 200
        traffic.puts.clear()
        tab.begin(endpoint(appliance))
        assert tab.end()["id"] != began["fileId"]
        assert {*traffic.parts_stored()} == {*range(1, 14)}


def test_the_network_is_cut_for_a_while(
    tab: Tab, browser_context: BrowserContext, appliance: Appliance, traffic: Traffic, big_file: Path
) -> None:
    tab.open(big_file)
    traffic.hold_after(5)
    tab.begin(endpoint(appliance))
    tab.wait(lambda: traffic.is_holding)
    browser_context.set_offline(True)
    traffic.release()
    tab.page.wait_for_timeout(1500)
    assert tab.page.evaluate("now.error") is None
    assert len(traffic.parts_stored()) == 5
    browser_context.set_offline(False)
    file = tab.end()
    assert file["status"] == "UPLOADED"
    assert len(traffic.parts_stored()) == len(set(traffic.parts_stored())) == 13
    assert sha256(appliance.read(file["url"]).body) == sha256(big_file.read_bytes())


def test_cancel_aborts_at_the_appliance(tab: Tab, appliance: Appliance, traffic: Traffic, big_file: Path) -> None:
    tab.open(big_file)
    traffic.hold_after(3)
    where = endpoint(appliance, maxFiles=1)
    tab.begin(where)
    tab.wait(lambda: traffic.is_holding)
    began = tab.page.evaluate("JSON.parse(Object.values(localStorage)[0])")
    tab.page.evaluate("now.control.abort()")
    assert tab.end()["code"] == "ABORTED"
    traffic.release()
    assert tab.remembered() == []
    assert appliance.call("GET", f"/files/by-id/{began['fileId']}").json["status"] == "FAILED"
    tab.begin(where)
    assert tab.end()["status"] == "UPLOADED", "an aborted upload gives its place back"


def test_pause_and_go_on(tab: Tab, appliance: Appliance, traffic: Traffic, big_file: Path) -> None:
    tab.open(big_file)
    traffic.hold_after(7)
    where = endpoint(appliance, maxFiles=1)
    tab.begin(where)
    tab.wait(lambda: traffic.is_holding)
    tab.page.evaluate("now.control.abort('pause')")
    assert tab.end()["code"] == "PAUSED"
    traffic.release()
    assert len(tab.remembered()) == 1
    tab.begin(where)
    assert tab.end()["status"] == "UPLOADED"
    assert len(traffic.parts_stored()) == len(set(traffic.parts_stored())) == 13


def test_expired_part_urls(page: Page, traffic: Traffic, behind_traffic: dict[str, str], big_file: Path, tmp_path: Path) -> None:
    with (
        running(tmp_path / "appliance", STORAGE__PRESIGN_EXPIRES_SECONDS="6", **behind_traffic) as appliance,
        site_of(tmp_path, appliance) as address,
    ):
        tab = Tab(page, address)
        tab.open(big_file)
        traffic.hold_after(2)
        tab.begin(endpoint(appliance))
        tab.wait(lambda: traffic.is_holding)
        tab.page.wait_for_timeout(7000)  # the lifetime of the URLs
        traffic.release()
        file = tab.end()
        assert file["status"] == "UPLOADED", file
        assert 403 in {put.status for put in traffic.puts}
        assert len(traffic.parts_stored()) == len(set(traffic.parts_stored())) == 13


def test_pause_and_go_on_where_nothing_can_be_kept(tab: Tab, appliance: Appliance, traffic: Traffic, big_file: Path) -> None:
    refused = "Object.defineProperty(window, 'localStorage', { get() { throw new DOMException('no', 'SecurityError'); } })"
    tab.page.add_init_script(refused)
    tab.open(big_file)
    traffic.hold_after(7)
    where = endpoint(appliance, maxFiles=1)
    tab.begin(where)
    tab.wait(lambda: traffic.is_holding)
    tab.page.evaluate("now.control.abort('pause')")
    assert tab.end()["code"] == "PAUSED"
    traffic.release()
    tab.begin(where)
    assert tab.end()["status"] == "UPLOADED"
    assert len(traffic.parts_stored()) == len(set(traffic.parts_stored())) == 13


def test_cancel_while_it_begins(tab: Tab, browser_context: BrowserContext, appliance: Appliance, big_file: Path) -> None:
    tab.open(big_file)
    browser_context.set_offline(True)
    tab.begin(endpoint(appliance))
    tab.page.wait_for_timeout(300)
    tab.page.evaluate("now.control.abort()")
    assert tab.end()["code"] == "ABORTED"


def test_retry_after_is_honoured(tab: Tab, appliance: Appliance, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("A note")
    tab.open(tmp_path / "note.txt")
    asked: list[float] = []

    def limit_once(route: Route) -> None:
        asked.append(time.monotonic())
        if len(asked) > 1:
            return route.continue_()
        headers = {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "Retry-After", "Retry-After": "3"}
        return route.fulfill(status=429, headers=headers, json={"error": {"code": "RATE_LIMITED", "message": "Too many requests"}})

    where = endpoint(appliance)
    tab.page.route(f"{where}/**", limit_once)
    tab.begin(where)
    assert tab.end()["status"] == "UPLOADED"
    assert asked[1] - asked[0] >= 2.9


@pytest.mark.parametrize("size", [1000, 11 * MIB])
def test_lost_answers_use_nothing_up(tab: Tab, appliance: Appliance, traffic: Traffic, tmp_path: Path, size: int) -> None:
    """Every answer of the appliance is lost once, the file is there once, and the token was for one."""
    (tmp_path / "note.bin").write_bytes(bytes(size))
    tab.open(tmp_path / "note.bin")
    lost: set[str] = set()

    def lose_once(route: Route) -> None:
        action = route.request.post_data_json["action"]
        if action in lost:
            return route.continue_()
        lost.add(action)
        route.fetch()
        return route.abort("connectionreset")

    where = endpoint(appliance, maxFiles=1)
    tab.page.route(f"{where}/**", lose_once)
    tab.begin(where)
    file = tab.end()
    assert (file.get("status"), file.get("size")) == ("UPLOADED", size), file
    assert len(lost) == 2
    assert sum(put.size for put in traffic.puts) == size


def test_etags_that_a_proxy_made_do_not_end_an_upload(tab: Tab, appliance: Appliance, traffic: Traffic, tmp_path: Path) -> None:
    (tmp_path / "film.bin").write_bytes(bytes(11 * MIB))
    tab.open(tmp_path / "film.bin")
    named: list[bool] = []

    def spoil(route: Route) -> None:
        body = route.request.post_data_json
        if body["action"] != "multipart-complete":
            return route.continue_()
        named.append("parts" in body)
        return route.continue_(post_data=body | {"parts": [part | {"etag": "0" * 32} for part in body["parts"]]} if named[-1] else body)

    where = endpoint(appliance)
    tab.page.route(f"{where}/**", spoil)
    tab.begin(where)
    file = tab.end()
    assert (file.get("status"), named) == ("UPLOADED", [True, False]), file
    assert sorted(traffic.parts_stored()) == [1, 2, 3], "nothing was sent twice"


def test_an_anonymous_file_route(tab: Tab, appliance: Appliance, tmp_path: Path) -> None:
    project = appliance.project_id
    rules = {"slug": "contact", "anonymousUploads": True, "allowedOrigins": [tab.address], "allowedTypes": ["text/*"], "maxFileSize": "1KB"}
    assert appliance.call("POST", f"/projects/{project}/file-routes", rules).status == 201
    (tmp_path / "note.txt").write_text("A note")
    tab.open(tmp_path / "note.txt")
    tab.begin(f"{appliance.base}/api/uploadkit", route="contact")
    assert tab.end()["status"] == "UPLOADED"
    asked = tab.page.evaluate("(endpoint) => createUploader({ endpoint }).rules('contact')", f"{appliance.base}/api/uploadkit/")
    assert asked == {"maxFileSize": 1024, "maxFileCount": 1, "allowedTypes": ["text/*"], "verifyContent": True}


def test_errors_have_a_code_and_a_suggestion(tab: Tab, appliance: Appliance, tmp_path: Path) -> None:
    (tmp_path / "empty.txt").touch()
    (tmp_path / "note.txt").write_text("A note")
    tab.open(tmp_path / "note.txt", tmp_path / "empty.txt")
    where = endpoint(appliance, maxFiles=1)
    for address, index, route, code, status in (
        (where, 1, "default", "FILE_EMPTY", 0),
        (where, 0, "nowhere", "ROUTE_NOT_FOUND", 404),
        (f"{appliance.base}/api/uploadkit/t/ukt_{'x' * 32}", 0, "default", "UNAUTHORIZED", 401),
        (f"http://127.0.0.1:{free_port()}", 0, "default", "NETWORK_ERROR", 0),
    ):
        tab.begin(address, index, route=route, retrySeconds=1)
        error = tab.end()
        assert (error["name"], error["code"], error["status"]) == ("UploadError", code, status)
        assert error["message"]
        assert error["suggestion"]


def test_a_file_that_changes_while_it_is_uploaded(tab: Tab, appliance: Appliance, traffic: Traffic, big_file: Path, tmp_path: Path) -> None:
    changing = tmp_path / "changing.bin"
    changing.write_bytes(big_file.read_bytes())
    tab.open(changing)
    traffic.hold_after(2)
    tab.begin(endpoint(appliance))
    tab.wait(lambda: traffic.is_holding)
    changing.write_bytes(b"short")
    traffic.release()
    assert tab.end()["code"] == "FILE_UNREADABLE"


def test_as_it_is_served(appliance: Appliance) -> None:
    answer = appliance.fetch("GET", f"{appliance.base}/uploadkit.js", headers={"Origin": "https://app.example.com"})
    assert answer.headers["Content-Type"].startswith("text/javascript")
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert answer.headers["Cache-Control"] == "public, max-age=600"
    again = appliance.fetch("GET", f"{appliance.base}/uploadkit.js", headers={"If-None-Match": answer.headers["ETag"]})
    assert (again.status, again.body) == (304, b"")
