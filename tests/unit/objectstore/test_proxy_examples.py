"""docs/examples/nginx.conf in a real nginx: what reaches the store, and what a browser makes of what comes back."""

from __future__ import annotations

import contextlib
import io
import re
import shutil
import struct
import subprocess
import unicodedata
import wave
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3
from playwright.sync_api import Page, expect

from tests.support.appliance import JPEG, ROOT, Appliance, free_port, free_port_of_a_store, running, wait_until
from tests.support.browsers import browser, browser_context, page

__all__ = ["browser", "browser_context", "page"]

NGINX = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
pytestmark = pytest.mark.skipif(NGINX is None, reason="there is no nginx here (Debian: apt-get install nginx-light)")
HOSTILE = b"<!doctype html><title>not run</title><body>here<script>document.title = 'run'; document.cookie = 'planted=1'</script>"
PDF = (
    b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj 2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj "
    b"3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 200]>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"
)


def png() -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = b"".join(b"\0" + b"\xff\0\0" * 8 for _ in range(8))
    head = struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def wav() -> bytes:
    made = io.BytesIO()
    with wave.open(made, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(b"\0\0" * 8000)
    return made.getvalue()


def example(port: int, store_port: int, home: Path) -> str:
    """The example with other ports, and without TLS."""
    text = (ROOT / "docs/examples/nginx.conf").read_text()
    _, _, store = text.rpartition("server_name store.example.com;\n")
    policy = re.search(r"(?s)map \$upstream_http_content_type.*?\n}\n", text)
    store = re.sub(r"(?m)^\s*(ssl_certificate|access_log).*\n", "", store)
    store = store.replace("127.0.0.1:9000", f"127.0.0.1:{store_port}")
    paths = "".join(f"{kind}_temp_path {home}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    return (
        f"daemon off; pid {home}/pid; error_log {home}/error.log; events {{}}\n"
        f"http {{ access_log off; {paths}\n{policy[0] if policy else ''}\nserver {{ listen 127.0.0.1:{port};\n{store}\n}}"
    )


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    """An appliance whose store is reached through nginx."""
    home = tmp_path_factory.mktemp("nginx")
    port, store_port = free_port(), free_port_of_a_store()
    (home / "nginx.conf").write_text(example(port, store_port, home))
    assert NGINX
    nginx = subprocess.Popen([NGINX, "-c", str(home / "nginx.conf"), "-e", str(home / "error.log")], stderr=subprocess.DEVNULL)
    try:
        settings = {"STORAGE__BUNDLED__PORT": str(store_port), "STORAGE__BUNDLED__PUBLIC_ENDPOINT": f"http://127.0.0.1:{port}"}
        with running(home / "appliance", **settings) as appliance:
            wait_until(lambda: nginx.poll() is None, what=(home / "error.log").read_text())
            yield appliance
    finally:
        nginx.terminate()
        nginx.wait(30)


def test_headers_that_change_what_a_url_does_do_not_reach_the_store(proxied: Appliance) -> None:
    for header in ("x-amz-copy-source", "X-Amz-Acl", "x-amz-tagging", "x-amz-grant-read", "x-amz-website-redirect-location"):
        slot = proxied.request(len(JPEG)).json
        sent = {"Content-Type": "image/jpeg", header: "/uploads/other"}
        assert proxied.fetch("PUT", slot["uploadUrl"], JPEG, sent).status == 200, "the store would have refused or obeyed it"
        assert proxied.complete(slot).status == 200


def test_only_what_clients_do_reaches_the_store(proxied: Appliance) -> None:
    url = proxied.request(len(JPEG)).json["uploadUrl"]
    for method in ("POST", "DELETE", "PATCH"):
        answer = proxied.fetch(method, url, JPEG, {"Content-Type": "multipart/form-data; boundary=x"})
        assert (answer.status, b"nginx" in answer.body) == (403, True)
    page = {"Origin": "https://app.example.com", "Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "content-type"}
    assert proxied.fetch("OPTIONS", url, None, page).headers["Access-Control-Allow-Origin"] == "https://app.example.com"
    assert proxied.fetch("PUT", url, JPEG, {"Content-Type": "image/jpeg"}).status == 200


@pytest.fixture(scope="module")
def front(proxied: Appliance, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the appliance behind the example's other half."""
    home, port = tmp_path_factory.mktemp("front"), free_port()
    text = (ROOT / "docs/examples/nginx.conf").read_text()
    server = text.split("\nserver {")[2].partition("server_name uploads.example.com;\n")[2]
    server = re.sub(r"(?m)^\s*(ssl_certificate|access_log).*\n", "", server).replace("127.0.0.1:8080", f"127.0.0.1:{proxied.port}")
    paths = "".join(f"{kind}_temp_path {home}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    top = f"daemon off; pid {home}/pid; error_log {home}/error.log; events {{}}\nhttp {{ access_log off; {paths}\n"
    (home / "nginx.conf").write_text(f"{top}server {{ listen 127.0.0.1:{port};\n{server}\n}}")
    assert NGINX
    nginx = subprocess.Popen([NGINX, "-c", str(home / "nginx.conf"), "-e", str(home / "error.log")], stderr=subprocess.DEVNULL)
    try:
        address = f"http://127.0.0.1:{port}"
        wait_until(lambda: _answers(address) or nginx.poll() is not None, what="nginx")
        yield address
    finally:
        nginx.terminate()
        nginx.wait(30)


def _answers(address: str) -> bool:
    with contextlib.suppress(urllib3.exceptions.HTTPError):
        return urllib3.request("GET", f"{address}/healthz", retries=False, timeout=5).status == 200
    return False


@pytest.mark.parametrize(
    ("character", "times", "rendered"),
    [
        ("報", 251, 83),
        ("\U0001f389", 196, 62),
        ("\u1112\u1161\u11ab", 80, 27),
        ("\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466", 30, 10),
    ],
    ids=["Chinese", "emoji", "decomposed Korean", "families"],
)
def test_a_long_name_comes_through_and_is_saved_under_it(
    page: Page, proxied: Appliance, front: str, character: str, times: int, rendered: int
) -> None:
    file = proxied.upload(png(), f"{character * times}.png", "image/png")
    link = proxied.call("POST", f"/files/{file['key']}/link", {"download": True}).json["url"]
    for url in (file["url"], link):
        redirect = proxied.fetch("GET", url.replace(proxied.base, front))
        assert redirect.status == 302, "nginx says 502 to headers that are too large"
        assert proxied.fetch("GET", redirect.headers["Location"]).status == 200
    page.goto(f"{front}/healthz")
    with page.expect_download() as saved:
        page.evaluate("(url) => { location.href = url; }", link.replace(proxied.base, front))
    name = saved.value.suggested_filename
    assert name.endswith(".png")
    kept = character.replace("\u200d", "_") * rendered  # Chromium's own way with joiners
    assert name.removesuffix(".png") in (kept, unicodedata.normalize("NFC", kept))


def test_what_comes_back_is_no_page(page: Page, proxied: Appliance) -> None:
    def rendered(content: bytes, name: str, kind: str) -> str:
        return str(proxied.upload(content, name, kind)["url"])

    page.goto(rendered(png(), "a.png", "image/png"))
    assert page.locator("img").evaluate("async (image) => (await image.decode(), image.naturalWidth)") == 8
    page.goto(rendered(wav(), "a.wav", "audio/wav"))
    expect(page.locator("video")).to_have_js_property("error", None)
    page.wait_for_function("document.querySelector('video').readyState >= 2")
    page.goto(rendered(b"Hello", "a.txt", "text/plain"))
    expect(page.locator("body")).to_have_text("Hello")
    answer = proxied.read(rendered(PDF, "a.pdf", "application/pdf"))
    assert answer.headers.get("X-Content-Type-Options") == "nosniff"
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert "sandbox" not in answer.headers["Content-Security-Policy"]


def test_a_page_that_somebody_stored_runs_nothing(page: Page, proxied: Appliance) -> None:
    file = proxied.upload(HOSTILE, "a.html", "text/html")
    store_url = proxied.fetch("GET", file["url"]).headers["Location"]
    answer = proxied.fetch("GET", store_url)
    assert "sandbox" in answer.headers["Content-Security-Policy"]
    assert len(answer.headers.getlist("X-Content-Type-Options")) == 1  # type: ignore[attr-defined]
    # As if the store had forgotten that it is to be saved.
    headers = {name: value for name, value in answer.headers.items() if name.lower() != "content-disposition"}
    page.route("**/*", lambda route: route.fulfill(status=200, headers=headers, body=HOSTILE))
    page.goto(store_url)
    expect(page.locator("body")).to_contain_text("here")
    assert page.title() == "not run"
    assert page.context.cookies() == []
