"""What a store makes of a type by the ending of the key decides nothing, on whichever engine: SeaweedFS guesses, others don't."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import pytest

from tests.support.appliance import Appliance, running
from tests.support.peers import started_minio, started_versitygw
from tests.support.stores import byos_settings
from uploadkit.core.sizes import MIB
from uploadkit.objectstore.address import StoreAddress

ENGINES: dict[str, Callable[[Path], AbstractContextManager[StoreAddress]]] = {"minio": started_minio, "versitygw": started_versitygw}
# Endings of which one engine or another makes a type, with what is recorded.
NAMES = {
    "film.mp4": "video/mp4",
    "IMG_1.HEIC": "image/heic",
    "raw.CR2": "image/x-canon-cr2",
    "a.7z": "application/x-7z-compressed",
    "a.tar.gz": "application/gzip",
    "a.dmg": "application/x-apple-diskimage",
    "a.apk": "application/vnd.android.package-archive",
    "a.html": "text/html",
    "a.xyz": "application/octet-stream",
}
UNKNOWN_TO_ALL = b"\x00\x01\x02\x03" * 4


@pytest.fixture(scope="module", params=["seaweedfs", *ENGINES])
def on_engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    with ExitStack() as stack:
        settings = {}
        if request.param in ENGINES:
            address = stack.enter_context(ENGINES[request.param](tmp_path_factory.mktemp(request.param)))
            settings = byos_settings(address, STORAGE__BYOS__ALLOW_UNSAFE_STORE="true")
        yield stack.enter_context(running(tmp_path_factory.mktemp(f"on-{request.param}"), **settings))


@pytest.mark.parametrize("declared", ["application/octet-stream", "APPLICATION/OCTET-STREAM; x=1", "binary/octet-stream"])
def test_who_does_not_know_is_refused_nothing(on_engine: Appliance, declared: str) -> None:
    for name, recorded in NAMES.items():
        file = on_engine.upload(UNKNOWN_TO_ALL, name, declared)
        assert file["contentType"] == recorded, name
        assert on_engine.read(file["url"]).headers["Content-Type"] == recorded, name


@pytest.mark.parametrize("name", ["film.mp4", "a.dmg", "a.html"])
def test_in_parts_neither(on_engine: Appliance, name: str) -> None:
    content = UNKNOWN_TO_ALL.ljust(10 * MIB + 1, b"\0")
    body = {"fileName": name, "fileSize": len(content), "contentType": "application/octet-stream", "routeSlug": "default"}
    slot = on_engine.call("POST", "/upload/multipart/init", body).json
    for part in slot["parts"]:
        start = (part["partNumber"] - 1) * slot["partSize"]
        assert on_engine.fetch("PUT", part["uploadUrl"], content[start : start + slot["partSize"]]).status == 200
    done = on_engine.call("POST", "/upload/multipart/complete", {"fileId": slot["fileId"], "uploadId": slot["uploadId"]})
    assert (done.status, done.json.get("contentType")) == (200, NAMES[name]), done.body
    assert on_engine.read(done.json["url"]).headers["Content-Type"] == NAMES[name]
