"""An appliance with something on every page: files of all kinds and states, deliveries in all states, keys, projects, an audit trail."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import Page

from tests.dashboard import samples
from tests.dashboard.visitors import EMAIL, PASSWORD, new_admin
from tests.support.appliance import Appliance, running, wait_until
from tests.support.receivers import Handler, Received, Receiver, receiving

EVENTS = ["onUploadComplete", "file.failed", "file.deleted"]
SETTINGS = {
    "WEBHOOKS__ALLOWED_PRIVATE_CIDRS": '["127.0.0.0/8"]',
    "WEBHOOKS__RETRY_SCHEDULE_SECONDS": "[1]",
    "WEBHOOKS__PAUSE_AFTER_DEAD_DELIVERIES": "2",
    "WEBHOOKS__TIMEOUT_SECONDS": "300",
    "DASHBOARD__SIGN_INS_PER_MINUTE": "",
}
PHOTOS = ("Morning in the hills.png", "Lake.png", "Grüße aus Köln.png", "scan-0001.png", "écran.png", "IMG_20260412_183015.png")
LONG_NAME = f"The minutes of the annual general meeting, with all annexes, as corrected after the {'very ' * 31}reading (v7).pdf"
HOSTILE_NAME = "<img src=x onerror=alert(1)>.txt"
SHEET = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
# What opens on a page: by the name of the page, the button that opens it.
DIALOGS = {"keys": "Create key", "projects": "Create project", "project": "Delete the project", "file": "Delete"}


@dataclass
class Stocked:
    """The appliance, the addresses of its pages by a name that can be a file's, and the origin that browsers read files from."""

    appliance: Appliance
    pages: dict[str, str]
    store: str


@contextlib.contextmanager
def stocked(home: Path) -> Iterator[Stocked]:
    """A filled appliance; what it calls answers until the end."""
    with (
        running(home, **SETTINGS, BACKUP__TO=str(home / "backups")) as appliance,
        receiving() as good,
        receiving(_fail) as broken,
        receiving() as slow,
    ):
        slow.answer = _hang(slow)
        stocking = _Stocking(appliance)
        yield Stocked(appliance, stocking.fill(good, broken, slow), stocking.store)


def visit(page: Page, stocked: Stocked) -> Iterator[str]:
    """Lead a browser from page to page, from before the sign-in to a key that is shown once. Yields the name of what it has come to."""
    base = stocked.appliance.base
    for name, path in {"front": "/", "front-failure": "/nothing", "setup": "/dashboard/setup", "sign-in": "/dashboard/sign-in"}.items():
        page.goto(base + path)
        yield name
    for name, password in {"sign-in-refused": "not the password", "": PASSWORD}.items():
        page.get_by_label("E-mail address").fill(EMAIL)
        page.get_by_label("Password").fill(password)
        page.get_by_role("button", name="Sign in").click()
        if name:
            page.get_by_role("alert").wait_for()
            yield name
    page.get_by_role("button", name="Sign out").wait_for()
    for name, path in stocked.pages.items():
        page.goto(base + path)
        yield name
        if name == "files":
            page.get_by_role("link", name="Lake.png").click()
            page.get_by_role("button", name="Close").wait_for()
            yield "file-panel"
        if name == "storage":
            page.get_by_role("button", name="Run the doctor").click()
            page.get_by_text("Done").wait_for()
            yield "storage-doctor"
        if name == "backups":
            page.get_by_role("button", name="Back up now").click()
            page.get_by_text("A backup is being made").wait_for()
            wait_until(lambda: page.reload() and page.get_by_text("whole").is_visible(), what="a whole backup")
            yield "backups-whole"
        if name in DIALOGS:
            page.get_by_role("button", name=DIALOGS[name], exact=True).first.click()
            yield f"{name}-dialog"
    page.goto(f"{base}/dashboard/p/fresh/live/keys")
    yield "empty-keys"
    page.get_by_role("button", name="Create key").click()
    page.get_by_label("Name").fill("Production server")
    page.get_by_role("button", name="Create", exact=True).click()
    page.get_by_label("API key", exact=True).wait_for()
    yield "key-shown"


def _fail(handler: Handler, received: Received) -> None:
    handler.reply(500, b"<html><body><h1>Internal Server Error</h1>Nothing to see here & never was.</body></html>")


def _hang(receiver: Receiver) -> Any:
    """Answer nothing until all is over."""

    def answer(handler: Handler, received: Received) -> None:
        receiver.over.wait(900)

    return answer


class _Stocking:
    def __init__(self, appliance: Appliance) -> None:
        self.appliance = appliance
        self.files: dict[str, str] = {}
        self.store = ""
        (self.project,) = self.call("GET", "/projects")["items"]

    def call(self, method: str, path: str, body: Any = None, key: str | None = None) -> Any:
        answer = self.appliance.call(method, path, body, key=key)
        assert answer.status < 300, answer.body
        return answer.json

    def fill(self, good: Receiver, broken: Receiver, slow: Receiver) -> dict[str, str]:
        new_admin(self.appliance)
        self.call("PATCH", f"/projects/{self.project['id']}", {"name": "Photo album", "retentionDays": 365})
        self.routes(good, broken, slow)
        self.uploads()
        self.others()
        test_key = self.keys()
        for number in range(3):
            self.upload(f"sandbox-{number}.png", "image/png", samples.png(120, 80, number / 3), key=test_key)
        wait_until(self.has_all_deliveries, what="deliveries in all states")
        new_admin(self.appliance, "ben.bartholomew-whitaker@subsidiary.example.org")
        return self.pages()

    def routes(self, good: Receiver, broken: Receiver, slow: Receiver) -> None:
        path = f"/projects/{self.project['id']}/file-routes"
        for slug, more in {
            "photos": {"maxFileSize": "8MB", "allowedTypes": ["image/*"], "maxFileCount": 20, "webhookUrl": good.url},
            "invoices": {"visibility": "private", "allowedTypes": ["application/pdf"], "webhookUrl": broken.url},
            "recordings": {"allowedTypes": ["audio/*", "video/*"], "webhookUrl": slow.url},
            "contact-form": {"maxFileSize": "4MB", "anonymousUploads": True, "allowedOrigins": ["https://www.example.com"]},
        }.items():
            self.call("POST", path, {"slug": slug, "webhookEvents": EVENTS, **more})
        self.route_ids = {route["slug"]: route["id"] for route in self.call("GET", path)["items"]}

    def upload(self, name: str, content_type: str, content: bytes, route: str = "default", **more: Any) -> None:
        file = self.appliance.upload(content, name, content_type, routeSlug=route, **more)
        self.files[name] = file["id"]

    def uploads(self) -> None:
        for number in range(4, 12):
            self.upload(f"holiday-{number:04}.png", "image/png", samples.png(96, 96, number / 12))
        self.upload("voice memo.wav", "audio/wav", samples.wav(2), "recordings")
        for number in range(3):
            self.upload(f"invoice-2026-{number:03}.pdf", "application/pdf", samples.pdf(f"Invoice {number}"), "invoices")
        self.upload(LONG_NAME, "application/pdf", samples.pdf("Minutes"))
        self.upload(HOSTILE_NAME, "text/plain", b"Harmless.")
        self.upload("notes.txt", "text/plain", ("A line of notes.\n" * 40).encode())
        self.upload("backup.zip", "application/zip", samples.archive("a.txt", "b.txt"))
        self.upload("budget.xlsx", SHEET, samples.archive("[Content_Types].xml"))
        self.upload("wide panorama.png", "image/png", samples.png(1200, 150, 0.6))
        for number, name in enumerate(PHOTOS):
            details = {"album": "Spring", "stars": number} if number % 2 else {}
            self.upload(name, "image/png", samples.png(320, 200, number / len(PHOTOS)), "photos", metadata=details)

    def others(self) -> None:
        """Uploads that came to nothing or are under way, a file that is gone, and deliveries that wait at a paused destination."""
        content = samples.pdf("Not a picture")
        slot = self.appliance.request(len(content), "pretends to be a picture.png", "image/png").json
        self.appliance.put(slot, content, "image/png")
        assert self.appliance.complete(slot).status >= 400
        under_way = self.appliance.request(9_000_000, "still coming.png", "image/png").json
        self.store = under_way["uploadUrl"][: under_way["uploadUrl"].index("/", 8)]
        self.files |= {"pretends to be a picture.png": slot["fileId"], "still coming.png": under_way["fileId"]}
        gone = self.appliance.upload(samples.png(64, 64, 0.3), "old flyer.png", "image/png", routeSlug="photos")
        self.call("DELETE", f"/files/{gone['key']}")
        wait_until(lambda: any(one["pausedAt"] for one in self.call("GET", "/webhooks/destinations")["items"]), what="a pause")
        self.upload("invoice-2026-003.pdf", "application/pdf", samples.pdf("Invoice 3"), "invoices")

    def keys(self) -> str:
        path = f"/projects/{self.project['id']}/keys"
        names = {"Production server": "project", "Nightly import from the old system, to be revoked": "project", "CI": "account"}
        for name, access in names.items():
            self.call("POST", path, {"name": name, "access": access})
        self.call("POST", path, {"name": "Laptop, lost"})
        lost = next(key for key in self.call("GET", path)["items"] if key["name"] == "Laptop, lost")
        self.call("DELETE", f"/keys/{lost['id']}")
        for name, tier in (("Bäckerei Müller", "free"), ("A project with quite a long name for its customers", None), ("Fresh", None)):
            self.call("POST", "/projects", {"name": name} | ({"tier": tier} if tier else {}))
        return str(self.call("POST", path, {"name": "Sandbox", "environment": "test"})["key"])

    def has_all_deliveries(self) -> bool:
        found = {one["status"] for one in self.call("GET", "/webhooks/deliveries?limit=100")["items"]}
        return found == {"pending", "delivering", "delivered", "dead"}

    def pages(self) -> dict[str, str]:
        """The path of every page, and of those that look different by what they show."""
        here = f"/dashboard/p/{self.project['slug']}/live"
        deliveries = {one["status"]: one["id"] for one in self.call("GET", "/webhooks/deliveries?limit=100")["items"]}
        rendered = ("invoice-2026-000.pdf", "voice memo.wav", "notes.txt", "pretends to be a picture.png", LONG_NAME)
        of_project = {
            "overview": "overview", "files": "files", "file": f"files/{self.files['Lake.png']}", "files-none": "files?search=nowhere",
            "keys": "keys", "keys-revoked": "keys?revoked=1", "file-routes": "file-routes",
            "file-route-new": "file-routes/new", "file-route": f"file-routes/{self.route_ids['photos']}", "webhooks": "webhooks",
            "secrets": "webhooks/secrets", "logs": "logs", "usage": "usage", "project": "settings", "failure": "files/nothing",
        }  # fmt: skip
        of_project |= {f"file-{re.sub(r'[^a-z]+', '-', name[:20].lower())}": f"files/{self.files[name]}" for name in rendered}
        of_project |= {f"delivery-{status}": f"webhooks/deliveries/{deliveries[status]}" for status in ("dead", "delivering")}
        pages = {name: f"{here}/{path}" for name, path in of_project.items()}
        pages["test-files"] = f"{here[:-4]}test/files"
        pages |= {f"empty-{name}": f"/dashboard/p/fresh/live/{name}" for name in ("overview", "files", "webhooks", "logs")}
        return pages | {
            f"all-{name}" if name in pages else name: f"/dashboard/{name}"
            for name in ("projects", "usage", "audit", "storage", "backups", "settings")
        }
