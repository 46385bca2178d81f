"""What people choose: folders, empty files, files under a false name or without a type, the same film from a phone a second time."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Traffic, endpoint, served
from tests.browser.scaled import module
from tests.browser.waiting import wait_beside
from tests.support.appliance import Appliance
from tests.support.browsers import Watched
from tests.support.drops import drop
from uploadkit.core.first_bytes import as_it_is, contradiction, recognised
from uploadkit.core.sizes import MIB

JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + bytes(200)
PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR" + bytes(200)
HEIC = b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + bytes(200)
PDF = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n" + bytes(200)
MP4 = b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00isommp42" + bytes(200)
HEADS = {
    "jpeg": JPEG,
    "png": PNG,
    "heic": HEIC,
    "pdf": PDF,
    "mp4": MP4,
    "gif": b"GIF89a" + bytes(200),
    "webp": b"RIFF\x00\x01\x00\x00WEBPVP8 " + bytes(200),
    "avif": b"\x00\x00\x00\x18ftypavif\x00\x00\x00\x00mif1miaf" + bytes(200),
    "mif1": b"\x00\x00\x00\x18ftypmif1\x00\x00\x00\x00mif1avif" + bytes(200),
    "m4a": b"\x00\x00\x00\x18ftypM4A \x00\x00\x00\x00M4A isom" + bytes(200),
    "3gp": b"\x00\x00\x00\x18ftyp3gp4\x00\x00\x00\x003gp4isom" + bytes(200),
    "mov": b"\x00\x00\x00\x18ftypqt  \x00\x00\x00\x00qt  " + bytes(200),
    "odd ftyp": b"\x00\x00\x00\x18ftypcrx \x00\x00\x00\x00crx " + bytes(200),
    "webm": b"\x1aE\xdf\xa3\x9fB\x86\x81\x01webm" + bytes(200),
    "avi": b"RIFF\x00\x01\x00\x00AVI LIST" + bytes(200),
    "wav": b"RIFF\x00\x01\x00\x00WAVEfmt " + bytes(200),
    "mp3": b"ID3\x03\x00" + bytes(200),
    "flac": b"fLaC" + bytes(200),
    "ogg": b"OggS\x00\x02" + bytes(22) + b"OpusHead" + bytes(200),
    "zip": b"PK\x03\x04\x14\x00" + bytes(200),
    "rar": b"Rar!\x1a\x07\x00" + bytes(200),
    "7z": b"7z\xbc\xaf\x27\x1c" + bytes(200),
    "gzip": b"\x1f\x8b\x08\x00" + bytes(200),
    "tar of pictures": JPEG[:100].ljust(257, b"\x00") + b"ustar\x0000" + bytes(200),
    "elf": b"\x7fELF\x02" + bytes(200),
    "exe": b"MZ\x90\x00\x03" + bytes(200),
    "html": b"<!DOCTYPE html><html><body>502 Bad Gateway</body></html>",
    "svg": b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"></svg>',
    "text": b"Dear all, this is plain text.\n",
    "text before a PDF": b"A mail gateway says so\r\n" + PDF,
    "noise": bytes(range(128, 200)) * 3,
}
TYPES = [
    "image/jpeg",
    "image/jpg",
    "image/pjpeg",
    "image/png",
    "image/apng",
    "image/gif",
    "image/webp",
    "image/heic",
    "image/heif",
    "image/avif",
    "image/svg+xml",
    "image/tiff",
    "image/x-icon",
    "image/x-adobe-dng",
    "video/mp4",
    "video/quicktime",
    "video/webm",
    "video/x-matroska",
    "video/matroska",
    "video/ogg",
    "video/mpeg",
    "video/mp2t",
    "video/x-msvideo",
    "video/3gpp",
    "audio/mpeg",
    "audio/mp3",
    "audio/mp4",
    "audio/x-m4a",
    "audio/wav",
    "audio/x-wav",
    "audio/ogg",
    "audio/webm",
    "audio/flac",
    "audio/aac",
    "application/pdf",
    "application/zip",
    "application/x-zip-compressed",
    "application/x-zip",
    "application/gzip",
    "application/msword",
    "text/plain",
    "text/html",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "application/octet-stream",
    "application/json",
]
PAGE = """<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><p id="zone" style="height: 200px">Drop here</p>
<script type="module">
import { createUploader } from "./uploadkit.js";
const outcome = (upload) => upload.then(
  ({ name, type, status }) => ({ name, type, status }),
  ({ code, message, suggestion, status }) => ({ code, message, suggestion, status }));
const bytesOf = (base64) => Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
window.upload = (endpoint, content, name, type, route, lastModified) => {
  const bytes = typeof content === "string" ? bytesOf(content) : new Uint8Array(content).fill(lastModified);
  const file = new File([bytes], name, { type, lastModified });
  window.end = outcome(createUploader({ endpoint, retrySeconds: 2 }).upload(file, { route }));
};
const zone = document.querySelector("#zone");
zone.addEventListener("dragover", (event) => event.preventDefault());
zone.addEventListener("drop", (event) => {
  event.preventDefault();
  const uploader = createUploader({ endpoint: window.where });
  window.ends = Promise.all(Array.from(event.dataTransfer.files, (file) => outcome(uploader.upload(file))));
});
window.ready = true;
</script>"""


class Chooser:
    """A page, and files that are made for it."""

    def __init__(self, page: Page, address: str) -> None:
        self.page, self.address = page, address
        self.open()

    def open(self) -> None:
        self.page.goto(self.address)
        self.page.wait_for_function("window.ready")

    def begin(self, where: str, content: bytes | int, name: str, content_type: str, route: str = "default", last_modified: int = 1) -> None:
        sent = base64.b64encode(content).decode() if isinstance(content, bytes) else content
        self.page.evaluate("(arguments) => { upload(...arguments); }", [where, sent, name, content_type, route, last_modified])

    def end(self) -> dict[str, Any]:
        return dict(self.page.evaluate("end"))


@pytest.fixture
def chooser(page: Page, watched: Watched, tmp_path: Path) -> Iterator[Chooser]:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "index.html").write_text(PAGE)
    (tmp_path / "site" / "uploadkit.js").write_text(module() + "\nwindow.typeToDeclare = typeToDeclare;\n")
    with served(tmp_path / "site") as address:
        yield Chooser(page, address)


@pytest.fixture(scope="module")
def of_route(appliance: Appliance) -> dict[str, str]:
    """The endpoints of file routes for pictures: one that looks at first bytes, one that does not."""
    project = appliance.project_id
    found = {}
    for slug, verifies in (("photos", True), ("raw", False)):
        rules = {"slug": slug, "allowedTypes": ["image/*"], "verifyContent": verifies, "maxFileCount": 100}
        assert appliance.call("POST", f"/projects/{project}/file-routes", rules).status == 201
        found[slug] = endpoint(appliance, routeSlug=slug, maxFiles=100)
    return found


def test_a_folder_is_told_before_anybody_is_asked(chooser: Chooser, appliance: Appliance, watched: Watched, tmp_path: Path) -> None:
    for name in ("album", "empty"):
        (tmp_path / name).mkdir()
    (tmp_path / "album" / "a.txt").write_text("In a folder")
    (tmp_path / "note.txt").write_text("Beside it")
    where = endpoint(appliance)
    chooser.page.evaluate("(where) => { window.where = where; }", where)
    drop(chooser.page, "#zone", tmp_path / "album", tmp_path / "empty")
    chooser.page.wait_for_function("window.ends")
    ends = chooser.page.evaluate("ends")
    assert {end.get("code") for end in ends} <= {"FILE_UNREADABLE", "FILE_EMPTY"}
    assert all(end["message"] and end["suggestion"] for end in ends)
    assert not [asked for asked in watched.requests if "ukt_" in asked]
    drop(chooser.page, "#zone", tmp_path / "album", tmp_path / "note.txt")
    chooser.page.wait_for_function("window.ends")
    assert [end["status"] for end in chooser.page.evaluate("ends")] == [0, "UPLOADED"]


def test_an_empty_file(chooser: Chooser, appliance: Appliance, watched: Watched) -> None:
    chooser.begin(endpoint(appliance), b"", "empty.txt", "text/plain")
    assert "empty" in chooser.end()["message"]
    assert not [asked for asked in watched.requests if "ukt_" in asked]


@pytest.mark.parametrize(
    ("content", "name", "declared", "recorded"),
    [
        (HEIC, "IMG_0042.HEIC", "", "image/heic"),
        (JPEG, "blob", "", "image/jpeg"),
        (JPEG, "photo.png", "image/png", "image/jpeg"),
        (PNG, "photo.png", "image/png", "image/png"),
    ],
)
def test_a_picture_is_declared_as_what_it_is(
    chooser: Chooser, of_route: dict[str, str], content: bytes, name: str, declared: str, recorded: str
) -> None:
    with chooser.page.expect_request(lambda asked: asked.method == "POST" and "request-upload" in (asked.post_data or "")) as begun:
        chooser.begin(of_route["photos"], content, name, declared, "photos")
    assert begun.value.post_data_json["contentType"] == recorded
    assert chooser.end() == {"name": name, "type": recorded, "status": "UPLOADED"}


def test_what_it_plainly_is_not_is_not_sent(chooser: Chooser, of_route: dict[str, str], traffic: Traffic, watched: Watched) -> None:
    chooser.begin(of_route["photos"], PDF, "photo.png", "image/png", "photos")
    error = chooser.end()
    assert (error["code"], error["message"]) == ("UPLOAD_NOT_VERIFIED", "This looks like a PDF, not a picture")
    assert "verifyContent" in error["suggestion"]
    assert traffic.puts == []
    assert not [asked for asked in watched.requests if asked.startswith("POST")]
    chooser.begin(of_route["raw"], PDF, "photo.png", "image/png", "raw")
    assert chooser.end() == {"name": "photo.png", "type": "image/png", "status": "UPLOADED"}, "where the file route takes it"


def test_the_module_never_refuses_what_the_appliance_takes(chooser: Chooser) -> None:
    """Each kind of first bytes under each type: what the module finds out is what the appliance would, or nothing."""
    heads = {name: list(head) for name, head in HEADS.items()}
    judge = """async ([heads, types]) => {
      const found = [];
      for (const [name, head] of Object.entries(heads)) {
        for (const type of types) {
          const declared = typeToDeclare(new File([], "x", { type }), new Uint8Array(head), async () => ({ verifyContent: true }));
          found.push([name, type, await declared.catch((error) => error.message)]);
        }
      }
      return found;
    }"""
    refused, renamed = 0, 0
    for name, declared, found in chooser.page.evaluate(judge, [heads, ["", *TYPES]]):
        head, case = HEADS[name], (name, declared, found)
        if found.startswith("This looks like"):
            refused += 1
            assert contradiction(declared, head), case
            assert as_it_is(declared, head) is None, case
        elif found != declared:
            renamed += 1
            assert found == (as_it_is(declared, head) if declared else recognised(head)), case
    assert refused > 200
    assert renamed > 15


def test_the_second_try_of_a_phone_takes_the_place_of_the_first(chooser: Chooser, appliance: Appliance, traffic: Traffic) -> None:
    """The tab is reloaded in the middle, and the film has another time when it is chosen again."""
    where = endpoint(appliance, maxFiles=1)
    traffic.hold_after(1)
    chooser.begin(where, 30 * MIB, "film.mp4", "video/mp4", last_modified=1)
    wait_beside(chooser.page, lambda: traffic.is_holding)
    first = chooser.page.evaluate("JSON.parse(Object.values(localStorage)[0])")
    chooser.open()
    traffic.release()
    traffic.puts.clear()
    chooser.begin(where, 30 * MIB, "film.mp4", "video/mp4", last_modified=2)
    assert chooser.end()["status"] == "UPLOADED"
    assert appliance.call("GET", f"/files/by-id/{first['fileId']}").json["status"] == "FAILED"
    assert chooser.page.evaluate("Object.keys(localStorage)") == []


def test_a_film_of_the_same_name_in_another_tab_is_left_alone(chooser: Chooser, appliance: Appliance, traffic: Traffic) -> None:
    traffic.hold_after(1)
    chooser.begin(endpoint(appliance), 30 * MIB, "film.mp4", "video/mp4", last_modified=1)
    wait_beside(chooser.page, lambda: traffic.is_holding)
    other = Chooser(chooser.page.context.new_page(), chooser.address)
    other.begin(endpoint(appliance), 30 * MIB, "film.mp4", "video/mp4", last_modified=2)
    other.page.wait_for_timeout(1500)  # it waits a second for the other's name
    traffic.release()
    assert (other.end()["status"], chooser.end()["status"]) == ("UPLOADED", "UPLOADED")


def test_the_browser_keeps_a_public_page_from_the_local_network(chooser: Chooser, appliance: Appliance) -> None:
    (page := chooser.page).route(
        f"{chooser.address}/",
        lambda route: route.fulfill(content_type="text/html", body=PAGE, headers={"Content-Security-Policy": "treat-as-public-address"}),
    )
    chooser.open()
    chooser.begin(endpoint(appliance), b"A note", "note.txt", "text/plain")
    error = chooser.end()
    assert (error["code"], "Local Network Access" in error["suggestion"]) == ("NETWORK_ERROR", True), error
    expect(page.locator("#zone")).to_be_visible()
