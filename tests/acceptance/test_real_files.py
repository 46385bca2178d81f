"""Files as people have them: types as browsers and systems declare them, under names that fit or don't, through every surface.

Nothing that a person would call a picture, a film or a document is refused, and what is recorded and served is what the file is.
"""

from __future__ import annotations

import io
import itertools
import json
import os
import struct
import subprocess
import sys
import uuid
import zipfile
import zlib
from typing import Any

import pytest

from tests.support.appliance import Answer, Appliance
from uploadkit.core.sizes import MIB

pytestmark = pytest.mark.long

PAGE = "https://field.example.com"
SURFACES = ["documented", "sdk", "token", "anonymous"]


def png() -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    pixels = zlib.compress(b"\0\xff\0\0")
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


def packed(*names: str) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name in names:
            archive.writestr(name, "<x/>")
    return made.getvalue()


def iso(brand: bytes, *others: bytes) -> bytes:
    return struct.pack(">I", 16 + 4 * len(others)) + b"ftyp" + brand + b"\0\0\0\0" + b"".join(others) + b"\0\0\0\x08mdat" + b"\0" * 64


PNG, JPEG, GIF = png(), b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + b"\0" * 50, b"GIF89a\x01\x00\x01\x00\x80\x00\x00"
WEBP, WAV, AVI = (b"RIFF\x24\x00\x00\x00" + kind + b"\0" * 40 for kind in (b"WEBPVP8 ", b"WAVEfmt ", b"AVI LIST"))
HEIC, HEIF, AVIF = iso(b"heic", b"mif1", b"heic"), iso(b"mif1", b"mif1", b"heic"), iso(b"avif", b"mif1", b"avif")
MP4, MOV, M4A, CR3 = iso(b"isom", b"mp41"), iso(b"qt  "), iso(b"M4A ", b"isom"), iso(b"crx ", b"isom")
WEBM = b"\x1aE\xdf\xa3\x9fB\x86\x81\x01B\xf7\x81\x01B\xf2\x81\x04B\xf3\x81\x08B\x82\x84webmB\x87\x81\x04"
MKV = WEBM.replace(b"B\x82\x84webm", b"B\x82\x88matroska")
OPUS = b"OggS\x00\x02" + b"\0" * 20 + b"\x01\x13" + b"OpusHead\x01\x02" + b"\0" * 30
MP3, FLAC = b"ID3\x04\x00\x00\x00\x00\x00\x00" + b"\0" * 40, b"fLaC\x00\x00\x00\x22" + b"\0" * 40
TIFF, BMP, ICO = (
    b"II*\x00\x08\x00\x00\x00" + b"\0" * 40,
    b"BM\x36\x00\x00\x00\x00\x00\x00\x00\x36\x00\x00\x00",
    b"\x00\x00\x01\x00\x01\x00" + b"\0" * 20,
)
PDF, ZIP, DOCX = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", packed("a.txt"), packed("[Content_Types].xml", "word/document.xml")
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 60
GZIP, RAR, SEVEN = (
    b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03",
    b"Rar!\x1a\x07\x01\x00" + b"\0" * 20,
    b"7z\xbc\xaf\x27\x1c\x00\x04" + b"\0" * 20,
)
ZSTD, TAR = b"\x28\xb5\x2f\xfd\x24\x00", b"a.txt".ljust(257, b"\0") + b"ustar\x0000" + b"\0" * 240
CSV, TEXT = "Name;Größe\nAnna;1,70\n".encode(), "Prüfbericht “Größe” und mehr\n".encode()
LATIN, ASCII = "Prüfbericht Größe und mehr\n".encode("latin-1"), b"plain old words\n"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>'
SCRIPT = b"export const answer: number = 42;\n"
UTF8 = ";charset=utf-8"

# Name, declared type, bytes, what is recorded and served.
FILES = [
    ("photo.jpg", "image/jpeg", JPEG, "image/jpeg"),
    ("photo.jpg", "image/jpg", JPEG, "image/jpeg"),
    ("photo.JPG", "image/pjpeg", JPEG, "image/jpeg"),
    ("photo.jfif", "", JPEG, "image/jpeg"),
    ("IMG_0042.HEIC", "", HEIC, "image/heic"),
    ("IMG_0042.HEIC", "image/heic", HEIC, "image/heic"),
    ("IMG_0043.HEIC", "image/heif", HEIC, "image/heic"),
    ("IMG_0044.HEIC", "image/heic", JPEG, "image/jpeg"),
    ("burst.heif", "application/octet-stream", HEIF, "image/heic"),
    ("saved.jpg", "image/jpeg", HEIC, "image/heic"),
    ("saved.jpg", "image/jpeg", WEBP, "image/webp"),
    ("saved.jpg", "image/jpeg", AVIF, "image/avif"),
    ("saved.png", "image/png", JPEG, "image/jpeg"),
    ("saved.png", "image/png", WEBP, "image/webp"),
    ("saved.gif", "image/gif", PNG, "image/png"),
    ("saved.svg", "image/svg+xml", PNG, "image/png"),
    ("screen.png", "image/x-png", PNG, "image/png"),
    ("logo.svg", "image/svg+xml", SVG, "image/svg+xml"),
    ("favicon.ico", "image/vnd.microsoft.icon", ICO, "image/x-icon"),
    ("favicon.ico", "image/x-icon", PNG, "image/png"),
    ("paint.bmp", "image/x-ms-bmp", BMP, "image/bmp"),
    ("fax.tif", "image/tiff", TIFF, "image/tiff"),
    ("raw.dng", "image/x-adobe-dng", TIFF, "image/x-adobe-dng"),
    ("raw.CR2", "application/octet-stream", TIFF, "image/x-canon-cr2"),
    ("raw.nef", "", TIFF, "image/x-nikon-nef"),
    ("raw.cr3", "", CR3, "image/x-canon-cr3"),
    ("anim.webp", "", WEBP, "image/webp"),
    ("still.avif", "application/octet-stream", AVIF, "image/avif"),
    ("blob", "", JPEG, "image/jpeg"),
    ("recording.webm", "video/webm;codecs=vp9,opus", WEBM, 'video/webm;codecs="vp9,opus"'),
    ("recording.webm", "video/webm;codecs=vp8,opus", WEBM, 'video/webm;codecs="vp8,opus"'),
    ("recording.mkv", "video/x-matroska;codecs=avc1,opus", MKV, 'video/x-matroska;codecs="avc1,opus"'),
    ("recording.mp4", "video/mp4;codecs=avc1.42E01E,mp4a.40.2", MP4, 'video/mp4;codecs="avc1.42E01E,mp4a.40.2"'),
    ("voice.webm", "audio/webm;codecs=opus", WEBM, "audio/webm;codecs=opus"),
    ("film.mp4", "video/mp4", MP4, "video/mp4"),
    ("film.m4v", "video/x-m4v", MP4, "video/mp4"),
    ("film.mp4", "video/mp4", MOV, "video/mp4"),
    ("film.mp4", "video/mp4", WEBM, "video/webm"),
    ("IMG_0001.MOV", "video/quicktime", MOV, "video/quicktime"),
    ("film.mkv", "", MKV, "video/x-matroska"),
    ("film.mkv", "video/matroska", MKV, "video/x-matroska"),
    ("film.avi", "video/avi", AVI, "video/x-msvideo"),
    ("phone.3gp", "video/3gpp", iso(b"3gp4"), "video/3gpp"),
    ("song.mp3", "audio/mp3", MP3, "audio/mpeg"),
    ("song.mp3", "audio/mpeg", M4A, "audio/mp4"),
    ("song.mp3", "audio/mpeg", OPUS, "audio/ogg"),
    ("song.mp3", "audio/mpeg", WAV, "audio/wav"),
    ("memo.m4a", "audio/x-m4a", M4A, "audio/mp4"),
    ("memo.m4a", "audio/mp4", MP3, "audio/mpeg"),
    ("memo.aac", "audio/aac", M4A, "audio/mp4"),
    ("voice.opus", "", OPUS, "audio/ogg"),
    ("sound.wav", "audio/x-wav", WAV, "audio/wav"),
    ("sound.wav", "audio/vnd.wave", WAV, "audio/wav"),
    ("sound.flac", "audio/x-flac", FLAC, "audio/flac"),
    ("paper.pdf", "application/x-pdf", PDF, "application/pdf"),
    ("paper.pdf", "", PDF, "application/pdf"),
    ("scan", "application/octet-stream", PDF, "application/pdf"),
    ("archive.zip", "application/x-zip-compressed", ZIP, "application/zip"),
    ("archive.zip", "application/zip", RAR, "application/vnd.rar"),
    ("archive.zip", "application/zip", SEVEN, "application/x-7z-compressed"),
    ("archive.rar", "application/x-rar-compressed", RAR, "application/vnd.rar"),
    ("backup.tar.gz", "application/x-gzip", GZIP, "application/gzip"),
    ("backup.tar", "application/x-tar", TAR, "application/x-tar"),
    ("dump.zst", "", ZSTD, "application/zstd"),
    ("disk.dmg", "application/octet-stream", b"\x78\x01\x73\x0d" + b"\0" * 20, "application/x-apple-diskimage"),
    ("app.apk", "application/octet-stream", ZIP, "application/vnd.android.package-archive"),
    ("letter.docx", "", DOCX, "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    ("letter.doc", "application/msword", OLE, "application/msword"),
    ("letter.odt", "", packed("mimetype"), "application/vnd.oasis.opendocument.text"),
    ("book.epub", "", packed("mimetype"), "application/epub+zip"),
    ("numbers.csv", "application/vnd.ms-excel", CSV, "text/csv" + UTF8),
    ("numbers.csv", "text/comma-separated-values", CSV, "text/csv" + UTF8),
    ("numbers.xls", "application/vnd.ms-excel", OLE, "application/vnd.ms-excel"),
    ("report.txt", "text/plain", TEXT, "text/plain" + UTF8),
    ("report.txt", "text/plain", LATIN, "text/plain"),
    ("report.txt", "text/plain;charset=iso-8859-1", LATIN, "text/plain;charset=iso-8859-1"),
    ("report.txt", "text/plain;", ASCII, "text/plain" + UTF8),
    ("README.md", "", TEXT, "text/markdown" + UTF8),
    ("server.log", "", ASCII, "text/plain" + UTF8),
    ("app.ts", "video/mp2t", SCRIPT, "text/plain" + UTF8),
    ("app.ts", "", SCRIPT, "text/plain" + UTF8),
    ("page.html", "text/html; charset=utf-8;", b"<html><p>x</p></html>", "text/html" + UTF8),
    ("code.js", "application/x-javascript", SCRIPT, "text/javascript" + UTF8),
    ("data.xml", "text/xml", b"<?xml version='1.0'?><a/>", "application/xml"),
    ("data.json", "application/json;", b'{"a": 1}', "application/json"),
    ("data.yaml", "", b"a: 1 b\n", "application/yaml"),
    ("table.parquet", "", b"PAR1\x15\x04" + b"\0" * 20, "application/vnd.apache.parquet"),
    ("font.woff2", "", b"wOF2\x00\x01\x00\x00" + b"\0" * 20, "font/woff2"),
    ("dump.xyz", "", b"\x00\x01\x02\x03" * 10, "application/octet-stream"),
    ("dump", "binary/octet-stream", b"\x00\x01\x02\x03" * 10, "application/octet-stream"),
]


class Way:
    """One of the surfaces by which files come in."""

    def __init__(self, appliance: Appliance, address: str, headers: dict[str, str], paths: dict[str, str], field: str) -> None:
        self.appliance, self.address, self.headers, self.paths, self.size = appliance, address, headers, paths, field
        self.slug = "default"

    def call(self, what: str, body: dict[str, Any]) -> Any:
        path = self.paths[what]
        url = f"{self.address}{path}" if path.startswith("/") else self.address
        sent = body if path.startswith("/") else {"action": path, **body}
        answer = self.appliance.fetch("POST", url, json.dumps(sent).encode(), {"Content-Type": "application/json", **self.headers})
        assert answer.status == 200, (answer.body, body)
        return answer.json

    def upload(self, name: str, declared: str, content: bytes) -> Answer:
        """The whole way of one file; returns what its URL answers at the store, with `recorded` put to its headers."""
        asked = {"fileName": name, self.size: len(content), "contentType": declared} | (
            {"routeSlug": self.slug} if self.size == "fileSize" else {}
        )
        if len(content) <= 10 * MIB:
            slot = self.call("request", asked)
            assert self.appliance.fetch("PUT", slot["uploadUrl"], content, {"Content-Type": declared}).status == 200, (name, declared)
            done = self.call("complete", {"fileId": slot["fileId"]} | ({"key": slot["key"]} if self.size == "contentLength" else {}))
        else:
            slot = self.call("init", asked)
            size = slot.get("partSize", 5 * MIB)
            for part in slot["parts"]:
                start = (part["partNumber"] - 1) * size
                assert self.appliance.fetch("PUT", part["uploadUrl"], content[start : start + size]).status == 200
            done = self.call("join", {"fileId": slot["fileId"], "uploadId": slot["uploadId"]})
        file = done.get("file", done)
        read = self.appliance.read(file["url"])
        return Answer(read.status, {**read.headers, "recorded": file.get("type") or file["contentType"], "key": file["key"]}, read.body)

    def forget(self, key: str) -> None:
        assert self.appliance.call("DELETE", f"/files/{key}").status == 200


@pytest.fixture(scope="module")
def ways(appliance: Appliance) -> dict[str, Way]:
    paths = {
        "request": "/upload/request",
        "complete": "/upload/complete",
        "init": "/upload/multipart/init",
        "join": "/upload/multipart/complete",
    }
    actions = {"request": "request-upload", "complete": "upload-complete", "init": "multipart-init", "join": "multipart-complete"}
    slug = f"field-{uuid.uuid4().hex[:8]}"
    rules = {"slug": slug, "anonymousUploads": True, "allowedOrigins": [PAGE]}
    assert appliance.call("POST", f"/projects/{appliance.project_id}/file-routes", rules).status == 201
    token = appliance.call("POST", "/upload-tokens", {"routeSlug": "default", "maxFiles": 1000}).json["endpoint"]
    made = {
        "documented": Way(appliance, f"{appliance.base}/api/v1", {"x-api-key": appliance.key}, paths, "fileSize"),
        "sdk": Way(appliance, f"{appliance.base}/sdk/api/v1", {"Authorization": f"Bearer {appliance.key}"}, paths, "fileSize"),
        "token": Way(appliance, f"{token}/default", {"Origin": PAGE}, actions, "contentLength"),
        "anonymous": Way(appliance, f"{appliance.base}/api/uploadkit/{slug}", {"Origin": PAGE}, actions, "contentLength"),
    }
    made["documented"].slug = made["sdk"].slug = slug
    return made


@pytest.mark.parametrize("surface", SURFACES)
def test_what_people_have_is_taken_and_called_what_it_is(ways: dict[str, Way], surface: str) -> None:
    wrong = []
    for name, declared, content, recorded in FILES:
        if surface != "documented" or declared:  # there, a type is a must
            read = ways[surface].upload(name, declared, content)
            if (read.headers["recorded"], read.headers["Content-Type"], read.body) != (recorded, recorded, content):
                wrong.append((name, declared, recorded, read.headers["recorded"], read.headers["Content-Type"]))
    assert wrong == []


def enlarged(content: bytes) -> bytes:
    """Return `content` with so much behind it that it goes in parts, and is still what it is."""
    is_text = not any(byte < 32 and byte not in b"\t\n\r" for byte in content)
    return content + (b"\n" if is_text else b"\0") * (10 * MIB + 1)


def in_parts() -> list[tuple[str, tuple[str, str, bytes, str]]]:
    """Each file with a surface: one after the other, or with EVERY_DOOR=1 in the environment all, which are 4 GB."""
    pairs = [(surface, file) for file in FILES for surface in SURFACES if surface != "documented" or file[1]]
    if os.environ.get("EVERY_DOOR") == "1":
        return pairs
    wanted = itertools.cycle(SURFACES)
    return [next((surface, file) for surface in wanted if (surface, file) in pairs) for file in FILES]


@pytest.mark.timeout(1800)
def test_in_parts_as_well(ways: dict[str, Way]) -> None:
    """What a type makes of the store's own idea of it differs there: the type is said when the upload begins."""
    wrong = []
    for surface, (name, declared, content, recorded) in in_parts():
        large = enlarged(content)
        read = ways[surface].upload(name, declared, large)
        if (read.headers["recorded"], read.headers["Content-Type"], read.body == large) != (recorded, recorded, True):
            wrong.append((surface, name, declared, recorded, read.headers["recorded"], read.headers["Content-Type"], len(read.body)))
        ways[surface].forget(read.headers["key"])
    assert wrong == []


def test_there_are_enough_of_them() -> None:
    """Types and endings that differ, not the same under other bytes."""
    assert len({(name.rpartition(".")[2].lower(), declared) for name, declared, _, _ in FILES}) >= 60
    assert {surface for surface, _ in in_parts()} == set(SURFACES)


def narrow(appliance: Appliance, *types: str, **more: Any) -> str:
    project = appliance.project_id
    slug = f"narrow-{uuid.uuid4().hex[:8]}"
    made = appliance.call("POST", f"/projects/{project}/file-routes", {"slug": slug, "allowedTypes": list(types), **more})
    assert made.status == 201, made.body
    return slug


SYNONYMS = {
    "image/jpeg": "image/jpg image/pjpeg", "application/zip": "application/x-zip-compressed application/x-zip",
    "text/csv": "text/comma-separated-values application/csv text/x-csv", "audio/wav": "audio/x-wav audio/wave audio/vnd.wave",
    "audio/mpeg": "audio/mp3 audio/x-mp3", "audio/mp4": "audio/x-m4a audio/m4a", "application/xml": "text/xml", "video/mp4": "video/x-m4v",
    "image/x-icon": "image/vnd.microsoft.icon", "application/gzip": "application/x-gzip", "image/bmp": "image/x-ms-bmp",
    "text/javascript": "application/javascript", "video/x-matroska": "video/matroska",
    "application/vnd.rar": "application/x-rar-compressed",
}  # fmt: skip


def test_other_names_are_the_same_type_both_ways_round(appliance: Appliance) -> None:
    pairs = [(one, other) for one, others in SYNONYMS.items() for other in others.split()]
    slug, reverse = narrow(appliance, *SYNONYMS), narrow(appliance, *(other for _, other in pairs))
    for one, other in pairs:
        assert appliance.request(5, "x", other, routeSlug=slug).status == 200, other
        assert appliance.request(5, "x", one, routeSlug=reverse).status == 200, one
    assert appliance.request(5, "numbers.csv", "application/vnd.ms-excel", routeSlug=slug).status == 200
    refused = appliance.request(5, "numbers.xls", "application/vnd.ms-excel", routeSlug=slug)
    assert (refused.status, refused.code) == (415, "FILE_TYPE_NOT_ALLOWED")


def test_a_list_is_asked_for_by_any_name(appliance: Appliance) -> None:
    slug = narrow(appliance, "*/*")
    file = appliance.upload(JPEG, "a.jpg", "image/pjpeg", routeSlug=slug)
    for asked in ("image/jpeg", "image/jpg", "IMAGE/PJPEG", "image/*"):
        (found,) = appliance.call("GET", f"/files?routeSlug={slug}&contentType={asked}").json["items"]
        assert found["id"] == file["id"]
    assert appliance.call("GET", f"/files?routeSlug={slug}&contentType=image/png").json["items"] == []


def test_a_file_route_for_pictures_holds_the_unknown_to_what_it_is(appliance: Appliance) -> None:
    slug = narrow(appliance, "image/*")

    def complete(name: str, content: bytes, declared: str = "application/octet-stream") -> Answer:
        slot = appliance.request(len(content), name, declared, routeSlug=slug)
        assert slot.status == 200, slot.body
        assert appliance.put(slot.json, content, declared).status == 200
        return appliance.complete(slot.json)

    assert complete("IMG_1.HEIC", HEIC).json["contentType"] == "image/heic"
    assert complete("blob", WEBP).json["contentType"] == "image/webp"
    for name, content, message in (
        ("IMG_1.HEIC", PDF, "This looks like a PDF"),
        ("blob", b"<html><script>1</script></html>", "This looks like a web page"),
        ("blob", b"\x00\x01\x02", "Files of unknown type can't be uploaded here"),
    ):
        refused = complete(name, content)
        assert (refused.status, refused.code) == (415, "FILE_TYPE_NOT_ALLOWED")
        assert refused.json["error"]["message"].startswith(message)
        assert "allowedTypes" in refused.json["error"]["suggestion"]
    assert appliance.request(5, "page.html", "application/octet-stream", routeSlug=slug).code == "FILE_TYPE_NOT_ALLOWED"
    strict = narrow(appliance, "image/png")
    slot = appliance.request(len(JPEG), "x.png", "image/png", routeSlug=strict).json
    appliance.put(slot, JPEG, "image/png")
    for _ in range(2):
        refused = appliance.complete(slot)
        assert (refused.status, refused.code) == (415, "FILE_TYPE_NOT_ALLOWED"), "within the family, but not taken here"
    assert appliance.call("GET", f"/files/by-id/{slot['fileId']}").json["status"] == "FAILED"
    assert appliance.call("GET", "/logs?limit=1").json["items"][0]["detail"].startswith("This looks like a picture (image/jpeg)")


def test_who_wants_unknown_files_only_gets_them(appliance: Appliance) -> None:
    slug = narrow(appliance, "application/octet-stream")
    assert appliance.upload(MP4, "film.mp4", "application/octet-stream", routeSlug=slug)["contentType"] == "application/octet-stream"


def test_no_file_of_this_machine_decides(tmp_path_factory: pytest.TempPathFactory) -> None:
    """In the product's own image there is no /etc/mime.types."""
    program = (
        "import mimetypes; mimetypes.knownfiles = []; mimetypes.init(files=[]); mimetypes.types_map.clear()\n"
        "from uploadkit.client.source import guess_content_type as g\n"
        "print(*(g('x.' + e) for e in 'webp flac m4a docx md 7z mkv zst jfif woff2 log yaml parquet'.split()))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=".")
    assert "octet-stream" not in done.stdout
    assert done.stdout.split()[:3] == ["image/webp", "audio/flac", "audio/mp4"]
