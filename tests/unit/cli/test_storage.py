"""`reconcile` and `storage copy`, as an admin runs them: beside a running appliance, and with it stopped."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
from pathlib import Path

import pytest

from tests.support.appliance import JPEG, ROOT, Appliance, running
from tests.support.bundled_stores import own_store, upload_in_parts
from tests.support.store_proxy import Answered, Asked, PassOn, proxied
from tests.support.stores import OtherStore, byos_settings
from uploadkit.core.sizes import MIB
from uploadkit.objectstore.listing import objects
from uploadkit.objectstore.store import ObjectStore


def keys_in(store: ObjectStore) -> set[str]:
    return {item.key for page in objects(store) for item in page}


def test_reconcile(tmp_path: Path) -> None:
    with running(tmp_path) as appliance:
        file, _ = appliance.upload(), appliance.upload()
        agrees = appliance.run("reconcile")
        assert agrees.returncode == 0, agrees.stderr
        assert agrees.stdout.startswith("2 files, ")
        assert agrees.stdout.endswith(": they agree.\n")
        own_store(appliance).delete(file["key"])
        found = appliance.run("reconcile")
        assert found.returncode == 1
        assert (
            f"row_without_object    {file['key']}: the file's object is not in the bucket (--fix would set the file DELETED)"
            in found.stdout
        )
        assert appliance.run("reconcile", "--fix").returncode == 0
        assert json.loads(appliance.run("reconcile", "--json").stdout)["findings"] == []
        assert appliance.run("usage", "verify").returncode == 0
        assert appliance.call("GET", f"/files/{file['key']}").code == "NOT_FOUND"
    stopped = appliance.run("reconcile")
    assert stopped.returncode == 0, stopped.stderr
    assert "The appliance does not run; its store is started for this." in stopped.stderr


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text((ROOT / "config.toml").read_text())
    return path


def test_moving_to_a_bucket_of_ones_own(tmp_path: Path, other_store: OtherStore, config_file: Path) -> None:
    """Copy while it works, stop, copy the rest, switch, start: every URL goes on answering the same bytes."""
    target = other_store.bucket("moved-here")
    settings = byos_settings(target.address, STORAGE__PRESIGN_EXPIRES_SECONDS="3600")
    del settings["STORAGE__MODE"]  # so that the file decides
    content = b"\x00\x00\x00\x20ftypisom" + os.urandom(12 * MIB)
    appliance = Appliance(tmp_path / "home", **settings)
    appliance.environment["UPLOADKIT_CONFIG"] = str(config_file)
    try:
        appliance.start()
        big = upload_in_parts(appliance, content)
        small = [appliance.upload(JPEG + bytes([n]) * 50, "Ünïcode näme.jpg") for n in range(5)]
        deleted = appliance.upload()
        first = appliance.run("storage", "copy")
        assert first.returncode == 0, first.stderr
        assert "7 files copied, 0 were there already, 0 failed." in first.stdout
        assert "The appliance runs and still uses the old store." in first.stdout
        assert 'mode = "bundled" ' in config_file.read_text()
        appliance.call("DELETE", f"/files/{deleted['key']}")
        late = appliance.upload(JPEG * 3)
        assert appliance.stop() == 0
        second = appliance.run("storage", "copy")
        assert second.returncode == 0, second.stderr
        assert "1 files copied, 6 were there already, 0 failed." in second.stdout
        assert 'storage.mode = "byos". Start the appliance' in second.stdout
        assert 'mode = "byos" ' in config_file.read_text()
        appliance.start()
        for file, expected in ((big, content), (late, JPEG * 3), *((file, JPEG + bytes([n]) * 50) for n, file in enumerate(small))):
            answer = appliance.read(file["url"])
            assert answer.body == expected
            now = appliance.call("GET", f"/files/{file['key']}").json
            assert now["etag"] == answer.headers["ETag"].strip('"')
        assert "UTF-8''%C3%9Cn%C3%AFcode" in appliance.read(small[0]["url"]).headers["Content-Disposition"]
        assert keys_in(target) == {file["key"] for file in (big, late, *small)}, "what was deleted in between is gone there, too"
        agrees = appliance.run("reconcile")
        assert agrees.returncode == 0, agrees.stdout
        assert appliance.upload()["status"] == "UPLOADED"
    finally:
        if appliance.process and appliance.process.poll() is None:
            appliance.stop()


def test_and_back_to_the_bundled_store(tmp_path: Path, other_store: OtherStore) -> None:
    source = other_store.bucket("comes-home")
    with running(tmp_path, **byos_settings(source.address)) as appliance:
        file = appliance.upload(JPEG * 7)
        refused = appliance.run("storage", "copy")
        assert refused.returncode == 2
        assert "stop it first" in refused.stderr
    copied = appliance.run("storage", "copy", "--to", "bundled")
    assert copied.returncode == 0, copied.stderr
    assert "Now set UPLOADKIT_STORAGE__MODE=bundled and start the appliance." in copied.stdout
    appliance.environment["UPLOADKIT_STORAGE__MODE"] = "bundled"
    appliance.start()
    try:
        assert appliance.read(file["url"]).body == JPEG * 7
    finally:
        appliance.stop()


def test_nothing_is_switched_when_a_file_can_not_be_copied(tmp_path: Path, other_store: OtherStore) -> None:
    target = other_store.bucket("half-moved")
    settings = byos_settings(target.address)
    settings["STORAGE__MODE"] = "bundled"
    with running(tmp_path, **settings) as appliance:
        good, lost = appliance.upload(), appliance.upload()
        own_store(appliance).delete(lost["key"])
    failed = appliance.run("storage", "copy")
    assert failed.returncode == 1
    assert "1 files copied, 0 were there already, 1 failed." in failed.stdout
    assert lost["key"] in failed.stderr
    assert "Nothing was switched." in failed.stderr
    assert keys_in(target) == {good["key"]}


def test_a_file_that_the_target_can_not_take_is_named_and_the_others_go_on(tmp_path: Path, other_store: OtherStore) -> None:
    """Its every PUT is a 500 there, while the store is well: to wait for it would be to wait for ever."""
    target, refused, deleted = other_store.bucket("but-for-one"), [""], [""]

    def rule(asked: Asked, pass_on: PassOn) -> Answered:
        if asked.method == "PUT" and asked.key == refused[0]:
            return Answered.error(500, "InternalError")
        if asked.method == "PUT" and asked.key == deleted[0]:
            answer = appliance.call("DELETE", f"/files/{deleted[0]}")  # meanwhile
            return Answered.error(500, "InternalError" if answer.status == 200 else "NotDeleted")
        return pass_on(asked)

    with proxied(target.address, rule) as address:
        settings = byos_settings(address) | {"STORAGE__MODE": "bundled"}
        with running(tmp_path, **settings) as appliance:
            first, odd, gone, last = (appliance.upload(JPEG * n) for n in range(2, 6))
            refused[0], deleted[0] = odd["key"], gone["key"]
            copied = appliance.run("storage", "copy")
            assert copied.returncode == 1, copied.stderr
            assert "2 files copied, 0 were there already, 1 failed." in copied.stdout
            assert f"failed: {odd['key']}: The object store refused PutObject: InternalError (HTTP 500)" in copied.stderr
            assert keys_in(target) == {first["key"], last["key"]}
            refused[0] = ""
            again = appliance.run("storage", "copy")
            assert (again.returncode, "1 files copied, 2 were there already, 0 failed." in again.stdout) == (0, True), again.stdout


def test_only_what_was_verified_is_copied(tmp_path: Path, other_store: OtherStore) -> None:
    """An object that somebody replaced is not blessed by a move, and one that lies at the target already is not taken on trust."""
    target = other_store.bucket("trust-no-one")
    settings = byos_settings(target.address) | {"STORAGE__MODE": "bundled"}
    with running(tmp_path, **settings) as appliance:
        replaced, genuine = appliance.upload(JPEG * 2), appliance.upload(JPEG * 4)
        own_store(appliance).put(replaced["key"], io.BytesIO(b"x" * len(JPEG * 2)), md5(b"x" * len(JPEG * 2)), "image/jpeg", "inline")
        target.put(genuine["key"], io.BytesIO(b"y" * len(JPEG * 4)), md5(b"y" * len(JPEG * 4)), "image/jpeg", "inline")
        copied = appliance.run("storage", "copy")
        assert copied.returncode == 1
        assert "1 files copied, 0 were there already, 1 failed." in copied.stdout
        assert f"{replaced['key']}: its object is not what was verified; 'reconcile' says more" in copied.stderr
    stored = target.head(genuine["key"])
    assert stored
    assert stored.first_bytes == JPEG * 4
    assert target.head(replaced["key"]) is None


def md5(content: bytes) -> str:
    return base64.b64encode(hashlib.md5(content).digest()).decode()


def test_a_file_is_never_given_up_by_the_look_at_another_store(tmp_path: Path, other_store: OtherStore) -> None:
    """The slip that an admin makes at night: the environment of the new store, the database of the old one."""
    empty = other_store.bucket("still-empty")
    slip = {f"UPLOADKIT_{name}": value for name, value in byos_settings(empty.address).items()}
    with running(tmp_path) as appliance:
        files = [appliance.upload() for _ in range(3)]
        refused = appliance.run("reconcile", "--fix", **slip)
        assert refused.returncode == 2
        assert "the appliance's files are in bundled; nothing was changed" in refused.stderr
        forced = appliance.run("reconcile", "--fix", "--force", **slip)
        assert forced.returncode == 2
        for file in files:
            own_store(appliance).delete(file["key"])
        implausible = appliance.run("reconcile", "--fix")
        assert implausible.returncode == 1
        assert "3 of 3 files have no object" in implausible.stderr
        assert appliance.run("reconcile", "--fix", "--force").returncode == 0
        assert appliance.call("GET", "/files").json["items"] == []


def test_a_pass_is_taken_up_where_a_kill_left_it(tmp_path: Path, other_store: OtherStore) -> None:
    target = other_store.bucket("cut-off")
    settings = byos_settings(target.address) | {"STORAGE__MODE": "bundled"}
    with running(tmp_path, **settings) as appliance:
        for _ in range(3):
            appliance.upload()
        assert appliance.run("storage", "copy").returncode == 0
        log = appliance.data_dir / "storage-copy.jsonl"
        assert log.stat().st_mode & 0o777 == 0o600
        log.write_text(log.read_text()[:-20])  # the last line was being written
        again = appliance.run("storage", "copy")
        assert "0 files copied, 3 were there already, 0 failed." in again.stdout
        project = appliance.call("POST", "/projects", {"name": "Goes"}).json["id"]
        key = appliance.call("POST", f"/projects/{project}/keys", {"name": "x"}).json["key"]
        gone = appliance.upload(key=key)
        assert appliance.run("storage", "copy").returncode == 0
        assert gone["key"] in keys_in(target)
        appliance.call("DELETE", f"/projects/{project}")
    assert appliance.run("storage", "copy").returncode == 0
    assert gone["key"] not in keys_in(target), "files of a project that is gone don't live on in the other store"


def test_a_changed_setting_moves_nothing_and_says_so(tmp_path: Path, other_store: OtherStore) -> None:
    with running(tmp_path) as appliance:
        appliance.upload()
        appliance.stop()
        appliance.environment |= {
            f"UPLOADKIT_{name}": value for name, value in byos_settings(other_store.bucket("new-one").address).items()
        }
        appliance.start()
        assert "'storage copy' moves files, a changed setting does not" in appliance.log()


def test_the_target_must_be_configured_and_reachable(tmp_path: Path, other_store: OtherStore) -> None:
    with running(tmp_path) as appliance:
        missing = appliance.run("storage", "copy")
        assert (missing.returncode, missing.stderr.strip()) == (2, 'error: storage.byos.bucket: must be set when storage.mode is "byos"')
        settings = {f"UPLOADKIT_{name}": value for name, value in byos_settings(other_store.address).items()} | {
            "UPLOADKIT_STORAGE__MODE": "bundled",
            "UPLOADKIT_STORAGE__BYOS__BUCKET": "is-not-there",
        }
        unreachable = appliance.run("storage", "copy", **settings)
        assert unreachable.returncode == 1
        assert "NoSuchBucket" in unreachable.stderr
        same = appliance.run("storage", "copy", "--to", "bundled")
        assert same.returncode == 2
        assert 'is "bundled" already' in same.stderr
