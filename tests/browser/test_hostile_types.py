"""Media types that want to be two things: through every surface, and as rows of old, into a real Chromium. None of them runs a script."""

from __future__ import annotations

import json
import sqlite3
import uuid
from contextlib import closing, suppress
from itertools import product

import pytest
from playwright.sync_api import BrowserContext, Error, Page

from tests.dashboard.visitors import new_admin
from tests.support.appliance import Answer, Appliance
from uploadkit.core.media_types import INLINE
from uploadkit.core.sizes import MIB

ORIGIN = "https://hostile.example.com"
# What a browser might take for markup, or for one type where we saw another.
HOSTILE = [
    'image/png;x="a", text/html;y="b"',
    "image/png, text/html",
    "image/png,text/html",
    "image/png ,text/html;charset=utf-8",
    'image/png;x=",text/html;"',
    "image/png;a=b,text/html",
    "image/png; charset=utf-8, text/html; charset=utf-8",
    'application/pdf;x="a", text/html;y="b"',
    'text/plain;charset="a", text/html;y="b"',
    'text/plain;charset=utf-8";text/html',
    'video/webm;codecs="vp9", text/html',
    'video/webm;codecs="vp9\\", text/html;x="',
    "video/mp4;codecs=avc1,text/html",
    "image/png;codecs=text/html",
    "image/png\ttext/html",
    "image/png text/html",
    "image/png(text/html)",
    "image/png\r\nContent-Disposition: inline\r\nContent-Type: text/html",
    "image/png\0text/html",
    "image/*",
    "*/*",
    "text/*",
    "image/x+xml",
    "video/x+xml",
    "audio/x+xml",
    "image/png+xml",
    "image/svg+xml",
    "image/svg",
    "IMAGE/SVG+XML;charset=utf-8",
    "application/pdf+xml",
    "text/plain+xml",
    "text/xml",
    "application/xml",
    "application/xhtml+xml",
    "application/xslt+xml",
    "text/html",
    "TEXT/HTML;charset=utf-7",
    "text/xsl",
    "multipart/x-mixed-replace;boundary=x",
    "message/rfc822",
    "multipart/related;boundary=x",
    "application/unknown",
    "unknown/unknown",
    "application/octet-stream, text/html",
    "text/javascript",
    "application/x-shockwave-flash",
    "model/x+xml",
    "x/y+xml",
    'text/plain;charset=";charset=utf-16le',
    "text/vnd.wap.wml",
]


def payload(base: str, number: str) -> bytes:
    """HTML and XHTML at once, which tells us when it runs. Without a DOCTYPE or an XML declaration it is nothing that is recognised."""
    url = f"{base}/healthz?ran={number}"
    return f'<html xmlns="http://www.w3.org/1999/xhtml"><head><script>new Image().src = "{url}"</script></head></html>'.encode()


@pytest.fixture(scope="module")
def slug(appliance: Appliance) -> str:
    """A file route that looks at nothing and lets everybody in: only what is kept and served protects."""
    name = f"hostile-{uuid.uuid4().hex[:8]}"
    rules = {"slug": name, "verifyContent": False, "anonymousUploads": True, "allowedOrigins": [ORIGIN]}
    assert appliance.call("POST", f"/projects/{appliance.project_id}/file-routes", rules).status == 201
    return name


@pytest.fixture(scope="module")
def files(appliance: Appliance, slug: str) -> dict[str, list[dict[str, str]]]:
    """By type: what came in with it through the surfaces that take it, and a row of old that has it as it is."""
    token = appliance.call("POST", "/upload-tokens", {"routeSlug": slug, "maxFiles": 1000}).json["endpoint"]
    by_key = {"Authorization": f"Bearer {appliance.key}"}
    surfaces = [
        (f"{appliance.base}/api/v1/upload", by_key),
        (f"{appliance.base}/sdk/api/v1/upload", by_key),
        (f"{token}/{slug}", {"Origin": ORIGIN}),
        (f"{appliance.base}/api/uploadkit/{slug}", {"Origin": ORIGIN}),
    ]

    def post(url: str, headers: dict[str, str], body: dict[str, object]) -> Answer:
        return appliance.fetch("POST", url, json.dumps(body).encode(), {"Content-Type": "application/json", **headers})

    def upload(surface: int, declared: str, name: str) -> dict[str, str] | None:
        """One upload; None where the type is refused."""
        address, headers = surfaces[surface]
        content = payload(appliance.base, f"{name}")
        if surface < 2:
            body = {"fileName": "x", "fileSize": len(content), "contentType": declared, "routeSlug": slug}
            slot = post(f"{address}/request", headers, body)
        else:
            body = {"action": "request-upload", "fileName": "x", "contentLength": len(content), "contentType": declared}
            slot = post(address, headers, body)
        if slot.status == 400:
            assert list(slot.json["error"]["details"]) == ["contentType"]
            return None
        assert slot.status == 200, slot.body
        assert appliance.fetch("PUT", slot.json["uploadUrl"], content, {"Content-Type": declared}).status == 200
        ids = {"fileId": slot.json["fileId"]}
        done = (
            post(f"{address}/complete", headers, ids)
            if surface < 2
            else post(address, headers, {"action": "upload-complete", "key": slot.json["key"], **ids})
        )
        assert done.status == 200, done.body
        return dict(done.json.get("file", done.json))

    found: dict[str, list[dict[str, str]]] = {}
    for number, declared in enumerate(HOSTILE):
        through = [upload(surface, declared, f"{number}-{surface}") for surface in (range(4) if number < 3 else (number % 4,))]
        old = upload(0, "application/x-old", f"{number}-old")
        assert old is not None
        with closing(sqlite3.connect(appliance.data_dir / "uploadkit.db", timeout=30)) as rows, rows:
            rows.execute("UPDATE file SET content_type = ? WHERE id = ?", (declared, old["id"]))
        found[declared] = [file for file in (*through, old) if file is not None]
    return found


def test_what_is_kept_and_served_is_one_type(appliance: Appliance, files: dict[str, list[dict[str, str]]]) -> None:
    assert len(files) >= 40
    for declared, made in files.items():
        for file in made:
            rendered = appliance.call("GET", f"/files/by-id/{file['id']}").json["contentType"]
            served = appliance.read(file["url"]).headers
            assert served["Content-Type"] == rendered, declared
            assert not {",", "\n", "\r", "\0", "*"} & set(rendered.partition(";codecs=")[0]), declared
            kind = "inline" if rendered.partition(";")[0] in INLINE else "attachment"
            assert served["Content-Disposition"].startswith(kind), declared
            assert kind == "attachment" or not ("xml" in rendered or "html" in rendered)


def test_in_parts_the_store_itself_is_told_one_type(appliance: Appliance, slug: str) -> None:
    declared = 'image/png;x="a"; text/html;y="b"'
    body = {"fileName": "x", "fileSize": 10 * MIB + 1, "contentType": declared, "routeSlug": slug}
    slot = appliance.call("POST", "/upload/multipart/init", body).json
    content = payload(appliance.base, "parts").ljust(10 * MIB + 1)
    for part in slot["parts"]:
        start = (part["partNumber"] - 1) * slot["partSize"]
        assert appliance.fetch("PUT", part["uploadUrl"], content[start : start + slot["partSize"]]).status == 200
    file = appliance.call("POST", "/upload/multipart/complete", {"fileId": slot["fileId"], "uploadId": slot["uploadId"]}).json
    assert file["contentType"] == "image/png"
    assert appliance.read(file["url"]).headers["Content-Type"] == "image/png"


@pytest.fixture
def ran(browser_context: BrowserContext) -> list[str]:
    """What the payloads asked for, in whichever page or frame they ran."""
    noted: list[str] = []
    browser_context.on("request", lambda request: noted.append(request.url) if "healthz?ran=" in request.url else None)
    return noted


def test_none_runs_a_script(appliance: Appliance, files: dict[str, list[dict[str, str]]], page: Page, ran: list[str]) -> None:
    with page.expect_request("**/healthz?ran=control"):  # where it may, it runs
        page.set_content(payload(appliance.base, "control").decode())
    ran.clear()
    every = [file for made in files.values() for file in made]
    for file in every:
        with suppress(Error):  # "Download is starting" is what should happen to most
            page.goto(file["url"], wait_until="load", timeout=20_000)
    page.goto(f"{appliance.base}/healthz")
    frames = "".join(
        f'<iframe src="{file["url"]}"></iframe><embed src="{file["url"]}"><object data="{file["url"]}"></object>' for file in every
    )
    with suppress(Error):
        page.set_content(f"{frames}", wait_until="load", timeout=60_000)
    assert ran == []


def test_none_runs_inside_the_dashboard(
    appliance: Appliance, files: dict[str, list[dict[str, str]]], browser_context: BrowserContext, page: Page, ran: list[str]
) -> None:
    admin = new_admin(appliance, "hostile@example.com")
    browser_context.add_cookies([{"name": name, "value": value, "url": appliance.base} for name, value in admin.cookies.items()])
    embedded = ("image/", "video/", "audio/", "application/pdf", "text/plain")
    framed = 0
    for made in (made for declared, made in files.items() if declared.startswith(embedded)):
        page.goto(f"{appliance.base}/dashboard/p/default/live/files/{made[-1]['id']}", wait_until="load")
        assert page.locator("h1").count() == 1
        framed += page.locator(".preview iframe, .preview img, .preview video, .preview audio").count()
    assert framed > 5, "there was something to see"
    assert ran == []


def playlist(base: str, number: str) -> bytes:
    """An HTTP Live Streaming playlist, which players know by its first bytes and which leads them elsewhere. Not recognised as text."""
    lines = ["#EXTM3U", "#\x01", "#EXT-X-TARGETDURATION:9", "#EXTINF:9,", f"{base}/healthz?ran={number}", "#EXT-X-ENDLIST", ""]
    return "\n".join(lines).encode()


def test_a_film_that_is_a_playlist_leads_nobody_elsewhere(
    appliance: Appliance, slug: str, browser_context: BrowserContext, page: Page, ran: list[str]
) -> None:
    page.goto(f"{appliance.base}/healthz")
    files = []
    names = ("video/mp4", "video/mpeg", "audio/mpeg", "application/ogg", "video/mp2t")
    for number, (route, declared) in enumerate(product(("default", slug), names)):
        files.append(appliance.upload(playlist(appliance.base, str(number)), f"film{number}.mp4", declared, routeSlug=route))
        assert files[-1]["contentType"] == "application/vnd.apple.mpegurl"
        assert appliance.read(files[-1]["url"]).headers["Content-Disposition"].startswith("attachment")
        with suppress(Error):  # "Download is starting"
            page.goto(files[-1]["url"], wait_until="load", timeout=20_000)
            page.wait_for_timeout(1000)
    assert ran == []
    # Under its own name it stays what it is.
    assert appliance.upload(playlist(appliance.base, "own"), "a.m3u", "audio/mpegurl")["contentType"] == "audio/mpegurl"


def test_where_only_films_are_taken_a_playlist_is_refused(appliance: Appliance) -> None:
    for checks in (True, False):
        name = f"films-{uuid.uuid4().hex[:8]}"
        rules = {"slug": name, "verifyContent": checks, "allowedTypes": ["video/*"]}
        assert appliance.call("POST", f"/projects/{appliance.project_id}/file-routes", rules).status == 201
        for declared in ("video/mp4", "video/mp2t"):
            content = playlist(appliance.base, "film")
            slot = appliance.request(len(content), "film.mp4", declared, routeSlug=name)
            assert appliance.put(slot.json, content, declared).status == 200
            done = appliance.complete(slot.json)
            assert (done.status, done.code) == (415, "FILE_TYPE_NOT_ALLOWED")
            assert "looks like a playlist" in done.json["error"]["message"]
