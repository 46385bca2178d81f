"""Whatever stands in names, metadata and answers is shown harmlessly, on every page: a walk through all links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.dashboard.visitors import Visitor, new_admin, read
from tests.support.appliance import JPEG, Appliance, running, wait_until
from tests.support.receivers import Handler, Received, receiving

EVIL = """</title></script>"'><evil-tag onclick=alert(1) style=x>{{7*'7'}}"""
CONTROLS = "\x1b[31m\x07\x9b\u202egnp.exe"
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def shouting(handler: Handler, received: Received) -> None:
    handler.reply(500, (EVIL + CONTROLS).encode())


class Texts(HTMLParser):
    """The text of a page, without its attributes."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.text = ""
        self.feed(page.decode())

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def infested(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    """An appliance in which everything that has a name has a bad one."""
    settings = {"WEBHOOKS__ALLOWED_PRIVATE_CIDRS": '["127.0.0.0/8"]', "WEBHOOKS__RETRY_SCHEDULE_SECONDS": "[1]"}
    with receiving(shouting) as receiver, running(tmp_path_factory.mktemp("infested"), **settings) as appliance:
        assert appliance.run("projects", "create", EVIL[:60] + CONTROLS).returncode == 0
        appliance.run("keys", "create", "--name", (EVIL + CONTROLS)[:100])
        gone = appliance.new_key()
        project = appliance.project_id
        (route,) = appliance.call("GET", f"/projects/{project}/file-routes").json["items"]
        events = ["onUploadComplete", "file.failed", "file.deleted"]
        url = f"{receiver.url}?{'x' * 10}"
        assert appliance.call("PATCH", f"/file-routes/{route['id']}", {"webhookUrl": url, "webhookEvents": events}).status == 200
        metadata = {EVIL: EVIL + CONTROLS, "deep": [CONTROLS, {EVIL: 1}]}
        for name in (f"{EVIL}.jpg", "\u202egnp.exe.jpg", "javascript:alert(1).jpg"):
            appliance.upload(JPEG * 50, name=name, metadata=metadata)
        appliance.upload(JPEG * 50, name=EVIL, key=appliance.new_key("--test"))
        appliance.request(14, name=EVIL)
        slot = appliance.request(14, name=EVIL).json
        appliance.put(slot, b"<html><evil-tag>"[:14])
        assert appliance.complete(slot).status == 422
        keys = appliance.call("GET", f"/projects/{project}/keys").json["items"]
        appliance.call("DELETE", f"/keys/{next(key['id'] for key in keys if gone.endswith(key['maskedKey'][-6:]))}")
        wait_until(lambda: appliance.call("GET", "/webhooks/deliveries?status=dead").json["items"], what="a dead delivery")
        yield appliance


def judge(path: str, body: bytes) -> None:
    for tag, attributes in read_elements(body):
        assert tag != "evil-tag", path
        assert not [name for name in attributes if name.startswith("on") or name == "style"], (path, tag, attributes)
        assert tag != "script" or attributes.get("src"), f"{path}: a script of its own would need unsafe-inline"
        assert not str(attributes.get("href", "")).lower().startswith(("javascript:", "data:text")), path
    text = Texts(body).text
    assert not _FORBIDDEN.search(text), (path, _FORBIDDEN.findall(text)[:5])
    assert "7777777" not in text


def read_elements(body: bytes) -> list[tuple[str, dict[str, str | None]]]:
    class Page:
        pass

    page = Page()
    page.body = body  # type: ignore[attr-defined]
    return read(page).elements  # type: ignore[arg-type]


def test_every_page_shows_markup_as_text(infested: Appliance) -> None:
    visitor = new_admin(infested)
    seen: set[str] = set()
    found: set[str] = set()
    todo = ["/dashboard/", "/dashboard/projects", "/dashboard/p/default/test/files", "/dashboard/p/default/live/files?status=DELETED"]
    todo += ["/dashboard/p/default/live/keys?revoked=1", f"/dashboard/p/default/live/files?search={'%22%3E%3Cevil-tag%3E'}"]
    todo += [f"/dashboard/p/default/live/logs?route={'%22%3E%3Cevil-tag%3E'}&key={'%22%3E%3Cevil-tag%3E'}", "/dashboard/usage"]
    while todo:
        path = todo.pop()
        if path in seen or len(seen) > 250:
            continue
        seen.add(path)
        page = visitor.get(path)
        assert page.status == 200, (path, page.status)
        if page.headers["Content-Type"].startswith("text/html"):
            judge(path, page.body)
            links = (urlsplit(link) for link in read(page).links)
            todo += [link._replace(fragment="").geturl() for link in links if not link.netloc and link.path.startswith("/dashboard")]
        found.add(re.sub(r"[0-9a-f-]{36}", "ID", urlsplit(path).path).rpartition("/")[2])
    wanted = "overview files keys file-routes webhooks logs usage settings audit storage backups projects secrets new ID"
    assert set(wanted.split()) <= found


def test_forms_that_are_refused_show_what_was_typed_harmlessly(infested: Appliance) -> None:
    visitor = Visitor(infested)
    visitor.sign_in()
    here = "/dashboard/p/default/live"
    file_id = infested.call("GET", "/files").json["items"][0]["id"]
    bad = EVIL + CONTROLS
    for path, fields in {
        f"{here}/keys": {"name": bad * 9, "environment": bad, "access": bad},
        "/dashboard/projects": {"name": bad, "tier": bad},
        f"{here}/settings": {"name": bad, "tier": bad, "retention_days": bad, "limits.max_storage": bad},
        f"{here}/file-routes/new": {"slug": bad, "max_file_size": bad, "allowed_types": bad, "webhook_url": bad, "allowed_origins": bad},
        f"{here}/files/{file_id}/metadata": {"metadata": bad},
        f"{here}/delete": {"typed": bad},
        f"{here}/webhooks/test": {"route": bad},
    }.items():
        page = visitor.post(path, **fields)
        assert 400 <= page.status < 500, (path, page.status)
        judge(path, re.sub(rb"<textarea.*?</textarea>", b"", page.body, flags=re.S))


def test_the_folder_of_pages_has_nothing_inline() -> None:
    templates = Path(__file__).resolve().parents[2] / "templates/dashboard"
    for path in templates.glob("*.html"):
        text = path.read_text()
        assert not re.search(r"\sstyle=|\son\w+=|<style|<script(?! src)(?! type=\"module\" src)", text), path
        assert not re.search(r"""(src|href)=["']https?:""", text), path
        assert "|safe" not in text, path
