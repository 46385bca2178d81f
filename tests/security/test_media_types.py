"""The media type that a client declares: what is taken for one, at every surface, and how long that takes to find out."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable

import pytest

from tests.support.appliance import JPEG, Answer, Appliance
from uploadkit.core.media_types import DECLARED

PAGE = "https://pictures.example.com"
Surface = Callable[[str], Answer]
# What the pattern of long ago took for ever to refuse, and its like. NUL is what makes it fail.
ENDLESS = [
    "a/a" + ';a=""' * 50 + "\0",
    "a/a" + ';a=",' * 50 + "/",
    "a/a" + " " * 250 + "\0",
    "a/a;" + ", " * 120 + "/",
    "a" * 255,
    "a/" * 127,
]
REAL = [
    "video/webm;codecs=vp9,opus",
    "video/webm;codecs=vp8,opus",
    "video/x-matroska;codecs=avc1,opus",
    "video/mp4;codecs=avc1.42E01E,mp4a.40.2",
    'video/mp4; codecs="avc1.42E01E, mp4a.40.2"',
    "audio/webm;codecs=opus",
    "text/html; charset=utf-8;",
    "application/json;",
    "text/plain; a=b; ;",
    "text/plain; charset = utf-8",
    "application/pdf;name=a b.txt",
    'application/ld+json; profile="https://www.w3.org/ns/activitystreams"',
    "IMAGE/JPEG",
    " image/jpeg ",
    "image/jpeg ; q=1",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "a/b;" + "x" * 251,
]
WRONG = [
    "*/*",
    "image/*",
    "*/png",
    "im*ge/png",
    "image",
    "image/",
    "/png",
    "image/png/x",
    "image/png, text/html",
    "image/png,text/html;charset=utf-8",
    'image/png;x="a", text/html;y="b"',
    'image/png;x="a,text/html;y="',
    "video/webm;codecs=vp9,text/html",
    "image/png text/html",
    "image/png(text/html)",
    "image/png\ttext/html",
    "image/png;\ttext/html",
    "image/png\0",
    "image/png;a=b\0",
    "image/png\r\nX-Evil: 1",
    "image/png;a=b\r\n\r\n<script>",
    "image/png;a=b\n",
    "image/png;a=\x7f",
    "image/png;a=\x1b[31m",
    "image/png;a=é",
    "image/png;a=\u2028",
    "a/b;" + "x" * 252,
]


@pytest.fixture(scope="module")
def surfaces(appliance: Appliance) -> dict[str, Surface]:
    """Every way by which a media type comes in, as a function from the type to the answer."""
    (project,) = (project for project in appliance.call("GET", "/projects?limit=100").json["items"] if project["slug"] == "default")
    slug = f"open-{uuid.uuid4().hex[:8]}"
    rules = {"slug": slug, "anonymousUploads": True, "allowedOrigins": [PAGE]}
    assert appliance.call("POST", f"/projects/{project['id']}/file-routes", rules).status == 201
    made = appliance.call("POST", "/upload-tokens", {"routeSlug": slug, "maxFiles": 1000}).json
    key = {"Authorization": f"Bearer {appliance.key}"}

    def post(url: str, body: dict[str, object], **headers: str) -> Answer:
        sent = {"Content-Type": "application/json", "Origin": PAGE, **headers}
        return appliance.fetch("POST", url, json.dumps(body).encode(), sent)

    def documented(path: str, size: int) -> Surface:
        return lambda declared: (
            appliance.request(size, content_type=declared)
            if path == "request"
            else appliance.call("POST", f"/upload/{path}", {"fileName": "x", "fileSize": size, "contentType": declared, "routeSlug": slug})
        )

    def sdk(path: str, size: int) -> Surface:
        body = {"fileName": "x", "fileSize": size, "routeSlug": slug}
        return lambda declared: post(f"{appliance.base}/sdk/api/v1/upload/{path}", body | {"contentType": declared}, **key)

    def page(address: str, action: str, size: int) -> Surface:
        body = {"action": action, "fileName": "x", "contentLength": size}
        return lambda declared: post(address, body | {"contentType": declared})

    large = 11 * 1024**2
    anonymous, with_token = f"{appliance.base}/api/uploadkit/{slug}", f"{made['endpoint']}/{slug}"
    return {
        "documented": documented("request", len(JPEG)),
        "documented, parts": documented("multipart/init", large),
        "sdk": sdk("request", len(JPEG)),
        "sdk, parts": sdk("multipart/init", large),
        "token": page(with_token, "request-upload", len(JPEG)),
        "token, parts": page(with_token, "multipart-init", large),
        "anonymous": page(anonymous, "request-upload", len(JPEG)),
        "anonymous, parts": page(anonymous, "multipart-init", large),
    }


def test_what_browsers_send_is_taken_and_what_is_no_type_or_two_is_refused_by_name(surfaces: dict[str, Surface]) -> None:
    for name, surface in surfaces.items():
        for declared in REAL if "parts" not in name else REAL[:2]:
            answer = surface(declared)
            assert answer.status == 200, (name, declared, answer.body)
        for declared in WRONG:
            answer = surface(declared)
            assert (answer.status, answer.code) == (400, "VALIDATION_ERROR"), (name, declared, answer.body)
            assert list(answer.json["error"]["details"]) == ["contentType"], (name, declared)


def test_no_request_keeps_the_others_waiting(appliance: Appliance, surfaces: dict[str, Surface]) -> None:
    for name, surface in surfaces.items():
        for declared in ENDLESS:
            assert surface(declared).code == "VALIDATION_ERROR", (name, declared)
    assert appliance.call("GET", "/files?contentType=" + "a" * 127 + "/" + "a" * 127).status == 200
    assert appliance.fetch("GET", f"{appliance.base}/healthz").status == 200


@pytest.mark.parametrize("declared", ENDLESS, ids=range(len(ENDLESS)))
def test_what_no_type_is_costs_no_millisecond(declared: str) -> None:
    """The fastest of some tries: whoever shares the processor is not what is measured."""

    def seconds() -> float:
        start = time.perf_counter()
        assert not DECLARED.fullmatch(declared)
        return time.perf_counter() - start

    assert min(seconds() for _ in range(20)) < 0.001
