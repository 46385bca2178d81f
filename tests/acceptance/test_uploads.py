"""The upload life cycle as a client sees it."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.appliance import JPEG, Appliance
from uploadkit.core.sizes import MIB


def test_a_small_file_comes_back_byte_for_byte(appliance: Appliance) -> None:
    content = JPEG + os.urandom(MIB - len(JPEG))
    slot = appliance.request(len(content), "ph oto.jpg", metadata={"album": "summer"}).json
    assert set(slot) == {"fileId", "uploadUrl", "key", "cdnUrl", "expiresAt", "headers"}
    assert slot["headers"] == {"Content-Type": "image/jpeg", "Content-Length": str(MIB)}
    assert appliance.fetch("GET", slot["cdnUrl"]).status == 404, "readable before it is verified"
    assert appliance.put(slot, content).status == 200
    assert appliance.fetch("GET", slot["cdnUrl"]).status == 404, "readable before it is verified"
    file = appliance.complete(slot, metadata={"by": "ann"}).json
    assert file["status"] == "UPLOADED"
    assert file["metadata"] == {"album": "summer", "by": "ann"}
    assert file["fileName"] == "ph oto.jpg"
    assert file["url"] == slot["cdnUrl"]
    read = appliance.read(file["url"])
    assert read.body == content
    assert read.headers["Content-Type"] == "image/jpeg"
    assert read.headers["Content-Disposition"].startswith('inline; filename="ph oto.jpg"')


def test_completing_again_answers_the_same_file(appliance: Appliance) -> None:
    slot = appliance.request(len(JPEG)).json
    appliance.put(slot, JPEG)
    with ThreadPoolExecutor(4) as pool:  # one holds the upload, and three may wait for it
        answers = list(pool.map(lambda _: appliance.complete(slot), range(8)))
    assert {answer.status for answer in answers} == {200}
    assert len({answer.body for answer in answers}) == 1


@pytest.mark.parametrize(
    ("content", "content_type"),
    [(JPEG[:-1], "image/jpeg"), (JPEG + b"x", "image/jpeg"), (JPEG, "text/html"), (JPEG, "")],
    ids=["shorter", "longer", "other type", "no type"],
)
def test_the_store_refuses_another_length_or_type(appliance: Appliance, content: bytes, content_type: str) -> None:
    slot = appliance.request(len(JPEG)).json
    assert appliance.put(slot, content, content_type).status == 403


def test_the_store_refuses_a_changed_key_or_signature(appliance: Appliance) -> None:
    slot = appliance.request(len(JPEG)).json
    other = appliance.request(len(JPEG)).json
    moved = slot["uploadUrl"].replace(slot["fileId"], other["fileId"])
    assert appliance.put({"uploadUrl": moved}, JPEG).status == 403
    turned = slot["uploadUrl"][:-1] + ("0" if slot["uploadUrl"][-1] != "0" else "1")
    assert appliance.put({"uploadUrl": turned}, JPEG).status == 403
    unsigned = slot["uploadUrl"].partition("?")[0]
    assert appliance.put({"uploadUrl": unsigned}, JPEG).status in (401, 403)


def test_completing_before_the_object_is_there_ends_nothing(appliance: Appliance) -> None:
    slot = appliance.request(len(JPEG)).json
    for _ in range(2):
        early = appliance.complete(slot)
        assert (early.status, early.code) == (422, "UPLOAD_NOT_VERIFIED")
        assert "complete again" in early.json["error"]["suggestion"]
    assert appliance.call("GET", f"/files/{slot['key']}").json["status"] == "UPLOADING"
    assert appliance.put(slot, JPEG).status == 200
    assert appliance.complete(slot).json["status"] == "UPLOADED"
    assert appliance.read(slot["cdnUrl"]).body == JPEG


def test_what_is_not_as_declared_fails_for_good(appliance: Appliance) -> None:
    slot = appliance.request(len(JPEG)).json
    assert appliance.put(slot, b"%PDF-".ljust(len(JPEG))).status == 200
    first = appliance.complete(slot)
    assert (first.status, first.code) == (422, "UPLOAD_NOT_VERIFIED")
    assert appliance.put(slot, JPEG).status == 200, "the URL is still valid, which is why this must change nothing"
    assert appliance.complete(slot).body == first.body
    assert appliance.fetch("GET", slot["cdnUrl"]).status == 404
    assert appliance.call("GET", f"/files/{slot['key']}").json["status"] == "FAILED"


def test_a_put_after_complete_changes_nothing(appliance: Appliance) -> None:
    slot = appliance.request(len(JPEG)).json
    appliance.put(slot, JPEG)
    file = appliance.complete(slot).json
    evil = b"E" * len(JPEG)
    assert appliance.put(slot, evil).status == 200
    assert appliance.complete(slot).json == file
    assert appliance.read(file["url"]).body == JPEG


def test_a_put_after_delete_brings_nothing_back(appliance: Appliance) -> None:
    slot = appliance.request(len(JPEG)).json
    appliance.put(slot, JPEG)
    file = appliance.complete(slot).json
    assert appliance.call("DELETE", f"/files/{file['key']}").json == {"deleted": True}
    assert appliance.put(slot, JPEG).status == 200
    again = appliance.complete(slot)
    assert (again.status, again.code) == (404, "UPLOAD_NOT_FOUND")
    assert appliance.fetch("GET", file["url"]).status == 404


def test_deleting_an_upload_under_way_cancels_it(appliance: Appliance) -> None:
    slot = appliance.request(len(JPEG)).json
    appliance.put(slot, JPEG)
    assert appliance.call("DELETE", f"/files/{slot['key']}").json == {"deleted": True}
    assert appliance.complete(slot).code == "UPLOAD_NOT_FOUND"
    assert appliance.fetch("GET", slot["cdnUrl"]).status == 404


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("../../etc/passwd", "etc-passwd"),
        ("a b&c=+%.png", "a-b-c.png"),
        ("日本語.pdf", "file.pdf"),
        ("😀" * 255, "file"),
        ("CON", "CON"),
        ("...", "file"),
        ('a\\b:c*?"<>|.txt', "a-b-c.txt"),
        ("'; DROP TABLE file; --", "DROP-TABLE-file"),
        ("x" * 255, "x" * 199),
        ("\u202egnp.exe", "gnp.exe"),
    ],
)
def test_odd_names_are_kept_and_their_keys_are_safe(appliance: Appliance, name: str, safe: str) -> None:
    file = appliance.upload(JPEG, name)
    assert file["fileName"] == name
    assert file["key"].rpartition("/")[2] == safe
    assert appliance.read(file["url"]).body == JPEG
    assert appliance.call("GET", f"/files/{file['key']}").json == file
    assert appliance.call("GET", f"/files/{file['key'].replace('/', '%2F')}").json == file


@pytest.mark.parametrize("name", ["", "x" * 256, "a\nb", "nul\0", None, 7])
def test_impossible_names_are_refused_by_name(appliance: Appliance, name: object) -> None:
    answer = appliance.request(name=name)  # type: ignore[arg-type]
    assert (answer.status, answer.code) == (400, "VALIDATION_ERROR")
    assert list(answer.json["error"]["details"]) == ["fileName"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("fileSize", 0),
        ("fileSize", -1),
        ("fileSize", "5"),
        ("fileSize", 1.5),
        ("fileSize", True),
        ("contentType", "jpeg"),
        ("contentType", "image/jpeg\r\nx: y"),
        ("contentType", "image/png;\na=b"),
        ("contentType", "image/png;\u2003a=b"),
        ("contentType", ""),
        ("routeSlug", ""),
        ("metadata", []),
        ("metadata", {"a": {"b": {"c": {"d": {"e": {}}}}}}),
        ("metadata", {"a": "x" * 9000}),
    ],
)
def test_bad_fields_are_named(appliance: Appliance, field: str, value: object) -> None:
    answer = appliance.request(**{"size": 5, field: value})
    assert (answer.status, answer.code) == (400, "VALIDATION_ERROR")
    assert list(answer.json["error"]["details"]) == [field]


def test_the_media_type_keeps_its_parameters(appliance: Appliance) -> None:
    file = appliance.upload(b"webm", "v.webm", "video/webm;codecs=vp8")
    assert file["contentType"] == "video/webm;codecs=vp8"


def test_what_a_browser_would_execute_is_an_attachment(appliance: Appliance) -> None:
    for content_type in ("text/html", "image/svg+xml", "application/xml", "text/javascript", "application/x-unheard-of"):
        file = appliance.upload(b"<script>", "x", content_type)
        assert appliance.read(file["url"]).headers["Content-Disposition"].startswith("attachment;")


def test_unknown_file_route(appliance: Appliance) -> None:
    answer = appliance.request(routeSlug="nowhere")
    assert (answer.status, answer.code) == (404, "NOT_FOUND")


def test_too_large_for_the_tier(appliance: Appliance) -> None:
    answer = appliance.request(513 * MIB)
    assert (answer.status, answer.code) == (413, "FILE_TOO_LARGE")
    assert answer.json["error"]["message"] == f"File size {513 * MIB} bytes exceeds the {512 * MIB} byte limit"


class Multipart:
    """A multipart upload and its content."""

    def __init__(self, appliance: Appliance, size: int) -> None:
        self.appliance = appliance
        self.content = os.urandom(size)
        answer = appliance.call(
            "POST", "/upload/multipart/init", {"fileName": "big.bin", "fileSize": size, "contentType": "video/mp4", "routeSlug": "default"}
        )
        assert answer.status == 200, answer.body
        self.init = answer.json
        self.ids = {"fileId": self.init["fileId"], "uploadId": self.init["uploadId"]}

    def part(self, number: int) -> bytes:
        size = self.init["partSize"]
        return self.content[(number - 1) * size : number * size]

    def put(self, number: int, url: str | None = None) -> str:
        url = url or self.init["parts"][number - 1]["uploadUrl"]
        answer = self.appliance.fetch("PUT", url, self.part(number))
        assert answer.status == 200, answer.body
        return answer.headers["ETag"]

    def call(self, verb: str, **more: object):
        return self.appliance.call("POST", f"/upload/multipart/{verb}", {**self.ids, **more})


@pytest.mark.long
def test_a_large_file_comes_back_byte_for_byte(appliance: Appliance) -> None:
    upload = Multipart(appliance, 200 * MIB)
    assert upload.init["partSize"] == 5 * MIB
    assert [part["partNumber"] for part in upload.init["parts"]] == list(range(1, 41))
    parts = [{"partNumber": n, "etag": upload.put(n)} for n in range(1, 41)]
    file = upload.call("complete", parts=parts, metadata={"a": 1}).json
    assert (file["status"], file["fileSize"], file["contentType"]) == ("UPLOADED", 200 * MIB, "video/mp4")
    read = appliance.read(file["url"])
    assert hashlib.sha256(read.body).digest() == hashlib.sha256(upload.content).digest()
    assert upload.call("complete", parts=parts).json == file
    aborted = upload.call("abort")
    assert (aborted.status, aborted.code) == (409, "CONFLICT")
    assert appliance.read(file["url"]).status == 200
    assert appliance.fetch("PUT", upload.init["parts"][0]["uploadUrl"], upload.part(1)).status >= 400, "completing ends the URLs"
    resumed = upload.call("parts")
    assert (resumed.status, resumed.code) == (409, "CONFLICT")


def test_resuming_lists_what_arrived_and_signs_the_rest(appliance: Appliance) -> None:
    upload = Multipart(appliance, 17 * MIB)
    etag = upload.put(2)
    state = upload.call("parts").json
    assert state["uploaded"] == [{"partNumber": 2, "size": 5 * MIB, "etag": etag.strip('"')}]
    assert [part["partNumber"] for part in state["parts"]] == [1, 3, 4]
    for part in state["parts"]:
        upload.put(part["partNumber"], part["uploadUrl"])
    assert [p["partNumber"] for p in upload.call("parts", partNumbers=[2, 4]).json["parts"]] == [2, 4]
    assert upload.call("parts", partNumbers=[5]).code == "INVALID_PARTS"
    file = upload.call("complete").json
    assert appliance.read(file["url"]).body == upload.content


def test_wrong_parts_are_refused_and_lose_nothing(appliance: Appliance) -> None:
    upload = Multipart(appliance, 11 * MIB)
    etags = {n: upload.put(n) for n in (1, 2)}
    assert upload.call("complete").code == "INVALID_PARTS", "part 3 is missing"
    etags[3] = upload.put(3)
    good = [{"partNumber": n, "etag": etags[n]} for n in (1, 2, 3)]
    for bad in (
        good[:2],
        [*good, good[0]],
        [good[0], good[1], {"partNumber": 3, "etag": "0" * 32}],
        [*good, {"partNumber": 4, "etag": "a"}],
    ):
        answer = upload.call("complete", parts=bad)
        assert (answer.status, answer.code) == (422, "INVALID_PARTS"), bad
    file = upload.call("complete", parts=[{**part, "etag": part["etag"].strip('"')} for part in reversed(good)]).json
    assert appliance.read(file["url"]).body == upload.content


def test_etags_that_a_proxy_changed_mean_the_same(appliance: Appliance) -> None:
    spellings = ('W/"{}"', 'w/"{}"', '"{}-gzip"', '"{}"-gzip', '"{};gzip"', "&quot;{}&quot;", ' "{}" ', "{}", '"of the proxy itself"')
    upload = Multipart(appliance, len(spellings) * 5 * MIB)
    etags = [upload.put(n).strip('"') for n in range(1, len(spellings) + 1)]
    etags[0] = etags[0].upper()
    parts = [{"partNumber": n, "etag": how.format(etag)} for n, (how, etag) in enumerate(zip(spellings, etags, strict=True), 1)]
    answer = upload.call("complete", parts=parts)
    assert (answer.status, answer.json.get("status")) == (200, "UPLOADED"), answer.body


def test_a_part_of_another_length_is_refused_by_the_store(appliance: Appliance) -> None:
    upload = Multipart(appliance, 11 * MIB)
    assert appliance.fetch("PUT", upload.init["parts"][2]["uploadUrl"], b"x").status == 403


def test_aborting_removes_the_parts(appliance: Appliance) -> None:
    upload = Multipart(appliance, 11 * MIB)
    upload.put(1)
    assert upload.call("abort").json == {"aborted": True}
    assert upload.call("abort").json == {"aborted": True}
    assert upload.call("complete").code == "UPLOAD_NOT_FOUND"
    assert upload.call("parts").code == "UPLOAD_NOT_FOUND"
    assert appliance.fetch("PUT", upload.init["parts"][1]["uploadUrl"], upload.part(2)).status >= 400
    assert appliance.fetch("GET", f"{appliance.base}/f/{upload.init['key']}").status == 404


def test_multipart_is_for_large_files(appliance: Appliance) -> None:
    body = {"fileName": "s", "fileSize": 10 * MIB, "contentType": "image/png", "routeSlug": "default"}
    answer = appliance.call("POST", "/upload/multipart/init", body)
    assert (answer.status, answer.code) == (400, "FILE_TOO_SMALL_FOR_MULTIPART")


def test_the_other_kinds_complete_does_not_fit(appliance: Appliance) -> None:
    upload = Multipart(appliance, 11 * MIB)
    assert appliance.complete(upload.ids).code == "UPLOAD_NOT_FOUND"
    slot = appliance.request(5).json
    assert appliance.call("POST", "/upload/multipart/complete", {"fileId": slot["fileId"], "uploadId": "x"}).code == "UPLOAD_NOT_FOUND"


def test_what_is_plainly_something_else_is_refused(appliance: Appliance) -> None:
    for content_type, content, found, text in (
        ("image/png", b"<!doctype html><script>alert(1)</script>", "text/html", "This looks like a web page, not a picture"),
        ("application/pdf", b"MZ\x90\x00\x03\x00", "application/vnd.microsoft.portable-executable", "This looks like a program, not a PDF"),
        ("video/mp4", b"%PDF-1.7 ...", "application/pdf", "This looks like a PDF, not a film"),
        ("application/zip", b"just a few words", "text/plain", "This looks like plain text, not an archive"),
        ("image/png", b'<svg xmlns="http://www.w3.org/2000/svg">', "image/svg+xml", "This looks like an SVG drawing, not a picture"),
    ):
        slot = appliance.request(len(content), "x", content_type).json
        assert appliance.put(slot, content, content_type).status == 200
        for _ in range(2):
            refused = appliance.complete(slot)
            assert (refused.status, refused.code) == (422, "UPLOAD_NOT_VERIFIED")
            assert refused.json["error"]["message"] == text, "for the person in front of the page"
            suggestion = refused.json["error"]["suggestion"]
            assert [word for word in (content_type, found, "verifyContent") if word not in suggestion] == [], "for the developer"
        assert appliance.call("GET", f"/files/by-id/{slot['fileId']}").json["status"] == "FAILED"


def test_a_multipart_that_is_plainly_something_else_is_refused(appliance: Appliance) -> None:
    content = b"PK\x03\x04".ljust(11 * MIB, b"\x00")
    body = {"fileName": "film.mp4", "fileSize": len(content), "contentType": "video/mp4", "routeSlug": "default"}
    slot = appliance.call("POST", "/upload/multipart/init", body).json
    for part in slot["parts"]:
        start = (part["partNumber"] - 1) * slot["partSize"]
        assert appliance.fetch("PUT", part["uploadUrl"], content[start : start + slot["partSize"]]).status == 200
    refused = appliance.call("POST", "/upload/multipart/complete", {"fileId": slot["fileId"], "uploadId": slot["uploadId"]})
    assert (refused.status, refused.code) == (422, "UPLOAD_NOT_VERIFIED")
    assert refused.json["error"]["message"] == "This looks like an archive, not a film"


def test_a_file_route_can_leave_the_first_bytes_alone(appliance: Appliance) -> None:
    project = appliance.call("POST", "/projects", {"name": "Unlooked at"}).json["id"]
    key = appliance.call("POST", f"/projects/{project}/keys", {"name": "x"}).json["key"]
    rules = {"slug": "raw", "verifyContent": False}
    route = appliance.call("POST", f"/projects/{project}/file-routes", rules).json
    assert appliance.upload(b"<!doctype html>", "x.png", "image/png", routeSlug="raw", key=key)["status"] == "UPLOADED"
    appliance.call("PATCH", f"/file-routes/{route['id']}", {"verifyContent": True})
    slot = appliance.request(15, "x.png", "image/png", routeSlug="raw", key=key).json
    appliance.put(slot, b"<!doctype html>", "image/png")
    assert appliance.complete(slot, key=key).code == "UPLOAD_NOT_VERIFIED"


def test_a_part_that_was_sent_twice_counts_once(appliance: Appliance) -> None:
    """The answer to a part's PUT is lost, and the client sends it again: the last one counts, as S3 has it."""
    parts = [b"\x01" * 5 * MIB, b"\x02" * 5 * MIB, b"end"]
    body = {"fileName": "b", "fileSize": sum(map(len, parts)), "contentType": "application/octet-stream", "routeSlug": "default"}
    slot = appliance.call("POST", "/upload/multipart/init", body).json
    ids = {"fileId": slot["fileId"], "uploadId": slot["uploadId"]}
    for number in (1, 1, 2, 1, 3):
        assert appliance.fetch("PUT", slot["parts"][number - 1]["uploadUrl"], parts[number - 1]).status == 200
    state = appliance.call("POST", "/upload/multipart/parts", ids).json
    assert [part["partNumber"] for part in state["uploaded"]] == [1, 2, 3]
    assert state["parts"] == []
    done = appliance.call("POST", "/upload/multipart/complete", ids)
    assert done.status == 200, done.body
    assert appliance.read(done.json["url"]).body == b"".join(parts)
