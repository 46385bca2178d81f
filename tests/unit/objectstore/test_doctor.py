"""The doctor against a real store, and against one that a proxy makes unsound in one way after the other."""

from __future__ import annotations

import base64
import hashlib
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from tests.support.appliance import ROOT, Appliance, running, wait_until
from tests.support.store_proxy import Answered, Asked, Rule, minimal_permissions, proxied
from tests.support.stores import OtherStore, byos_settings
from uploadkit.config import Config
from uploadkit.objectstore import bucket_rules, doctor
from uploadkit.objectstore.address import StoreAddress
from uploadkit.objectstore.doctor import Expectations, Finding
from uploadkit.objectstore.store import CopyRefused, ObjectStore

PassOn = Callable[[Asked], Answered]
EXPECTED = replace(Expectations.of(Config()), section="storage.byos")


@pytest.fixture
def bucket(other_store: OtherStore) -> Iterator[ObjectStore]:
    """A new bucket with a CORS rule, as its owner sees it; nothing may be left in it."""
    store = other_store.bucket(f"doctor-{uuid4().hex}")
    bucket_rules.set_cors(store, ["*"])
    yield store
    assert contents(store) == []
    store.ask("delete_bucket")


@pytest.fixture
def bare_bucket(other_store: OtherStore) -> Iterator[ObjectStore]:
    """A new bucket as providers make them: without a CORS rule."""
    store = other_store.bucket(f"doctor-{uuid4().hex}")
    yield store
    store.ask("delete_bucket")


def contents(store: ObjectStore) -> list[str]:
    """Everything in a bucket, unfinished multipart uploads included."""
    objects = [entry["Key"] for entry in store.ask("list_objects_v2").get("Contents", [])]
    return objects + [entry["Key"] for entry in store.ask("list_multipart_uploads").get("Uploads", [])]


def findings(address: StoreAddress, expected: Expectations = EXPECTED, *, fix: bool = False) -> dict[str, Finding]:
    return {finding.name: finding for finding in doctor.examine(ObjectStore(address), expected, fix=fix)}


def failed(found: dict[str, Finding]) -> list[str]:
    assert all(finding.suggestion for finding in found.values() if finding.outcome in ("failed", "warning")), "a fault without a suggestion"
    return [name for name, finding in found.items() if finding.outcome == "failed"]


def test_a_sound_bucket_is_in_order(bucket: ObjectStore) -> None:
    found = findings(bucket.address)
    assert {name for name, finding in found.items() if finding.outcome == "skipped"} == {"public-url", "lifecycle", "upload-credentials"}
    assert {finding.outcome for finding in found.values()} == {"ok", "skipped"}
    assert len(found) == 30


def test_nothing_is_left_wherever_it_is_broken_off(bucket: ObjectStore) -> None:
    store = ObjectStore(bucket.address)
    count = len(list(doctor.examine(store, EXPECTED)))
    for steps in range(5, count):
        examination = doctor.examine(store, EXPECTED)
        with closing(examination):
            for _ in range(steps):
                next(examination)
        assert contents(bucket) == [], steps


def changed(name: str, value: str, *, of: Callable[[Asked], bool] = lambda asked: True) -> Rule:
    def rule(asked: Asked, pass_on: PassOn) -> Answered:
        answered = pass_on(asked)
        if of(asked):
            answered.headers = {n: v for n, v in answered.headers.items() if n.lower() != name.lower()} | ({name: value} if value else {})
        return answered

    return rule


def believing(owner: StoreAddress, what: Callable[[Asked], bool]) -> Rule:
    """A store that takes some requests as if they were signed."""

    def rule(asked: Asked, pass_on: PassOn) -> Answered:
        return pass_on(asked.signed_by(owner, plain=True) if what(asked) else asked)

    return rule


def of_refusals(asked: Asked) -> bool:
    return asked.method == "PUT" and ("-refused" in asked.key or "-elsewhere" in asked.key)


UNSOUND: dict[str, tuple[Callable[[StoreAddress], Rule], list[str]]] = {
    "takes any PUT": (
        lambda owner: believing(owner, of_refusals),
        ["wrong-length", "wrong-type", "tampered-signature", "expired-url"],
    ),
    "takes forged writes": (
        lambda owner: believing(owner, lambda asked: "-forged" in asked.key and "Authorization" not in asked.headers),
        ["forged"],
    ),
    "clock": (lambda owner: changed("Date", "Sat, 21 Nov 2015 06:00:00 GMT"), ["clock"]),
    "no CORS": (lambda owner: changed("Access-Control-Allow-Origin", ""), ["cors-preflight", "cors-answer"]),
    "no exposed ETag": (lambda owner: changed("Access-Control-Expose-Headers", ""), ["cors-answer"]),
    "types of its own": (
        lambda owner: changed("Content-Type", "text/html", of=lambda asked: asked.method == "GET"),
        ["get", "read", "complete-multipart"],
    ),
    "no disposition": (lambda owner: changed("Content-Disposition", ""), ["read", "copy"]),
}  # fmt: skip


@pytest.mark.parametrize("kind", UNSOUND)
def test_what_is_wrong_is_found_and_nothing_else(bucket: ObjectStore, kind: str) -> None:
    rule, expected = UNSOUND[kind]
    with proxied(bucket.address, rule(bucket.address)) as address:
        assert failed(findings(address)) == expected


def test_a_bucket_without_a_cors_rule_is_a_finding_that_fix_mends(bare_bucket: ObjectStore) -> None:
    found = findings(bare_bucket.address)
    assert failed(found) == ["cors-rule"], "this engine answers every web page without a rule"
    assert "doctor --fix" in found["cors-rule"].suggestion
    assert failed(findings(bare_bucket.address, fix=True)) == []
    assert failed(findings(bare_bucket.address)) == []


def test_a_store_without_cors_per_bucket_is_judged_by_what_it_answers(bare_bucket: ObjectStore) -> None:
    def without_cors_per_bucket(asked: Asked, pass_on: PassOn) -> Answered:
        return Answered.error(501, "NotImplemented") if asked.method == "PUT" and "cors" in asked.query else pass_on(asked)

    with proxied(bare_bucket.address, without_cors_per_bucket) as address:
        found = findings(address, fix=True)
        assert (failed(found), found["cors-rule"].outcome) == ([], "skipped")
    for header, value in (("Server", "MinIO"), ("X-Minio-Error-Code", "NoSuchKey")):  # the latter comes through a proxy
        with proxied(bare_bucket.address, changed(header, value)) as address:
            found = findings(address)
            assert (failed(found), found["cors-rule"].outcome) == ([], "skipped")


def test_rules_are_sent_with_the_checksum_that_older_stores_want(bare_bucket: ObjectStore) -> None:
    sent = []

    def listen(asked: Asked, pass_on: PassOn) -> Answered:
        if asked.method == "PUT" and not asked.key:
            sent.append(asked)
        return as_another_engine(asked, pass_on)

    with proxied(bare_bucket.address, listen) as address:
        assert failed(findings(address, fix=True)) == []
    assert [list(asked.query) for asked in sent] == [["cors"], ["lifecycle"]]
    for asked in sent:
        assert asked.headers["Content-MD5"] == base64.b64encode(hashlib.md5(asked.body).digest()).decode()


def outcomes(found: dict[str, Finding]) -> list[str]:
    return [found[name].outcome for name in ("cors-rule", "cors-preflight", "cors-answer")]


def test_the_rule_of_a_version_before_keeps_out_pages_that_trace_and_fix_replaces_it(bucket: ObjectStore) -> None:
    headers = {"AllowedHeaders": ["content-type"], "ExposeHeaders": ["ETag"], "MaxAgeSeconds": 3600}
    before = {"AllowedMethods": ["PUT", "GET", "HEAD"], **headers}
    for origins, reported in (("*", ["warning", "warning", "ok"]), ("https://app.example", ["failed", "warning", "failed"])):
        bucket.ask("put_bucket_cors", CORSConfiguration={"CORSRules": [{"AllowedOrigins": [origins], **before}]})
        expected = replace(EXPECTED, cors_origins=(origins,))
        found = findings(bucket.address, expected)
        assert outcomes(found) == reported
        assert "null" in found["cors-answer"].detail or origins == "*", "after the redirect from /f/"
        assert outcomes(findings(bucket.address, expected, fix=True)) == ["ok", "ok", "ok"]
        assert bucket_rules.read_cors(bucket) == bucket_rules.cors_rules([origins])


def test_headers_by_name_are_enough(bucket: ObjectStore) -> None:
    """R2 gets them so."""
    rules = bucket_rules.cors_rules(["https://app.example", "capacitor://localhost"], by_name=True)
    assert all("*" not in rule["AllowedHeaders"] for rule in rules)
    bucket.ask("put_bucket_cors", CORSConfiguration={"CORSRules": rules})
    expected = replace(EXPECTED, cors_origins=("https://app.example", "capacitor://localhost"))
    assert outcomes(findings(bucket.address, expected)) == ["ok", "ok", "ok"]


def test_a_store_that_does_not_vary_by_origin_is_told_where_it_matters(bucket: ObjectStore) -> None:
    expected = replace(EXPECTED, public_url="http://127.0.0.1:1")
    with proxied(bucket.address, changed("Vary", "", of=lambda asked: "Origin" not in asked.headers)) as address:
        assert findings(address)["cors-answer"].outcome == "ok", "the appliance's own links have two URLs"
        found = findings(address, expected)["cors-answer"]
        assert (found.outcome, "Vary: Origin" in found.suggestion) == ("warning", True)
    assert findings(bucket.address, expected)["cors-answer"].outcome == "ok"


def test_fix_keeps_the_rules_of_others_and_replaces_its_own(bucket: ObjectStore) -> None:
    theirs = {"AllowedOrigins": ["https://theirs.example"], "AllowedMethods": ["GET"], "AllowedHeaders": ["range"], "MaxAgeSeconds": 5}
    bucket_rules.set_cors(bucket, ["https://old.example"], [theirs])
    expected = replace(EXPECTED, cors_origins=("https://new.example", "https://*.wild.example"))
    assert failed(findings(bucket.address, expected)) == ["cors-rule", "cors-preflight", "cors-answer"]
    assert failed(findings(bucket.address, expected, fix=True)) == []
    *ours, kept = bucket_rules.read_cors(bucket)
    assert ours == bucket_rules.cors_rules(expected.cors_origins)
    assert failed(findings(bucket.address, expected, fix=True)) == []
    assert len(bucket_rules.read_cors(bucket)) == 3
    assert kept["AllowedOrigins"] == theirs["AllowedOrigins"]


def as_another_engine(asked: Asked, pass_on: PassOn) -> Answered:
    return changed("Server", "AnotherStore")(asked, pass_on)


def test_fix_sets_lifecycle_rules_beside_those_of_others(bucket: ObjectStore) -> None:
    theirs = {"ID": "theirs", "Status": "Enabled", "Filter": {"Prefix": "logs/"}, "Expiration": {"Days": 9}}
    bucket.ask("put_bucket_lifecycle_configuration", LifecycleConfiguration={"Rules": [theirs]})
    with proxied(bucket.address, as_another_engine) as address:
        assert findings(address)["lifecycle"].outcome == "warning"
        assert findings(address, fix=True)["lifecycle"].outcome == "ok"
        assert findings(address)["lifecycle"].outcome == "ok"
        rules = {rule["ID"]: rule for rule in bucket_rules.read_lifecycle(bucket)}
        assert set(rules) == {"theirs", "uploadkit-pending", "uploadkit-test", "uploadkit-multiparts"}
        # An hour for the URL and 5.7 h for 5 GiB on the slowest line; a day; 5 TiB in parts on the slowest line. And a day more.
        days = (rules["uploadkit-pending"]["Expiration"], rules["uploadkit-test"]["Expiration"])
        assert days == ({"Days": 2}, {"Days": 2})
        assert rules["uploadkit-multiparts"]["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 244}

        longer = replace(EXPECTED, days=replace(EXPECTED.days, test=9))
        assert "9 are needed" in findings(address, longer)["lifecycle"].detail
        assert findings(address, longer, fix=True)["lifecycle"].outcome == "ok"

        everything = {"ID": "all", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 30}}
        bucket.ask("put_bucket_lifecycle_configuration", LifecycleConfiguration={"Rules": [everything]})
        assert "all objects deletes after 30" in findings(address, fix=True)["lifecycle"].detail


def test_lifecycle_rules_are_set_one_by_one_where_one_is_refused(bucket: ObjectStore) -> None:
    """As MinIO does: it takes expirations, and nothing about multipart uploads."""

    def rule(asked: Asked, pass_on: PassOn) -> Answered:
        if asked.method == "PUT" and "lifecycle" in asked.query and any(word in asked.body for word in refused):
            return Answered.error(400, "InvalidArgument")
        return as_another_engine(asked, pass_on)

    refused = [b"AbortIncompleteMultipartUpload"]
    theirs = {"ID": "theirs", "Status": "Enabled", "Filter": {"Prefix": "logs/"}, "Expiration": {"Days": 9}}
    bucket.ask("put_bucket_lifecycle_configuration", LifecycleConfiguration={"Rules": [theirs]})
    with proxied(bucket.address, rule) as address:
        found = findings(address, fix=True)["lifecycle"]
        assert (found.outcome, "uploadkit-multiparts (InvalidArgument)" in found.detail) == ("warning", True)
        assert {rule["ID"] for rule in bucket_rules.read_lifecycle(bucket)} == {"theirs", "uploadkit-pending", "uploadkit-test"}
        assert "access_key_id" not in found.suggestion
        refused.append(b"Expiration")
        bucket.ask("put_bucket_lifecycle_configuration", LifecycleConfiguration={"Rules": [theirs]})
        found = findings(address, fix=True)["lifecycle"]
        assert (found.outcome, "access_key_id" in found.suggestion) == ("failed", False), "the credentials have done all the rest"
        assert [rule["ID"] for rule in bucket_rules.read_lifecycle(bucket)] == ["theirs"]


LOCK = b"<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled>%b</ObjectLockConfiguration>"
RETENTION = b"<Rule><DefaultRetention><Mode>GOVERNANCE</Mode><Days>30</Days></DefaultRetention></Rule>"


@pytest.mark.parametrize(("rule_of_lock", "outcome"), [(RETENTION, "failed"), (b"", "warning")])
def test_a_bucket_that_locks_objects_is_told_as_that(bucket: ObjectStore, rule_of_lock: bytes, outcome: str) -> None:
    def rule(asked: Asked, pass_on: PassOn) -> Answered:
        if asked.method == "GET" and "object-lock" in asked.query:
            return Answered(200, {"Content-Type": "application/xml"}, LOCK % rule_of_lock)
        if asked.method == "PUT" and asked.key and rule_of_lock:
            return Answered.error(400, "InvalidRequest")
        return pass_on(asked)

    with proxied(bucket.address, rule) as address:
        found = findings(address)
    assert (found["object-lock"].outcome, "Object Lock" in found["object-lock"].detail) == (outcome, True)
    if rule_of_lock:
        assert "30 days" in found["object-lock"].detail
        assert "Object Lock" in found["put"].suggestion
        assert "access_key_id" not in found["put"].suggestion


def test_temporary_credentials_are_told_as_that(bucket: ObjectStore) -> None:
    with proxied(bucket.address, lambda asked, pass_on: Answered.error(403, "InvalidTokenId")) as address:
        found = findings(address)["bucket"]
    assert (found.outcome, "temporary credentials" in found.suggestion) == ("failed", True)


def test_a_lost_host_header_is_explained(bucket: ObjectStore) -> None:
    def lose_host(asked: Asked, pass_on: PassOn) -> Answered:
        return pass_on(replace(asked, headers={**asked.headers, "Host": "store.internal"}))

    with proxied(bucket.address, lose_host) as behind_proxy:
        found = findings(replace(bucket.address, public_endpoint=behind_proxy.endpoint))
    assert failed(found) == ["public-endpoint"]
    assert "Host header" in found["public-endpoint"].suggestion


def test_an_unreachable_public_endpoint_is_named(bucket: ObjectStore) -> None:
    found = findings(replace(bucket.address, public_endpoint="http://127.0.0.1:9"))
    assert failed(found) == ["public-endpoint"]
    assert "storage.byos.public_endpoint" in found["public-endpoint"].suggestion


def etags_of_their_own(*more: tuple[str, str]) -> Rule:
    """A store whose copies have another ETag than their source."""

    def rule(asked: Asked, pass_on: PassOn) -> Answered:
        answered = pass_on(asked)
        if asked.is_copy and answered.status == 200:
            start = answered.body.index(b"<ETag>") + 6
            answered.body = answered.body[:start] + b"&quot;" + b"7" * 32 + b"&quot;" + answered.body[answered.body.index(b"</ETag>") :]
            answered.headers |= dict(more)
        return answered

    return rule


def test_with_kms_encryption_a_source_that_changed_is_still_refused(bucket: ObjectStore) -> None:
    """Also where the store ignores the condition, so that nothing but the second look at the source can tell."""
    kms = etags_of_their_own(("x-amz-server-side-encryption", "aws:kms"))

    def change_before_copy(asked: Asked, pass_on: PassOn) -> Answered:
        if asked.is_copy:
            bucket.ask("put_object", Key="pending/source", Body=b"other")
            asked = asked.without("x-amz-copy-source-if-match").signed_by(bucket.address)
        return kms(asked, pass_on)

    bucket.ask("put_object", Key="pending/source", Body=b"first")
    stored = bucket.head("pending/source")
    assert stored is not None
    with proxied(bucket.address, change_before_copy) as address, pytest.raises(CopyRefused):
        ObjectStore(address).copy("pending/source", stored, "target", "text/plain", "inline")
    with proxied(bucket.address, kms) as address:
        again = bucket.head("pending/source")
        assert again is not None
        assert ObjectStore(address).copy("pending/source", again, "target", "text/plain", "inline") == "7" * 32
    bucket.delete("pending/source")
    bucket.delete("target")


def test_copies_with_an_etag_of_their_own_are_believed_with_kms_encryption_only(bucket: ObjectStore) -> None:
    with proxied(bucket.address, etags_of_their_own(("x-amz-server-side-encryption", "aws:kms"))) as address:
        found = findings(address)
        assert failed(found) == []
        assert "KMS" in found["copy"].detail
    with proxied(bucket.address, etags_of_their_own()) as address:
        found = findings(address)
        assert failed(found) == ["copy"]
        assert "every upload" in found["copy"].detail


def public_to(owner: StoreAddress, *, pending: bool = True) -> Rule:
    def is_anonymous(asked: Asked) -> bool:
        signed = "X-Amz-Signature" in asked.query or "Authorization" in asked.headers
        return asked.method == "GET" and not signed and (pending or not asked.key.startswith("pending/"))

    return believing(owner, is_anonymous)


def test_a_public_bucket_is_a_warning_and_with_private_routes_a_fault(bucket: ObjectStore) -> None:
    with proxied(bucket.address, public_to(bucket.address)) as address:
        for expected in (EXPECTED, replace(EXPECTED, public_url=f"{address.endpoint}/{address.bucket}")):
            found = findings(address, expected)["anonymous"]
            assert found.outcome == "warning"
            assert "pending/" in found.detail
            assert "private file routes" in found.detail
        assert failed(findings(address, replace(EXPECTED, has_private_routes=True))) == ["anonymous"]
    # A policy may well open everything but pending/: a private file itself is asked for.
    bucket.ask("put_object", Key="project/private/file", Body=b"secret")
    private = replace(EXPECTED, has_private_routes=True, private_key="project/private/file")
    with proxied(bucket.address, public_to(bucket.address, pending=False)) as address:
        assert failed(findings(address)) == []
        assert failed(findings(address, private)) == ["anonymous"]
        on_cdn = f"{address.endpoint}/{address.bucket}"
        found = findings(bucket.address, replace(private, public_url=on_cdn))
        assert failed(found) == ["public-url"]
        assert "private file routes" in found["public-url"].detail
    bucket.delete("project/private/file")


def test_a_cdn_must_not_serve_pending(bucket: ObjectStore) -> None:
    with proxied(bucket.address, public_to(bucket.address)) as address:
        found = findings(bucket.address, replace(EXPECTED, public_url=f"{address.endpoint}/{address.bucket}"))
        assert failed(found) == ["public-url"]
        assert "/pending/" in found["public-url"].suggestion
    with proxied(bucket.address, public_to(bucket.address, pending=False)) as address:
        found = findings(bucket.address, replace(EXPECTED, public_url=f"{address.endpoint}/{address.bucket}"))
        assert found["public-url"].outcome == "ok"
    found = findings(bucket.address, replace(EXPECTED, public_url="http://127.0.0.1:9"))
    assert found["public-url"].outcome == "warning"


@pytest.mark.parametrize(
    ("wrong", "check", "suggestion"),
    [
        ({"bucket": "nobody-made-me"}, "bucket", "storage.byos.bucket"),
        ({"secret_access_key": "wrong"}, "bucket", "storage.byos.secret_access_key"),
        ({"access_key_id": "wrong"}, "bucket", "storage.byos.access_key_id"),
        ({"endpoint": "http://127.0.0.1:9", "public_endpoint": "http://127.0.0.1:9"}, "reach", "storage.byos.endpoint"),
    ],
)
def test_wrong_settings_are_named(bucket: ObjectStore, wrong: dict[str, str], check: str, suggestion: str) -> None:
    found = findings(replace(bucket.address, **wrong))  # type: ignore[arg-type]
    assert failed(found) == [check]
    assert suggestion in found[check].suggestion
    assert found["put"] == Finding("put", "skipped", "needs bucket")


def test_fix_makes_a_missing_bucket_if_it_may(other_store: OtherStore) -> None:
    store = ObjectStore(replace(other_store.address, bucket=f"made-{uuid4().hex}"), may_create_bucket=True)
    outcomes = [finding.name for finding in doctor.examine(store, EXPECTED, fix=True) if finding.outcome == "failed"]
    assert outcomes == []
    store.ask("delete_bucket")


def test_minimal_permissions_are_enough_and_what_they_miss_is_named(bucket: ObjectStore) -> None:
    with proxied(bucket.address, minimal_permissions(bucket.address)) as address:
        found = findings(address)
        assert failed(found) == []
        missing = {
            name: finding.suggestion
            for name, finding in found.items()
            if finding.outcome not in ("ok", "skipped") or "s3:" in finding.suggestion
        }
        assert set(missing) == {"list-parts", "cors-rule", "lifecycle"}
        assert "s3:ListMultipartUploadParts" in missing["list-parts"]
        assert "s3:GetBucketCORS" in missing["cors-rule"]
        found = findings(address, fix=True)
        assert failed(found) == ["cors-rule", "lifecycle"]
        assert "s3:PutBucketCORS" in found["cors-rule"].suggestion
        assert "s3:PutLifecycleConfiguration" in found["lifecycle"].suggestion


@pytest.mark.parametrize(
    ("denied", "check", "permission"),
    [
        (lambda asked: asked.method == "PUT" and not asked.is_copy, "put", "s3:PutObject"),
        (lambda asked: asked.method == "GET" and "-object" in asked.key, "get", "s3:GetObject"),
        (lambda asked: asked.method == "DELETE" and "uploadId" in asked.query, "abort-multipart", "s3:AbortMultipartUpload"),
        (lambda asked: asked.method == "DELETE" and "uploadId" not in asked.query, "delete", "s3:DeleteObject"),
    ],
)
def test_each_missing_permission_is_named(bucket: ObjectStore, denied: Callable[[Asked], bool], check: str, permission: str) -> None:
    def rule(asked: Asked, pass_on: PassOn) -> Answered:
        return Answered.error(403, "AccessDenied") if denied(asked) else pass_on(asked)

    with proxied(bucket.address, rule) as address:
        found = findings(address)
    assert check in failed(found)
    assert permission in found[check].suggestion
    # What could not be deleted is told, none of it and nothing else is there.
    left = contents(bucket)
    assert all(key in found["clean-up"].detail for key in left)
    assert (found["clean-up"].outcome == "failed") == bool(left)
    for key in left:
        bucket.delete(key)
        bucket.abort_all_multiparts(key)


# The command.


def test_the_command_beside_a_running_appliance_and_without_one(tmp_path: Path) -> None:
    with running(tmp_path) as appliance:
        beside = appliance.run("doctor", "--json")
        assert (beside.returncode, beside.stderr) == (0, "")
        assert json.loads(beside.stdout)["ok"]
    alone = appliance.run("doctor")
    assert alone.returncode == 0
    assert "its store is started for this" in alone.stderr
    assert "Bucket uploads is in order." in alone.stdout
    assert not (appliance.data_dir / "store" / "address").exists()
    secret = json.loads((appliance.data_dir / "store-credentials.json").read_text())["secret_access_key"]
    assert secret not in beside.stdout + alone.stdout + alone.stderr


def test_the_command_fails_with_1_and_a_wrong_setting_with_2(tmp_path: Path, bare_bucket: ObjectStore) -> None:
    appliance = Appliance(tmp_path, **byos_settings(bare_bucket.address))
    found = appliance.run("doctor")
    assert found.returncode == 1
    assert "1 check(s) failed: cors-rule" in found.stdout
    assert not appliance.data_dir.exists(), "a bucket of one's own is looked at before anything is made here"
    assert appliance.run("doctor", "--fix").returncode == 0
    assert appliance.run("doctor", UPLOADKIT_STORAGE__BYOS__BUCKET="").returncode == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_clears_up_when_it_is_interrupted(tmp_path: Path, bucket: ObjectStore, number: signal.Signals) -> None:
    reached, goes_on = threading.Event(), threading.Event()

    def wait_at_the_list_of_parts(asked: Asked, pass_on: PassOn) -> Answered:
        if asked.method == "GET" and "uploadId" in asked.query:
            reached.set()
            goes_on.wait(60)
        return pass_on(asked)

    with proxied(bucket.address, wait_at_the_list_of_parts) as address:
        appliance = Appliance(tmp_path, **byos_settings(address))
        command = [sys.executable, str(ROOT / "app.py"), "doctor"]
        process = subprocess.Popen(command, env=appliance.environment, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            assert reached.wait(60)
            assert len(contents(bucket)) > 1
            process.send_signal(number)
            assert process.wait(60) == 1
        finally:
            goes_on.set()
            process.kill()
            process.wait()
    assert contents(bucket) == []


def test_the_start_warns_of_an_open_bucket_with_private_routes(tmp_path: Path, bare_bucket: ObjectStore) -> None:
    with proxied(bare_bucket.address, public_to(bare_bucket.address)) as address, running(tmp_path, **byos_settings(address)) as appliance:
        made = appliance.run("routes", "create", "secret", "--visibility", "private")
        assert made.returncode == 0, made.stderr
        assert "anonymous" not in appliance.log()
        appliance.stop()
        appliance.start()
        wait_until(lambda: "the bucket answers anonymous GETs" in appliance.log(), what="the warning")
        wait_until(lambda: contents(bare_bucket) == [], what="the clearing")
