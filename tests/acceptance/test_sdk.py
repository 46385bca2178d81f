"""The cloud-SDK API as the official packages use it: exactly what they send, and every field that they read."""

from __future__ import annotations

import json
import re
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.conftest import App
from tests.support.appliance import Answer, Appliance, running, wait_until
from tests.support.clock import travelled_to
from tests.support.sdk_clients import FILE_FIELDS, PAGE, xhr_put
from uploadkit.core.sizes import MIB
from uploadkit.db.models import Project

SMALL = {"fileName": "a", "fileSize": 5, "contentType": "text/plain", "routeSlug": "default"}
RETRIED = ("/upload/request", "/upload/multipart/init", "/upload/complete", "/upload/multipart/complete")


class Refused(Exception):
    """What the package throws: status and error of an answer that is no 2xx."""

    def __init__(self, answer: Answer) -> None:
        error = answer.json["error"]
        super().__init__(answer.status, error)
        self.status, self.code, self.type, self.message = answer.status, error["code"], error["type"], error["message"]


class Package:
    """`@uploadkitdev/core` with a base URL: what it sends, when it tries again, and what it makes of answers."""

    def __init__(self, appliance: Appliance, key: str | None = None, base_url: str | None = None) -> None:
        self.appliance, self.key = appliance, key or appliance.key
        self.base_url = base_url or f"{appliance.base}/sdk"
        self.calls: list[tuple[str, int]] = []

    def fetch(self, method: str, path: str, body: Any = None) -> Any:
        headers = {"Authorization": f"Bearer {self.key}"} | ({} if body is None else {"Content-Type": "application/json"})
        raw = None if body is None else json.dumps(body).encode()
        for pause in (0.2, 0.4, 0.8, None):  # the real one takes about ten times as long
            answer = self.appliance.fetch(method, f"{self.base_url}/api/v1{path}", raw, headers)
            self.calls.append((path, answer.status))
            if path not in RETRIED or pause is None or not (answer.status == 429 or answer.status >= 500):
                break
            time.sleep(pause)
        if not 200 <= answer.status < 300:
            raise Refused(answer)
        assert answer.headers["Content-Type"] == "application/json"
        return answer.json  # a 204 would throw here

    def upload(self, content: bytes, name: str, content_type: str, **more: Any) -> Any:
        asked = {"fileName": name, "fileSize": len(content), "contentType": content_type, "routeSlug": "default", **more}
        slot = self.fetch("POST", "/upload/request", asked)
        assert slot.keys() == {"fileId", "uploadUrl", "key", "cdnUrl"}
        put = xhr_put(slot["uploadUrl"], content, content_type)
        assert put.status == 200, put.body
        assert put.headers["Access-Control-Allow-Origin"] in ("*", PAGE)
        file = self.fetch("POST", "/upload/complete", {"fileId": slot["fileId"]})["file"]
        assert (file["id"], file["key"], file["url"]) == (slot["fileId"], slot["key"], slot["cdnUrl"])
        return file

    def start_multipart(self, size: int, content_type: str = "video/mp4") -> Any:
        asked = {"fileName": "big.mp4", "fileSize": size, "contentType": content_type, "routeSlug": "default"}
        slot = self.fetch("POST", "/upload/multipart/init", asked)
        assert slot.keys() == {"fileId", "uploadId", "key", "parts"}
        return slot


@pytest.fixture
def package(appliance: Appliance) -> Package:
    return Package(appliance)


@pytest.mark.parametrize(
    ("name", "content_type", "recorded"),
    [
        ("photo.jpg", "image/jpeg", "image/jpeg"),
        ("clip.webm", "video/webm;codecs=vp8", "video/webm;codecs=vp8"),
        ("Ünï → 日本.txt", "text/plain", "text/plain"),
        ("dump.xyz", "", "application/octet-stream"),
    ],
)
def test_upload(package: Package, appliance: Appliance, name: str, content_type: str, recorded: str) -> None:
    content = b"\x00\x01\x02\x03" * 20  # the beginning of no type that is known
    file = package.upload(content, name, content_type, metadata={"album": "summer"})
    assert file.keys() == FILE_FIELDS
    assert file["_id"] == file["id"]
    assert (file["name"], file["size"], file["type"], file["status"]) == (name, len(content), recorded, "UPLOADED")
    assert file["metadata"] == {"album": "summer"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", file["createdAt"])
    read = appliance.read(file["url"])
    assert (read.body, read.headers["Content-Type"]) == (content, recorded)


def signed_headers(url: str) -> list[str]:
    return parse_qs(urlsplit(url).query)["X-Amz-SignedHeaders"][0].split(";")


@pytest.mark.parametrize("sent", [None, "", "application/octet-stream", "text/html"])
def test_a_type_that_nobody_knows(package: Package, appliance: Appliance, sent: str | None) -> None:
    """Chromium and Firefox send an empty header, a polyfill may send none, a proxy in between may put one in."""
    slot = package.fetch("POST", "/upload/request", {"fileName": "dump", "fileSize": 5, "contentType": "", "routeSlug": "default"})
    assert signed_headers(slot["uploadUrl"]) == ["content-length", "host"]
    assert xhr_put(slot["uploadUrl"], b"longer than 5", sent).status == 403, "the length is signed as ever"
    assert xhr_put(slot["uploadUrl"], b"<b>1>", sent).status == 200
    file = package.fetch("POST", "/upload/complete", {"fileId": slot["fileId"]})["file"]
    assert file["type"] == "application/octet-stream"
    read = appliance.read(file["url"])
    assert read.headers["Content-Type"] == "application/octet-stream"
    assert read.headers["Content-Disposition"].startswith("attachment"), "whatever it is, no browser executes it"


def test_a_declared_type_stays_signed_and_the_documented_api_wants_one(package: Package, appliance: Appliance) -> None:
    asked = {"fileName": "a.jpg", "fileSize": 5, "contentType": "image/jpeg", "routeSlug": "default"}
    slot = package.fetch("POST", "/upload/request", asked)
    assert signed_headers(slot["uploadUrl"]) == ["content-length", "content-type", "host"]
    assert xhr_put(slot["uploadUrl"], b"12345", "text/html").status == 403
    assert appliance.call("POST", "/upload/request", asked | {"contentType": ""}).code == "VALIDATION_ERROR"


def test_an_unknown_type_is_no_way_around_allowed_types(package: Package, appliance: Appliance) -> None:
    project = package.fetch("GET", "/projects/me")["project"]["id"]
    route = appliance.call("POST", f"/projects/{project}/file-routes", {"slug": "onlyImages", "allowedTypes": ["image/*"]}).json
    for content_type in ("", "text/html"):
        with pytest.raises(Refused) as refused:
            package.upload(b"x", "a", content_type, routeSlug="onlyImages")
        assert (refused.value.status, refused.value.code, refused.value.type) == (400, "INVALID_FILE_TYPE", "invalid_request")
    appliance.call("DELETE", f"/file-routes/{route['id']}")


@pytest.mark.parametrize("content_type", ["video/mp4", ""])
def test_multipart(package: Package, appliance: Appliance, content_type: str) -> None:
    content = b"".join(bytes([n]) * MIB for n in range(11)) + b"tail"
    slot = package.start_multipart(len(content), content_type)
    assert [part["partNumber"] for part in slot["parts"]] == [1, 2, 3]
    etags = []
    for part in slot["parts"]:
        start = (part["partNumber"] - 1) * 5 * MIB
        put = xhr_put(part["uploadUrl"], content[start : start + 5 * MIB], content_type)
        assert put.status == 200, put.body
        assert "etag" in put.headers["Access-Control-Expose-Headers"].lower()
        etags.append({"partNumber": part["partNumber"], "etag": put.headers["ETag"]})
    ids = {"fileId": slot["fileId"], "uploadId": slot["uploadId"]}
    file = package.fetch("POST", "/upload/multipart/complete", ids | {"parts": etags, "metadata": {"a": 1}})["file"]
    assert file.keys() == FILE_FIELDS
    assert (file["size"], file["type"], file["metadata"]) == (len(content), "video/mp4", {"a": 1})
    # The answer was lost: the package tries again, gives up in the end, and aborts.
    assert package.fetch("POST", "/upload/multipart/complete", ids | {"parts": etags})["file"]["id"] == file["id"]
    assert package.fetch("POST", "/upload/multipart/abort", ids) == {"ok": True}
    assert package.fetch("GET", f"/files/{file['key']}")["file"]["status"] == "UPLOADED"
    assert appliance.read(file["url"]).body == content


def test_abort(package: Package, appliance: Appliance, outsider_key: str) -> None:
    slot = package.start_multipart(11 * MIB)
    ids = {"fileId": slot["fileId"], "uploadId": slot["uploadId"]}
    assert Package(appliance, outsider_key).fetch("POST", "/upload/multipart/abort", ids) == {"ok": True}
    assert appliance.call("GET", f"/files/by-id/{slot['fileId']}").json["status"] == "UPLOADING", "others' aborts do nothing"
    for _ in range(2):
        assert package.fetch("POST", "/upload/multipart/abort", ids) == {"ok": True}
    assert appliance.call("GET", f"/files/by-id/{slot['fileId']}").json["status"] == "FAILED"
    unknown = {"fileId": "no-such-file", "uploadId": "no-such-upload"}
    assert package.fetch("POST", "/upload/multipart/abort", unknown) == {"ok": True}


def test_parts_are_5_mib_whatever_the_size(app: App) -> None:
    Project.update(tier="enterprise").execute()
    surface = app.client()
    asked = {"fileName": "big", "contentType": "", "routeSlug": "default"}
    size = 1_500 * 5 * MIB + 1
    slot = surface.post("/sdk/api/v1/upload/multipart/init", json=asked | {"fileSize": size})
    assert [part["partNumber"] for part in slot.json["parts"]] == list(range(1, 1_502))
    assert signed_headers(slot.json["parts"][0]["uploadUrl"]) == ["content-length", "host"]
    ids = {"fileId": slot.json["fileId"], "uploadId": slot.json["uploadId"]}
    state = surface.post("/api/v1/upload/multipart/parts", json=ids | {"partNumbers": [1_501]}).json
    assert state["partSize"] == 5 * MIB
    documented = surface.post("/api/v1/upload/multipart/init", json=asked | {"fileSize": size, "contentType": "a/b"})
    assert documented.json["partSize"] == 8 * MIB
    most = surface.post("/sdk/api/v1/upload/multipart/init", json=asked | {"fileSize": 10_000 * 5 * MIB})
    assert len(most.json["parts"]) == 10_000
    over = surface.post("/sdk/api/v1/upload/multipart/init", json=asked | {"fileSize": 10_000 * 5 * MIB + 1})
    assert (over.status_code, over.json["error"]["code"]) == (403, "TIER_LIMIT_EXCEEDED")


def test_list_update_and_delete(appliance: Appliance) -> None:
    appliance.run("projects", "create", "Listed by the SDK")
    package = Package(appliance, appliance.new_key("--project", "listed-by-the-sdk"))
    made = [package.upload(b"%d" % n, f"{n}.txt", "text/plain", metadata={"n": n}) for n in range(3)]
    first = package.fetch("GET", "/files?limit=2")
    assert first.keys() == {"files", "nextCursor", "hasMore"}
    assert [file["name"] for file in first["files"]] == ["2.txt", "1.txt"]
    assert first["files"][0].keys() == FILE_FIELDS
    rest = package.fetch("GET", f"/files?limit=2&cursor={first['nextCursor']}")
    assert ([file["name"] for file in rest["files"]], rest["nextCursor"], rest["hasMore"]) == (["0.txt"], None, False)
    for key in (made[0]["key"], made[0]["key"].replace("/", "%2F")):
        assert package.fetch("GET", f"/files/{key}")["file"] == made[0]
    changed = package.fetch("PATCH", f"/files/{made[0]['key']}", {"metadata": {"new": True}})["file"]
    assert changed["metadata"] == {"new": True}, "here PATCH replaces"
    assert package.fetch("DELETE", f"/files/{made[0]['key']}") == {"ok": True}
    with pytest.raises(Refused) as refused:
        package.fetch("GET", f"/files/{made[0]['key']}")
    assert (refused.value.status, refused.value.code, refused.value.type) == (404, "NOT_FOUND", "invalid_request")


def test_the_id_of_the_last_file_is_a_cursor(appliance: Appliance, outsider_key: str) -> None:
    appliance.run("projects", "create", "Paged by id")
    package = Package(appliance, appliance.new_key("--project", "paged-by-id"))
    made = [package.upload(b"%d" % n, f"{n}.txt", "text/plain") for n in range(4)]
    first = package.fetch("GET", "/files?limit=2")["files"]
    rest = package.fetch("GET", f"/files?limit=2&cursor={first[-1]['id']}")
    assert ([file["name"] for file in rest["files"]], rest["hasMore"]) == (["1.txt", "0.txt"], False)
    package.fetch("DELETE", f"/files/{first[-1]['key']}")
    assert package.fetch("GET", f"/files?limit=2&cursor={first[-1]['id']}") == rest, "deleted meanwhile"
    assert package.fetch("GET", f"/files?cursor={made[0]['id']}")["files"] == []
    for key, cursor in ((outsider_key, made[0]["id"]), (package.key, "01a1fc45-c5e0-7c1d-8a4e-6b0f2d9c3e55"), (package.key, "nonsense")):
        with pytest.raises(Refused) as refused:
            Package(appliance, key).fetch("GET", f"/files?cursor={cursor}")
        assert (refused.value.status, refused.value.code) == (400, "VALIDATION_ERROR")


def test_metadata_of_null_is_none(package: Package, appliance: Appliance) -> None:
    slot = package.fetch("POST", "/upload/request", SMALL | {"metadata": None})
    assert xhr_put(slot["uploadUrl"], b"12345", "text/plain").status == 200
    file = package.fetch("POST", "/upload/complete", {"fileId": slot["fileId"], "metadata": None})["file"]
    assert file["metadata"] == {}
    begun = package.fetch("POST", "/upload/multipart/init", SMALL | {"fileSize": 11 * MIB, "metadata": None})
    ids = {"fileId": begun["fileId"], "uploadId": begun["uploadId"]}
    with pytest.raises(Refused) as refused:
        package.fetch("POST", "/upload/multipart/complete", ids | {"metadata": None})
    assert refused.value.code == "INVALID_PARTS"
    kept = package.fetch("PATCH", f"/files/{file['key']}", {"metadata": {"a": 1}})["file"]
    with pytest.raises(Refused) as refused:
        package.fetch("PATCH", f"/files/{file['key']}", {"metadata": None})
    assert refused.value.code == "VALIDATION_ERROR", "here it could mean: throw away what there is"
    assert package.fetch("GET", f"/files/{file['key']}")["file"]["metadata"] == kept["metadata"]


def test_a_base_url_without_sdk_loses_no_upload(appliance: Appliance) -> None:
    """The package reads `file` of what completes an upload, and would resolve `undefined`."""
    package = Package(appliance, base_url=appliance.base)
    slot = package.fetch("POST", "/upload/request", SMALL)
    assert xhr_put(slot["uploadUrl"], b"12345", "text/plain").status == 200
    done = package.fetch("POST", "/upload/complete", {"fileId": slot["fileId"]})
    assert done["file"].keys() == FILE_FIELDS
    assert (done["file"]["id"], done["file"]["url"]) == (slot["fileId"], slot["cdnUrl"])
    plain = appliance.call("GET", f"/files/{slot['key']}").json
    assert "file" not in plain, "with x-api-key it is what the documentation shows, and no more"
    assert {name: value for name, value in done.items() if name != "file"} == plain
    assert package.fetch("GET", f"/files/{slot['key']}")["file"] == done["file"]
    assert package.fetch("PATCH", f"/files/{slot['key']}", {"metadata": {"a": 1}})["file"]["metadata"] == {"a": 1}
    big = b"\x00" * 11 * MIB
    begun = package.fetch("POST", "/upload/multipart/init", SMALL | {"fileSize": len(big)})
    for part in begun["parts"]:
        start = (part["partNumber"] - 1) * 5 * MIB
        assert xhr_put(part["uploadUrl"], big[start : start + 5 * MIB], "").status == 200
    ids = {"fileId": begun["fileId"], "uploadId": begun["uploadId"]}
    assert package.fetch("POST", "/upload/multipart/complete", ids)["file"]["size"] == len(big)


def test_the_list_has_50_by_default(app: App) -> None:
    surface = app.client()
    asked = {"fileName": "a", "fileSize": 1, "contentType": "a/b", "routeSlug": "default"}
    for _ in range(51):
        surface.post("/api/v1/upload/request", json=asked)
    assert len(surface.get("/sdk/api/v1/files").json["files"]) == 50
    assert surface.get("/sdk/api/v1/files?limit=101").json["error"]["code"] == "VALIDATION_ERROR"


def test_bulk_delete(package: Package, appliance: Appliance) -> None:
    keys = [package.upload(b"12345", "a.txt", "text/plain")["key"] for _ in range(3)]
    assert package.fetch("DELETE", "/files", {"keys": keys[:2]}) == {"deleted": 2, "failed": 0, "failures": [], "reclaimedBytes": 10}
    partly = package.fetch("DELETE", "/files", {"keys": keys})
    assert (partly["deleted"], partly["failed"]) == (1, 2)
    assert {failure["code"] for failure in partly["failures"]} == {"NOT_FOUND"}
    answer = appliance.fetch(
        "DELETE",
        f"{appliance.base}/sdk/api/v1/files",
        json.dumps({"keys": keys}).encode(),
        {"Authorization": f"Bearer {appliance.key}", "Content-Type": "application/json"},
    )
    assert (answer.status, answer.code, answer.json["error"]["type"], answer.json["failed"]) == (404, "NOT_FOUND", "invalid_request", 3)


def test_the_own_project(package: Package) -> None:
    me = package.fetch("GET", "/projects/me")
    assert me["project"].keys() == {"_id", "id", "name", "slug", "tier"}
    assert me["project"]["_id"] == me["project"]["id"]
    assert me["tier"] == me["project"]["tier"] == "pro"


ERRORS = {
    "no name": ("POST", "/upload/request", SMALL | {"fileName": ""}, (400, "VALIDATION_ERROR", "invalid_request")),
    "empty": ("POST", "/upload/request", SMALL | {"fileSize": 0}, (400, "VALIDATION_ERROR", "invalid_request")),
    "too large": ("POST", "/upload/request", SMALL | {"fileSize": 513 * MIB}, (403, "TIER_LIMIT_EXCEEDED", "invalid_request")),
    "no such file route": ("POST", "/upload/request", SMALL | {"routeSlug": "none"}, (404, "NOT_FOUND", "invalid_request")),
    "unknown upload": ("POST", "/upload/complete", {"fileId": "x"}, (404, "NOT_FOUND", "invalid_request")),
    "small multipart": ("POST", "/upload/multipart/init", SMALL, (400, "FILE_TOO_SMALL_FOR_MULTIPART", "invalid_request")),
    "another path": ("GET", "/webhooks/deliveries", None, (404, "NOT_FOUND", "invalid_request")),
    "another method": ("PUT", "/files", None, (404, "NOT_FOUND", "invalid_request")),
    "the surface itself": ("GET", "", None, (404, "NOT_FOUND", "invalid_request")),
    "images": ("POST", "/transforms/image", {"key": "x"}, (501, "NOT_IMPLEMENTED", "api_error")),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(package: Package, name: str) -> None:
    method, path, body, expected = ERRORS[name]
    with pytest.raises(Refused) as refused:
        package.fetch(method, path, body)
    assert (refused.value.status, refused.value.code, refused.value.type) == expected


def test_what_is_not_here_names_the_documented_door(appliance: Appliance) -> None:
    for path in ("/sdk/api/v1/usage", "/sdk/api/v1/files/a/link", "/sdk/api/v1"):
        answer = appliance.fetch("POST", f"{appliance.base}{path}")
        assert (answer.status, answer.code) == (404, "NOT_FOUND")
        assert "/api/v1" in answer.json["error"]["suggestion"]


def test_without_a_valid_key(appliance: Appliance) -> None:
    for key in ("uk_live_" + "x" * 32, "nonsense"):
        with pytest.raises(Refused) as refused:
            Package(appliance, key).fetch("GET", "/files")
        assert (refused.value.status, refused.value.code, refused.value.type) == (401, "UNAUTHORIZED", "authentication_error")
    assert appliance.fetch("GET", f"{appliance.base}/sdk/api/v1/files").code == "UNAUTHORIZED"


def test_an_upload_that_is_not_there_yet(package: Package) -> None:
    slot = package.fetch("POST", "/upload/request", SMALL)
    with pytest.raises(Refused) as refused:
        package.fetch("POST", "/upload/complete", {"fileId": slot["fileId"]})
    assert (refused.value.status, refused.value.code) == (422, "FILE_NOT_IN_STORAGE")
    assert xhr_put(slot["uploadUrl"], b"12345", "text/plain").status == 200
    assert package.fetch("POST", "/upload/complete", {"fileId": slot["fileId"]})["file"]["status"] == "UPLOADED"


def test_a_doubled_slash_and_cors(appliance: Appliance) -> None:
    package = Package(appliance, base_url=f"{appliance.base}/sdk/")
    assert package.upload(b"x", "a.txt", "text/plain")["status"] == "UPLOADED"
    with pytest.raises(Refused, match="invalid_request"):
        package.fetch("GET", "/nowhere")
    for slash in ("/", "//"):
        preflight = appliance.fetch("OPTIONS", f"{appliance.base}/sdk{slash}api/v1/upload/request", headers={"Origin": PAGE})
        assert (preflight.status, preflight.headers["Access-Control-Allow-Origin"]) == (204, "*")
        assert "Authorization" in preflight.headers["Access-Control-Allow-Headers"]
        refused = appliance.fetch("GET", f"{appliance.base}/sdk{slash}api/v1/files", headers={"Origin": PAGE})
        assert (refused.status, refused.headers["Access-Control-Allow-Origin"]) == (401, "*")


@pytest.mark.long
def test_a_503_is_tried_again(tmp_path: Path) -> None:
    with running(tmp_path) as appliance, closing(sqlite3.connect(appliance.data_dir / "uploadkit.db", isolation_level=None)) as holder:
        package = Package(appliance)
        package.fetch("GET", "/files")  # the key's lastUsedAt is written
        holder.execute("BEGIN IMMEDIATE")
        uploaded: list[Any] = []
        uploader = threading.Thread(target=lambda: uploaded.append(package.upload(b"12345", "a.txt", "text/plain")))
        uploader.start()
        wait_until(lambda: package.calls[1:], what="the first refusal")
        holder.execute("ROLLBACK")
        uploader.join(60)
        assert [status for path, status in package.calls if path == "/upload/request"] == [503, 200]
        assert uploaded[0]["status"] == "UPLOADED"
        assert len(package.fetch("GET", "/files")["files"]) == 1, "the refused request left nothing behind"


def test_a_429_has_its_type_and_passes_when_a_place_is_free(app: App) -> None:
    Project.update(limit_overrides={"requests_per_minute": 2}).execute()
    surface = app.client()
    with travelled_to(1_800_000_000_000) as advance:
        assert surface.post("/sdk/api/v1/upload/request", json=SMALL).status_code == 200
        advance(55_000)
        assert surface.get("/sdk/api/v1/files").headers["X-RateLimit-Remaining"] == "0"
        for _ in range(2):
            refused = surface.post("/sdk/api/v1/upload/request", json=SMALL)
            assert (refused.status_code, refused.json["error"]["code"]) == (429, "RATE_LIMITED")
            assert refused.json["error"]["type"] == "rate_limit_error"
        advance(7_000)
        assert surface.post("/sdk/api/v1/upload/request", json=SMALL).status_code == 200


def test_a_bug_of_ours(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("hush")

    monkeypatch.setattr("uploadkit.files.single_upload.request_upload", fail)
    answer = app.client().post("/sdk/api/v1/upload/request", json=SMALL)
    assert (answer.status_code, answer.json["error"]["code"], answer.json["error"]["type"]) == (500, "INTERNAL_ERROR", "api_error")
    assert b"hush" not in answer.data
