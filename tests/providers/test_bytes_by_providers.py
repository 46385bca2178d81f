"""Files on the six providers: moved there and back, uploaded by outsiders' pages, listed by `reconcile`; and when the provider is busy."""

from __future__ import annotations

import base64
import hashlib
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import urllib3
from playwright.sync_api import Browser

from tests.conftest import new_app
from tests.providers import profiles
from tests.providers.playing import Stage, on_stage
from tests.support.appliance import JPEG, running
from tests.support.browsers import chromium
from tests.support.bundled_stores import upload_in_parts
from tests.support.module_tab import Tab, site_of
from uploadkit.core.errors import StorageUnavailable
from uploadkit.core.sizes import MIB
from uploadkit.db.models import File
from uploadkit.files import multipart_upload, single_upload
from uploadkit.files.single_upload import UploadRequest
from uploadkit.maintenance import store_migration
from uploadkit.objectstore import listing
from uploadkit.objectstore.address import StoreAddress
from uploadkit.objectstore.boto import StorageRefused
from uploadkit.objectstore.bucket_rules import set_cors
from uploadkit.objectstore.store import ObjectStore
from uploadkit.objectstore.transfer import copy_object

FILM = b"\x00\x00\x00\x20ftypisom" + os.urandom(11 * MIB)


def sent(stage: Stage, url: str, content: bytes, headers: dict[str, str]) -> None:
    clients = stage.browser(urllib3.PoolManager())
    answer = clients.request("PUT", url, body=content, headers=headers)
    clients.clear()
    assert answer.status == 200, answer.data


def test_files_move_to_the_provider_and_home_again(
    stage: Stage, address: StoreAddress, behind: Callable[[str], StoreAddress], tmp_path: Path
) -> None:
    """What `storage copy` does, there and back: one file that came whole, and one in parts."""
    old, new, provider = ObjectStore(behind(f"old-{uuid4().hex}")), ObjectStore(behind(f"new-{uuid4().hex}")), ObjectStore(address)
    there = stage.configured(DATA__DIR=str(tmp_path / "data"))
    with new_app(tmp_path / "data", old) as app:
        small = single_upload.request_upload(app.ctx, app.caller, UploadRequest("ä b.jpg", len(JPEG), "image/jpeg", "default", {}))
        sent(stage, small.upload_url, JPEG, {"Content-Type": "image/jpeg"})
        single_upload.complete_upload(app.ctx, app.caller, small.file.id, {})
        large = multipart_upload.start_multipart(app.ctx, app.caller, UploadRequest("b", len(FILM), "video/mp4", "default", {}))
        for part in large.part_urls:
            start = (part.number - 1) * 5 * MIB
            sent(stage, part.upload_url, FILM[start : start + 5 * MIB], {})
        multipart_upload.complete_multipart(app.ctx, app.caller, large.file.id, large.file.upload_id or "", None, {})
        for source, config, target, target_config in (
            (old, app.ctx.config, provider, there),
            (provider, there, new, app.ctx.config),
        ):
            copied = store_migration.copy_files(config, source, target_config, target, lambda file: None)
            assert (copied.files, copied.failures) == (2, {})
            store_migration.arrive(target_config)
            (items,) = listing.objects(target)
            assert {(item.key, item.size_bytes, item.etag) for item in items} == {
                (file.key, file.size_bytes, file.etag) for file in File.select().where(File.status == "UPLOADED")
            }
            assert b"".join(target.read(large.file.key, next(i.etag for i in items if i.key == large.file.key), 0, len(FILM), MIB)) == FILM
            assert list(listing.multiparts(target)) == []


def test_the_command_moves_them_as_well(behind: Callable[[str], StoreAddress], tmp_path: Path) -> None:
    with on_stage(profiles.R2, behind(f"moved-{uuid4().hex}"), tmp_path) as stage:
        settings = stage.settings(STORAGE__MODE="bundled")
        with running(tmp_path / "home", stage.surroundings, stage.browser, **settings) as appliance:
            file = upload_in_parts(appliance, FILM)
            appliance.stop()
            moved = appliance.run("storage", "copy")
            assert "1 files copied, 0 were there already, 0 failed." in moved.stdout, moved.stderr
            appliance.environment["UPLOADKIT_STORAGE__MODE"] = "byos"
            appliance.start()
            assert appliance.read(file["url"]).body == FILM
            assert appliance.run("reconcile", "--deep").returncode == 0


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


def test_pages_of_strangers_upload(stage: Stage, address: StoreAddress, browser: Browser, tmp_path: Path) -> None:
    """A page in Chromium at an anonymous file route, whole and in parts; then deletion and `reconcile`."""
    photo, film = tmp_path / "photo.jpg", tmp_path / "film.mp4"
    photo.write_bytes(JPEG * 99)
    film.write_bytes(FILM)
    (tmp_path / "site").mkdir()
    set_cors(ObjectStore(address), ["*"])
    with running(tmp_path / "home", stage.surroundings, stage.browser, **stage.settings()) as appliance:
        project = appliance.project_id
        with site_of(tmp_path / "site", appliance) as site:
            rules = {"slug": "drop", "anonymousUploads": True, "allowedOrigins": [site], "maxFileSize": "20MB"}
            assert appliance.call("POST", f"/projects/{project}/file-routes", rules).status == 201
            context = browser.new_context(proxy={"server": stage.proxy, "bypass": "127.0.0.1"}, ignore_https_errors=True)
            tab = Tab(context.new_page(), site)
            tab.open(photo, film)
            files = []
            for index in range(2):
                tab.begin(f"{appliance.base}/api/uploadkit", index, route="drop")
                files.append(tab.end())
            context.close()
        assert [file.get("status") for file in files] == ["UPLOADED"] * 2, files
        assert appliance.read(files[1]["url"]).body == FILM
        key = appliance.call("GET", f"/files/by-id/{files[0]['id']}").json["key"]
        assert appliance.call("DELETE", f"/files/{key}").json == {"deleted": True}
        agrees = appliance.run("reconcile")
        assert agrees.returncode == 0, agrees.stdout + agrees.stderr


@pytest.fixture
def busy_b2(
    behind: Callable[[str], StoreAddress], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Stage, StoreAddress, StoreAddress]]:
    """B2, its bucket, and the store behind."""
    store = behind(f"busy-{uuid4().hex}")
    with on_stage(profiles.B2, store, tmp_path) as stage:
        yield stage, stage.address(monkeypatch), store


def test_a_large_file_moves_also_when_every_third_write_is_answered_503(
    busy_b2: tuple[Stage, StoreAddress, StoreAddress], behind: Callable[[str], StoreAddress], tmp_path: Path
) -> None:
    stage, address, _ = busy_b2
    source = ObjectStore(behind(f"source-{uuid4().hex}"))
    upload_id = source.create_multipart("k", "video/mp4", "inline")
    etags = [
        source.put_part("k", upload_id, number, io.BytesIO(part), base64.b64encode(hashlib.md5(part).digest()).decode())
        for number, part in enumerate((FILM[: 5 * MIB], FILM[5 * MIB : 10 * MIB], FILM[10 * MIB :]), 1)
    ]
    assert source.complete_multipart("k", upload_id, len(FILM), list(enumerate(etags, 1)))
    stored = source.head("k", 1)
    assert stored is not None
    target, stage.played.busy_every = ObjectStore(address), 3
    copy_object(source, target, "k", len(FILM), stored.etag, 5 * MIB, "video/mp4", "inline", is_digest=lambda stored: True, spool=tmp_path)
    stage.played.busy_every = 0
    assert [status for _, _, status in stage.played.asked].count(503) >= 1
    arrived = target.head("k", 1)
    assert arrived is not None
    assert b"".join(target.read("k", arrived.etag, 0, len(FILM), MIB)) == FILM


def test_being_told_to_wait_is_no_refusal(behind: Callable[[str], StoreAddress], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """R2's 429: what reads every object must not take that for an object which can't be read."""
    with on_stage(profiles.R2, behind(f"wait-{uuid4().hex}"), tmp_path) as stage:
        store = ObjectStore(stage.address(monkeypatch))
        stage.played.told_to_wait = 1
        assert store.list_parts("k", "unknown") is None, "asked again"
        stage.played.told_to_wait = 100
        with pytest.raises(StorageUnavailable) as caught:
            store.read_piece("k", 0, 1)
        assert not isinstance(caught.value, StorageRefused)
