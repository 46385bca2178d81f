"""MinIO and versitygw as they are, where their programs are found: what the doctor says of them, and an appliance on them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import urllib3
import yaml  # type: ignore[import-untyped]

from tests.support.appliance import JPEG, ROOT, Appliance, running
from tests.support.browsers import chromium
from tests.support.minio_admin import make_user
from tests.support.nginx_uploads import upload_through_nginx
from tests.support.peers import program, started_minio, started_versitygw
from tests.support.stores import byos_settings
from uploadkit.config import Config
from uploadkit.objectstore import doctor, forged_writes
from uploadkit.objectstore.address import StoreAddress
from uploadkit.objectstore.bundled.engines import Credentials, Minio
from uploadkit.objectstore.bundled.supervisor import BundledStore
from uploadkit.objectstore.doctor import Expectations, Finding
from uploadkit.objectstore.forged_writes import accepted_forgery
from uploadkit.objectstore.store import ObjectStore

EXPECTED = replace(Expectations.of(Config()), section="storage.byos")
UNSAFE = {"STORAGE__BYOS__ALLOW_UNSAFE_STORE": "true"}


@pytest.fixture(scope="module")
def minio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreAddress]:
    with started_minio(tmp_path_factory.mktemp("minio")) as address:
        yield address


@pytest.fixture(scope="module")
def takes_forgeries(minio: StoreAddress) -> bool:
    """Whether this build has the holes of the last community edition; a build without them is told of, not failed."""
    return accepted_forgery(minio.endpoint, minio.bucket, minio.access_key_id, minio.region) is not None


@pytest.fixture(scope="module")
def on_minio(minio: StoreAddress, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    with running(tmp_path_factory.mktemp("on-minio"), **byos_settings(minio, **UNSAFE)) as appliance:
        yield appliance


def findings(address: StoreAddress, expected: Expectations = EXPECTED, *, fix: bool = False) -> dict[str, Finding]:
    return {finding.name: finding for finding in doctor.examine(ObjectStore(address), expected, fix=fix)}


def policy_of_compose(service: str) -> dict[str, Any]:
    """The policy that the compose file gives the appliance's user."""
    loaded = yaml.safe_load((ROOT / "docker-compose.minio.yml").read_text())
    found: dict[str, Any] = yaml.safe_load(loaded["configs"][service]["content"])
    return found


def test_the_doctor_finds_what_minio_believes(minio: StoreAddress, takes_forgeries: bool) -> None:
    found = findings(minio)
    if not takes_forgeries:
        assert found["forged"].outcome == "ok"
        pytest.skip("this build of MinIO refuses forged writes")
    assert (found["forged"].outcome, "unsigned-trailer" in found["forged"].detail) == ("failed", True)
    assert (found["copy-source"].outcome, found["unsigned-headers"].outcome) == ("warning", "warning")
    assert "x-amz-tagging" in found["unsigned-headers"].detail
    left = {name for name, finding in found.items() if finding.outcome == "failed"}
    assert left == {"forged"}
    off = findings(minio, replace(EXPECTED, bar_headers="off"))
    assert off["copy-source"].outcome == "failed"


def test_an_archive_that_nobody_signed_is_unpacked_by_the_same_build(minio: StoreAddress, takes_forgeries: bool) -> None:
    if not takes_forgeries:
        pytest.skip("this build of MinIO refuses forged writes")
    store, key = ObjectStore(minio), "pending/unpacked-by-test"
    (forgery,) = [
        one for one in forged_writes.forgeries(minio.access_key_id, minio.region, key) if one.name.startswith("an archive in one")
    ]
    answer = urllib3.request("PUT", f"{minio.endpoint}/{minio.bucket}/pending/x", body=forgery.body, headers=forgery.headers)
    stored = store.head(key)
    store.delete(key)
    assert (answer.status, stored is not None and stored.first_bytes) == (200, forged_writes.CONTENT), "the probe's archive is a real one"


def test_a_second_pair_that_can_only_write_closes_copies(minio: StoreAddress) -> None:
    write_only = {"Effect": "Allow", "Action": ["s3:PutObject"], "Resource": [f"arn:aws:s3:::{minio.bucket}/*"]}
    make_user(minio, "writes-only", "secret-of-the-writer", {"Version": "2012-10-17", "Statement": [write_only]})
    two = replace(minio, upload_access_key_id="writes-only", upload_secret_access_key="secret-of-the-writer")
    found = findings(two, replace(EXPECTED, bar_headers="off"))
    assert (found["copy-source"].outcome, found["upload-credentials"].outcome) == ("ok", "ok")
    assert {name for name, finding in found.items() if finding.outcome == "failed"} <= {"forged"}
    same = replace(minio, upload_access_key_id=minio.access_key_id, upload_secret_access_key=minio.secret_access_key)
    found = findings(same)
    assert (found["upload-credentials"].outcome, "read, list, delete" in found["upload-credentials"].detail) == ("failed", True)
    wrong = findings(replace(two, upload_secret_access_key="another"))
    assert "storage.byos.upload_secret_access_key" in wrong["put"].suggestion


def test_an_upload_url_reads_nothing_on_minio(minio: StoreAddress, on_minio: Appliance) -> None:
    secret = JPEG + b"top secret words of somebody else"
    private = on_minio.upload(secret)
    slot = on_minio.request(len(secret)).json
    assert "x-amz-copy-source" in parse_qs(urlsplit(slot["uploadUrl"]).query, keep_blank_values=True)
    for source in (f"/{minio.bucket}/{private['key']}", f"{minio.bucket}/{private['key']}"):
        for more in ({}, {"x-amz-metadata-directive": "REPLACE"}, {"x-amz-copy-source-range": "bytes=0-9"}):
            headers = {"Content-Type": "image/jpeg", "X-Amz-Copy-Source": source, **more}
            assert on_minio.fetch("PUT", slot["uploadUrl"], b"A" * len(secret), headers).status == 403
    assert on_minio.put(slot, JPEG.ljust(len(secret))).status == 200
    assert on_minio.read(on_minio.complete(slot).json["url"]).body == JPEG.ljust(len(secret))


def test_an_uploader_chooses_no_etag_on_minio(minio: StoreAddress, on_minio: Appliance) -> None:
    """By its ETag the copy is known to be what was looked at; a source that can be given the next one's could be swapped in between."""
    slot = on_minio.request(len(JPEG)).json
    for more in ({}, {"X-Minio-Source-Replication-Request": "true", "X-Minio-Source-Mtime": "2020-01-01T00:00:00Z"}):
        chosen = {"Content-Type": "image/jpeg", "X-Minio-Source-Etag": "0" * 31 + "1", **more}
        assert on_minio.fetch("PUT", slot["uploadUrl"], JPEG, chosen).status == 403
    assert ObjectStore(minio).head(f"pending/{slot['fileId']}") is None


def test_a_browser_puts_by_such_a_url(on_minio: Appliance) -> None:
    slot = on_minio.request(len(JPEG)).json
    put = """async ([url, bytes]) => {
        const answer = await fetch(url, {method: 'PUT', headers: {'Content-Type': 'image/jpeg'}, body: new Uint8Array(bytes)})
        return [answer.status, answer.headers.get('ETag') !== null]
    }"""
    with chromium() as browser:
        page = browser.new_page()
        page.goto(f"{on_minio.base}/healthz")
        assert page.evaluate(put, [slot["uploadUrl"], list(JPEG)]) == [200, True]
    assert on_minio.complete(slot).status == 200


def test_minio_is_refused_unless_it_is_allowed(minio: StoreAddress, takes_forgeries: bool, tmp_path: Path) -> None:
    if not takes_forgeries:
        pytest.skip("this build of MinIO refuses forged writes")
    appliance = Appliance(tmp_path, **byos_settings(minio))
    appliance._is_up = lambda: "no upload URL is signed" in appliance.log()  # type: ignore[method-assign]
    try:
        appliance.start()
        assert appliance.request().code == "STORAGE_UNAVAILABLE"
        assert appliance.fetch("GET", f"{appliance.base}/readyz").status == 503
    finally:
        appliance.kill()


def test_the_policies_of_the_compose_file_are_enough_and_no_more(minio: StoreAddress) -> None:
    for user in ("appliance", "uploads"):
        make_user(minio, f"compose-{user}", f"secret-of-{user}", policy_of_compose(f"{user}-policy"))
    ObjectStore(replace(minio, bucket="uploads")).create_bucket()
    address = replace(
        minio,
        bucket="uploads",
        access_key_id="compose-appliance",
        secret_access_key="secret-of-appliance",
        upload_access_key_id="compose-uploads",
        upload_secret_access_key="secret-of-uploads",
    )
    found = findings(address, fix=True)
    assert {name for name, finding in found.items() if finding.outcome == "failed"} <= {"forged"}
    assert found["list-parts"].outcome == found["lifecycle"].outcome == found["upload-credentials"].outcome == "ok"
    assert "uploadkit-multiparts (InvalidArgument)" in found["lifecycle"].detail
    assert findings(address)["lifecycle"].outcome == "ok"
    elsewhere = ObjectStore(replace(address, bucket=minio.bucket))
    with pytest.raises(Exception, match="denies"):
        elsewhere.ask("list_objects_v2")
    with pytest.raises(Exception, match="denies"):
        elsewhere.ask("put_object", Key="a", Body=b"a")


def test_the_setup_of_the_compose_file_makes_both_users_and_may_run_again(tmp_path: Path) -> None:
    mc, loaded = Path(program("mc")), yaml.safe_load((ROOT / "docker-compose.minio.yml").read_text())
    setup = loaded["services"]["minio-setup"]
    for config in setup["configs"]:
        (tmp_path / Path(config["target"]).name).write_text(loaded["configs"][config["source"]]["content"])
    (script,) = setup["command"]
    with started_minio(tmp_path) as root:
        environment = {
            "PATH": f"{mc.parent}:{os.defpath}",
            "STORE_URL": root.endpoint,
            "POLICIES": str(tmp_path),
            "MC_CONFIG_DIR": str(tmp_path / "mc"),
            "MINIO_ROOT_USER": root.access_key_id,
            "MINIO_ROOT_PASSWORD": root.secret_access_key,
            "STORE_SECRET": "a secret/with$odd 'signs",
            "UPLOAD_SECRET": "another-secret",
        }
        for _ in range(2):
            command = [*setup["entrypoint"], script.replace("$$", "$")]
            ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
            assert ran.returncode == 0, ran.stderr + ran.stdout
            assert "a secret" not in ran.stdout + ran.stderr
        of_appliance = loaded["services"]["appliance"]["environment"]
        address = replace(
            root,
            bucket="uploads",
            access_key_id=of_appliance["UPLOADKIT_STORAGE__BYOS__ACCESS_KEY_ID"],
            secret_access_key=environment["STORE_SECRET"],
            upload_access_key_id=of_appliance["UPLOADKIT_STORAGE__BYOS__UPLOAD_ACCESS_KEY_ID"],
            upload_secret_access_key=environment["UPLOAD_SECRET"],
        )
        found = findings(address, fix=True)
        assert {name for name, finding in found.items() if finding.outcome == "failed"} <= {"forged"}
        assert found["upload-credentials"].outcome == "ok"


def test_buckets_of_minio_that_lock(minio: StoreAddress) -> None:
    """Object Lock without and with a default retention: both told, and what the second one does to the rest as well."""
    address = replace(minio, bucket="locking")
    store = ObjectStore(address)
    store.ask("create_bucket", ObjectLockEnabledForBucket=True)
    found = findings(address)
    assert (found["object-lock"].outcome, found["delete"].outcome) == ("warning", "warning")
    assert "it keeps versions" in found["object-lock"].detail
    retention = {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}}}
    store.ask("put_object_lock_configuration", ObjectLockConfiguration=retention)
    found = findings(address)
    assert (found["object-lock"].outcome, "for 1 days" in found["object-lock"].detail) == ("failed", True)
    assert found["put"].outcome == "ok", "MinIO takes what AWS refuses: a PUT without a checksum"
    assert found["clean-up"].outcome == "ok", "what is deleted is hidden"


def test_weak_etags_before_minio(minio: StoreAddress, tmp_path: Path) -> None:
    upload_through_nginx(minio, tmp_path, **UNSAFE)


def test_versitygw_is_sound(tmp_path: Path) -> None:
    with started_versitygw(tmp_path) as address:
        found = findings(address, fix=True)
        assert {name for name, finding in found.items() if finding.outcome == "failed"} == set()
        assert (found["copy-source"].outcome, found["unsigned-headers"].outcome, found["forged"].outcome) == ("ok", "ok", "ok")
        with running(tmp_path / "appliance", **byos_settings(address)) as appliance:
            file = appliance.upload()
            assert "x-amz-copy-source" not in appliance.request().json["uploadUrl"]
            assert appliance.read(file["url"]).body == JPEG * 100


def test_versitygw_takes_both_cors_rules(tmp_path: Path) -> None:
    expected = replace(EXPECTED, cors_origins=("https://app.example", "capacitor://localhost"))
    with started_versitygw(tmp_path) as address:
        found = findings(address, expected, fix=True)
        assert [found[name].outcome for name in ("cors-rule", "cors-preflight", "cors-answer")] == ["ok", "ok", "ok"]
        assert "Vary: Origin" in findings(address, replace(expected, public_url="http://127.0.0.1:1"))["cors-answer"].suggestion


def test_a_narrow_minio_of_our_own_lets_a_redirected_page_read(tmp_path: Path) -> None:
    origins = ("https://app.example", "http://127.0.0.1:8080")
    asked = Minio(program("minio"), tmp_path, origins).serve(1, 2, Credentials(*"abcde"), None)
    with started_minio(tmp_path, MINIO_API_CORS_ALLOW_ORIGIN=asked.environment["MINIO_API_CORS_ALLOW_ORIGIN"]) as address:
        found = findings(address, replace(EXPECTED, cors_origins=origins))
        assert [found[name].outcome for name in ("cors-rule", "cors-preflight", "cors-answer")] == ["skipped", "ok", "ok"]
        elsewhere = findings(address, replace(EXPECTED, cors_origins=("https://other.example",)))
        assert elsewhere["cors-preflight"].outcome == "failed"


def test_the_bundled_minio_is_passed_over(minio: StoreAddress, takes_forgeries: bool) -> None:
    assert BundledStore.bucket == "uploads"
    assert takes_forgeries == (accepted_forgery(minio.endpoint, "no-such-bucket", minio.access_key_id, minio.region) is not None)
