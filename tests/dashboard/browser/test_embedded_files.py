"""What a file is shown in can't be brought to run it, even where the store says that it is a page; and what others plant beside it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

import pytest
from playwright.sync_api import Page, expect

from tests.dashboard.visitors import new_admin
from tests.support.appliance import JPEG, Appliance, running
from tests.support.browsers import Watched
from tests.support.signed_in import sign_in
from tests.support.store_proxy import Answered, Asked, PassOn, proxied
from tests.support.stores import OtherStore, byos_settings

PDF = (
    b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj 2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj "
    b"3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 200]>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"
)
MP4 = b"\0\0\0\x18ftypisom\0\0\0\0isommp42" + b"\0" * 100
FILES = {
    "a.txt": ("text/plain", b"Hello"),
    "a.pdf": ("application/pdf", PDF),
    "a.jpg": ("image/jpeg", JPEG * 10),
    "a.mp4": ("video/mp4", MP4),
    "a.mp3": ("audio/mpeg", b"ID3\x03\0\0\0\0\0\0" + b"\0" * 100),
}
HOSTILE = """<!doctype html><title>x</title><meta http-equiv="refresh" content="0; url=ran-by-refresh">
<script>
for (const path of ["/", "/dashboard"]) document.cookie = `${NAME}=planted; path=${path}`;
new Image().src = "ran-by-script";
top.location = "ran-by-top";
</script><img src="x" onerror="this.src='ran-by-handler'"><form action="ran-by-form"><script>document.forms[0].submit()</script></form>"""


class Store:
    """What the store in between does, and what it was asked for by the browser."""

    def __init__(self) -> None:
        self.lies, self.longer, self.cookie, self.asked = False, 0, "", list[str]()

    def rule(self, asked: Asked, pass_on: PassOn) -> Answered:
        is_browser = "Mozilla" in asked.headers.get("User-Agent", "")
        if is_browser:
            self.asked.append(unquote(asked.target))
        answered = pass_on(asked)
        if is_browser and self.lies and asked.method == "GET":
            kept = {name: value for name, value in answered.headers.items() if name.lower().startswith("access-control-")}
            return Answered(200, kept | {"Content-Type": "text/html"}, HOSTILE.replace("${NAME}", self.cookie).encode())
        if is_browser and self.longer and asked.method == "GET":
            return Answered(200, {**answered.headers, "Content-Length": str(len(PDF) + self.longer)}, PDF + b" " * self.longer)
        return answered


@pytest.fixture(scope="module")
def store() -> Store:
    return Store()


@pytest.fixture(scope="module")
def shop(store: Store, other_store: OtherStore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Appliance, dict[str, str]]]:
    """An appliance behind that store, with an admin and a file of each kind that is shown."""
    home = tmp_path_factory.mktemp("embedded")
    with proxied(other_store.address, store.rule) as address, running(home, **byos_settings(address)) as appliance:
        new_admin(appliance)
        ids = {name: str(appliance.upload(content, name, kind)["id"]) for name, (kind, content) in FILES.items()}
        store.cookie = f"uploadkit_session_{appliance.port}"
        yield appliance, ids


def test_a_file_that_is_served_as_a_page_runs_nothing(page: Page, store: Store, shop: tuple[Appliance, dict[str, str]]) -> None:
    appliance, ids = shop
    sign_in(page, appliance)
    ours = {(c["name"], c["value"], c["path"]) for c in page.context.cookies()}
    store.lies = True
    try:
        for name, file_id in ids.items():
            address = f"{appliance.base}/dashboard/p/default/live/files/{file_id}"
            store.asked.clear()
            page.goto(address, wait_until="networkidle")
            assert any(ids[name] in target or name in target for target in store.asked), f"{name} was asked for"
            page.wait_for_timeout(300)
            assert page.url == address, "nothing was led away"
            assert not [target for target in store.asked if "ran-by" in target], name
            frames = [frame for frame in page.frames if frame is not page.main_frame]
            for frame in page.locator("main iframe").all():
                assert frame.get_attribute("sandbox") == "" or (frame.get_attribute("src") or "").startswith("blob:"), name
            assert len(frames) < 4
    finally:
        store.lies = False
    assert {(c["name"], c["value"], c["path"]) for c in page.context.cookies()} == ours


def test_a_text_and_a_pdf_are_shown(page: Page, watched: Watched, shop: tuple[Appliance, dict[str, str]]) -> None:
    appliance, ids = shop
    sign_in(page, appliance)
    page.goto(f"{appliance.base}/dashboard/p/default/live/files/{ids['a.txt']}")
    expect(page.frame_locator("main iframe").locator("body")).to_have_text("Hello")
    page.goto(f"{appliance.base}/dashboard/p/default/live/files/{ids['a.pdf']}")
    expect(page.locator("main iframe[src^='blob:']")).to_be_visible()
    wide, place = (page.locator(name).bounding_box() for name in ("main iframe", "main .preview"))
    assert wide
    assert place
    assert wide["width"] > place["width"] - 4, "as wide as its place"
    # A link in it, clicked, leads the whole tab away, whatever the frame is: the browser's viewer does that, and no page may forbid it.
    middle = [wide["x"] + wide["width"] / 2, wide["y"] + wide["height"] / 2]
    assert page.evaluate("([x, y]) => document.elementFromPoint(x, y).tagName", middle) != "IFRAME", "no click gets in"
    assert page.locator("main iframe").evaluate("frame => { frame.focus(); return document.activeElement !== frame }"), "no key either"
    expect(page.get_by_role("link", name="Open the PDF")).to_have_attribute("rel", "noopener noreferrer")
    page.goto(f"{appliance.base}/dashboard/p/default/live/files")
    page.get_by_role("link", name="a.pdf").click()
    expect(page.locator("dialog.side iframe[src^='blob:']")).to_be_visible()
    assert watched.errors == []


def test_a_pdf_that_has_no_end_is_not_read_to_it(page: Page, store: Store, shop: tuple[Appliance, dict[str, str]]) -> None:
    appliance, ids = shop
    sign_in(page, appliance)
    store.longer = 1
    try:
        page.goto(f"{appliance.base}/dashboard/p/default/live/files/{ids['a.pdf']}", wait_until="networkidle")
    finally:
        store.longer = 0
    expect(page.get_by_role("link", name="Open the PDF")).to_be_visible()
    assert page.locator("main iframe").count() == 0


def test_a_page_that_opened_this_one_keeps_no_hand_on_it(page: Page, shop: tuple[Appliance, dict[str, str]]) -> None:
    """A page of another port has the cookies that go along, so it can open ours; it must not lead it away or look at its frames."""
    appliance, ids = shop
    sign_in(page, appliance)
    address = f"{appliance.base}/dashboard/p/default/live/files/{ids['a.txt']}"
    evil = page.context.new_page()
    evil.route("http://127.0.0.1:1/*", lambda route: route.fulfill(body="<!doctype html>", content_type="text/html"))
    evil.goto("http://127.0.0.1:1/evil")
    with evil.expect_popup() as opened:
        evil.evaluate("address => { window.opened = window.open(address) }", address)
    expect(opened.value.get_by_role("heading", name="a.txt")).to_be_visible()
    assert evil.evaluate("window.opened.closed"), "as far as it can see"


def test_nothing_of_it_is_seen_after_signing_out(page: Page, shop: tuple[Appliance, dict[str, str]]) -> None:
    appliance, ids = shop
    sign_in(page, appliance)
    page.goto(f"{appliance.base}/dashboard/p/default/live/files/{ids['a.txt']}")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.go_back()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    assert page.get_by_text("a.txt", exact=True).count() == 0


def test_what_pages_of_another_port_and_path_plant_signs_nobody_out(page: Page, shop: tuple[Appliance, dict[str, str]]) -> None:
    appliance, _ = shop

    class Planting(BaseHTTPRequestHandler):
        """A page of another port on the same host, which may write cookies by header and by script."""

        def do_GET(self) -> None:
            self.send_response(200)
            for name in ("session", "visitor"):
                self.send_header("Set-Cookie", f"uploadkit_{name}_{appliance.port}={'h' * 43}; Path=/dashboard")
            script = "".join(
                f"document.cookie = 'uploadkit_{name}_{appliance.port}=' + '{number}'.padEnd(43, 's') + '; path={path}';"
                for name in ("session", "visitor")
                for number, path in enumerate(("/", "/dashboard", "/dashboard/", "/dashboard/settings", "/dashboard/sign-in"))
            )
            body = f"<!doctype html><script>{script}</script>".encode()
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Planting)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        page.goto(f"http://127.0.0.1:{server.server_port}/")
        sign_in(page, appliance)  # with everything in the way already
        page.goto(f"http://127.0.0.1:{server.server_port}/")
        page.goto(f"{appliance.base}/dashboard/settings")
        expect(page.get_by_role("heading", name="Your sessions")).to_be_visible()
        assert sum(c["name"].startswith("uploadkit_session") for c in page.context.cookies()) > 3
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
