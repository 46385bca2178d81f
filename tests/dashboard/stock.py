"""An appliance with something in every room, and the addresses of all its pages."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page

from tests.appliance import Appliance, running, wait_until
from tests.dashboard.visitors import EMAIL, PASSWORD
from tests.receivers import answering, receiving

SETTINGS = {"WEBHOOKS__ALLOWED_PRIVATE_CIDRS": '["127.0.0.0/8"]', "WEBHOOKS__RETRY_SCHEDULE_SECONDS": "[1]"}
NAMES = ("beach at noon", "harbour", "lighthouse", "market", "old town", "picnic", "rain", "sunset", "the ferry", "train home")


def picture(red: int, green: int, blue: int) -> bytes:
    """A small PNG with a gradient."""
    lines = b"".join(b"\0" + b"".join(bytes(((red + x) % 256, (green + y) % 256, blue)) for x in range(200)) for y in range(140))

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", 200, 140, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


@contextmanager
def stocked(home: Path) -> Iterator[Appliance]:
    """An appliance with projects, keys, file routes, files and deliveries, of which some were refused."""
    with receiving(answering(503)) as receiver, running(home, **SETTINGS) as appliance:
        appliance.run("projects", "create", "Holiday photos")
        appliance.run("keys", "create", "--name", "GitHub Actions CI", "--test")
        project = appliance.call("GET", "/projects").json["items"][-1]["id"]
        rules = {"slug": "avatars", "maxFileSize": "4MB", "allowedTypes": ["image/*"], "visibility": "private", "webhookUrl": receiver.url}
        assert appliance.call("POST", f"/projects/{project}/file-routes", rules).status == 201
        for number, name in enumerate(NAMES):
            route = "avatars" if number % 4 == 1 else "default"
            content = picture(number * 25, 90, 250 - number * 20)
            appliance.upload(content, name=f"{name}.png", content_type="image/png", metadata={"album": "Summer"}, routeSlug=route)
        appliance.upload(b"%PDF-1.4\n%%EOF\n", name="tickets.pdf", content_type="application/pdf")
        appliance.request(2_000_000, name="film.mp4", content_type="video/mp4")
        wait_until(lambda: appliance.call("GET", "/webhooks/deliveries?status=dead").json["items"], what="a dead delivery")
        yield appliance


def sign_in(page: Page, appliance: Appliance, *, for_the_first_time: bool) -> None:
    """Sign in as the admin, who is made by a set-up link the first time."""
    if for_the_first_time:
        page.goto(appliance.run("admin", "setup-link").stdout.strip())
    else:
        page.goto(f"{appliance.base}/dashboard/sign-in")
    page.get_by_label("E-mail address").fill(EMAIL)
    page.get_by_label("Password").fill(PASSWORD)
    page.locator("form .btn-primary").click()
    page.wait_for_url("**/overview")


def pages(appliance: Appliance) -> dict[str, str]:
    """The address of every kind of page, by a short name."""
    here = f"{appliance.base}/dashboard/p/default/live"
    project = appliance.call("GET", "/projects").json["items"][-1]["id"]
    route = appliance.call("GET", f"/projects/{project}/file-routes").json["items"][0]["id"]
    file = appliance.call("GET", "/files?search=sunset").json["items"][0]["id"]
    delivery = appliance.call("GET", "/webhooks/deliveries").json["items"][0]["id"]
    in_project = {
        "overview": "overview",
        "files": "files",
        "file": f"files/{file}",
        "keys": "keys",
        "file-routes": "file-routes",
        "file-route": f"file-routes/{route}",
        "webhooks": "webhooks",
        "delivery": f"webhooks/deliveries/{delivery}",
        "secrets": "webhooks/secrets",
        "logs": "logs",
        "usage": "usage",
        "project": "settings",
    }
    of_the_appliance = {name: f"{appliance.base}/dashboard/{name}" for name in ("projects", "audit", "storage", "settings")}
    of_the_appliance["all-usage"] = f"{appliance.base}/dashboard/usage"
    return {name: f"{here}/{path}" for name, path in in_project.items()} | of_the_appliance
