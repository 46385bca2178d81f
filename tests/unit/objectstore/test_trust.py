"""A store that believes more than it should: found by doctor and start, closed by signing where that can be, refused otherwise."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import pytest

from tests.conftest import App
from tests.dashboard.visitors import new_admin
from tests.support.appliance import JPEG, Appliance, running, wait_until
from tests.support.believing_store import believing
from tests.support.clock import travelled_to
from tests.support.store_proxy import Answered, Asked, PassOn, Rule, proxied
from tests.support.stores import OtherStore, byos_settings
from uploadkit import config
from uploadkit.config import Config
from uploadkit.core import clock
from uploadkit.core.errors import StorageUnavailable
from uploadkit.objectstore import bucket_rules, doctor
from uploadkit.objectstore.address import StoreAddress
from uploadkit.objectstore.doctor import Expectations, Finding
from uploadkit.objectstore.store import ObjectStore
from uploadkit.objectstore.trust import StoreTrust

EXPECTED = replace(Expectations.of(Config()), section="storage.byos")
OTHERS = [
    ("x-amz-tagging", False, "warning"),
    ("x-amz-storage-class", False, "warning"),
    ("x-amz-meta-doctor", True, "warning"),  # there are too many names to bar
    ("x-amz-acl", False, "failed"),
]


@pytest.fixture
def bucket(other_store: OtherStore) -> Iterator[ObjectStore]:
    """A new bucket with a CORS rule; nothing of the doctor's may be left in it."""
    store = other_store.bucket(f"trust-{uuid4().hex}")
    bucket_rules.set_cors(store, ["*"])
    yield store
    left = [entry["Key"] for entry in store.ask("list_objects_v2").get("Contents", [])]
    assert not [key for key in left if "doctor-" in key]
    assert not store.ask("list_multipart_uploads").get("Uploads")


def findings(address: StoreAddress, expected: Expectations = EXPECTED) -> dict[str, Finding]:
    return {finding.name: finding for finding in doctor.examine(ObjectStore(address), expected)}


def outcomes(found: dict[str, Finding], *but: str) -> set[str]:
    return {name for name, finding in found.items() if finding.outcome in but}


# What the doctor finds.


def test_copies_that_signing_can_bar_are_a_warning_and_barred_from_there_on(bucket: ObjectStore) -> None:
    with proxied(bucket.address, believing(bucket.address)) as address:
        found = findings(address)
        assert outcomes(found, "failed", "warning") == {"copy-source"}
        assert found["copy-source"].outcome == "warning"
        assert doctor.safety(ObjectStore(address), EXPECTED, seconds=30).barred == ("x-amz-copy-source",)
        off = findings(address, replace(EXPECTED, bar_headers="off"))
        assert outcomes(off, "failed") == {"copy-source"}
        assert "reads every object" in off["copy-source"].detail


def test_copies_that_nothing_bars_are_a_fault(bucket: ObjectStore) -> None:
    with proxied(bucket.address, believing(bucket.address, holds_to_signed=False)) as address:
        found = findings(address)
        assert outcomes(found, "failed", "warning") == {"copy-source"}
        assert found["copy-source"].outcome == "failed"
        assert "upload_access_key_id" in found["copy-source"].suggestion


@pytest.mark.parametrize("only", ["part", "range"])
def test_copies_into_parts_alone_are_found(bucket: ObjectStore, only: str) -> None:
    obeys = believing(bucket.address, holds_to_signed=False)

    def rule(asked: Asked, pass_on: PassOn) -> Answered:
        names = {name.lower() for name in asked.headers}
        wanted = "partNumber" in asked.query and (only == "part" or "x-amz-copy-source-range" in names)
        return obeys(asked, pass_on) if wanted else pass_on(asked)

    with proxied(bucket.address, rule) as address:
        assert "on a part" in findings(address)["copy-source"].detail


def test_other_headers_are_barred_too_where_that_works(bucket: ObjectStore) -> None:
    with proxied(bucket.address, believing(bucket.address, ["x-amz-copy-source", "x-amz-tagging"])) as address:
        found = doctor.safety(ObjectStore(address), EXPECTED, seconds=30)
        assert found.barred == ("x-amz-copy-source", "x-amz-tagging")
        assert [(finding.name, finding.outcome) for finding in found.findings] == [
            ("copy-source", "warning"),
            ("unsigned-headers", "warning"),
        ]


@pytest.mark.parametrize(("header", "holds_to_signed", "outcome"), OTHERS)
def test_other_headers_that_are_obeyed_are_named(bucket: ObjectStore, header: str, holds_to_signed: bool, outcome: str) -> None:
    obeys = believing(bucket.address, [header], holds_to_signed=holds_to_signed)

    def rule(asked: Asked, pass_on: PassOn) -> Answered:
        if header == "x-amz-acl" and asked.method == "GET" and "X-Amz-Signature" not in asked.query and "-target" in asked.key:
            return pass_on(asked.signed_by(bucket.address, plain=True)) if opened else pass_on(asked)
        if header in {name.lower() for name in asked.headers}:
            opened.append(asked.key)
        return obeys(asked, pass_on)

    opened: list[str] = []
    with proxied(bucket.address, rule) as address:
        found = findings(address)["unsigned-headers"]
    assert (found.outcome, header in found.detail) == (outcome, True)


def test_headers_that_are_taken_and_ignored_are_no_fault(bucket: ObjectStore) -> None:
    def rule(asked: Asked, pass_on: PassOn) -> Answered:
        unsigned = [n for n in asked.headers if n.lower().startswith("x-amz-") and "X-Amz-Signature" in asked.query]
        for name in unsigned:
            asked = asked.without(name.lower())
        return pass_on(asked)

    with proxied(bucket.address, rule) as address:
        assert not outcomes(findings(address), "failed", "warning")


def answering(of: Callable[[Asked], bool], *answers: Answered) -> Rule:
    """A store that answers certain requests so, one after the other, the last one for ever."""
    left = list(answers)

    def rule(asked: Asked, pass_on: PassOn) -> Answered:
        if not of(asked):
            return pass_on(asked)
        return left.pop(0) if len(left) > 1 else left[0]

    return rule


def is_forged(asked: Asked) -> bool:
    return asked.method == "PUT" and "-forged" in asked.key


def test_only_a_refusal_is_a_refusal(bucket: ObjectStore) -> None:
    """MinIO believed the forger, and then told him that his checksum was wrong: 400."""
    with proxied(bucket.address, answering(is_forged, Answered.error(400, "XAmzContentChecksumMismatch"))) as address:
        found = findings(address)["forged"]
        assert (found.outcome, "HTTP 400" in found.detail) == ("warning", True)


def test_an_error_of_the_store_is_asked_again(bucket: ObjectStore) -> None:
    starting, refusal = Answered.error(503, "XMinioServerNotInitialized"), Answered.error(403, "AccessDenied")
    with proxied(bucket.address, answering(is_forged, starting, starting, refusal)) as address:
        assert findings(address)["forged"].outcome == "ok"


def test_a_forged_write_is_found_by_what_it_left(bucket: ObjectStore) -> None:
    def rule(asked: Asked, pass_on: PassOn) -> Answered:
        if is_forged(asked):
            pass_on(asked.signed_by(bucket.address, plain=True))
            return Answered.error(403, "AccessDenied")
        return pass_on(asked)

    with proxied(bucket.address, rule) as address:
        assert "has kept a forged write" in findings(address)["forged"].detail


# What the appliance makes of it.


def trust(app: App, address: StoreAddress, **settings: str) -> StoreTrust:
    environment = {f"UPLOADKIT_{name}": value for name, value in byos_settings(address, **settings).items()}
    made = StoreTrust(config.load(None, environment), ObjectStore(address, timeout_seconds=1))
    made.begin()
    return made


def test_a_new_store_is_not_used_before_it_was_looked_at(app: App, bucket: ObjectStore) -> None:
    asked = trust(app, bucket.address)
    with pytest.raises(StorageUnavailable, match="looked at first"):
        asked.store.presign_put("k", "text/plain", 1, 0, 60)
    assert asked.look_if_due() == 1
    assert asked.store.presign_put("k", "text/plain", 1, 0, 60)
    assert asked.look_if_due() == 0, "not before tomorrow"
    assert trust(app, bucket.address).store.distrust is None, "the next start goes by that"
    with proxied(bucket.address, lambda asked, pass_on: pass_on(asked)) as elsewhere:
        assert trust(app, elsewhere).store.distrust is not None, "another store is another store"


def test_no_answer_is_no_verdict(app: App, bucket: ObjectStore) -> None:
    away = [True]

    def rule(asked: Asked, pass_on: PassOn) -> Answered:
        return Answered(raw=[]) if away[0] else pass_on(asked)

    with proxied(bucket.address, rule) as address:
        asked = trust(app, address)
        assert asked.look_if_due() == 1
        assert asked.store.distrust is not None, "nothing is known, and no upload could be completed"
        away[0] = False
        assert asked.look_if_due() == 1, "a store that was away is asked again at once"
        assert (asked.store.distrust, asked.unanswered) == (None, "")
        away[0] = True
        again = trust(app, address)
        assert again.look_if_due() == 1
        assert again.unanswered
        assert again.store.distrust is None, "what was found last holds"


def test_half_an_answer_locks_nobody_out(app: App, bucket: ObjectStore) -> None:
    """The store takes uploads, and the network fails in the midst of the look."""

    def rule(asked: Asked, pass_on: PassOn) -> Answered:
        return Answered(raw=[]) if is_forged(asked) else pass_on(asked)

    with proxied(bucket.address, rule) as address:
        asked = trust(app, address)
        assert asked.look_if_due() == 1
        assert asked.unanswered
        assert asked.store.distrust is None


def test_a_store_that_hangs_keeps_nobody_for_long(app: App, bucket: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uploadkit.objectstore.trust._LOOK_SECONDS", -1)
    asked = trust(app, bucket.address)
    assert asked.look_if_due() == 1
    assert "too long" in asked.unanswered


def test_an_unsafe_store_is_refused_until_it_is_safe_or_allowed(app: App, bucket: ObjectStore) -> None:
    believes = [True]
    obeys = believing(bucket.address, holds_to_signed=False)

    def rule(asked: Asked, pass_on: PassOn) -> Answered:
        return obeys(asked, pass_on) if believes[0] else pass_on(asked)

    with proxied(bucket.address, rule) as address:
        asked = trust(app, address)
        asked.look_if_due()
        assert asked.verdict is not None
        assert asked.verdict.is_unsafe
        for refused in (asked.store.ensure_available, asked.store.ensure_trusted):
            with pytest.raises(StorageUnavailable, match="safety check"):
                refused()
        with pytest.raises(StorageUnavailable, match="safety check"):
            asked.store.presign_part("k", "u", 1, 1, 0, 60)
        assert asked.store.presign_read("GET", "k", "text/plain", "inline", 60), "files can be read"
        again = trust(app, address)
        assert again.store.distrust == asked.store.distrust, "from the first moment of the next start on"
        assert trust(app, address, STORAGE__BYOS__ALLOW_UNSAFE_STORE="true").store.distrust is None
        believes[0] = False
        assert again.look_if_due() == 1
        assert again.store.distrust is None, "without a restart"


def taking_forgeries(bucket: ObjectStore, rest: Rule) -> Rule:
    """A store that takes what nobody signed, and answers all else by another rule."""

    def rule(asked: Asked, pass_on: PassOn) -> Answered:
        return pass_on(asked.signed_by(bucket.address, plain=True)) if is_forged(asked) else rest(asked, pass_on)

    return rule


def test_an_unsafe_store_that_is_too_busy_to_say_so_again_stays_unsafe(app: App, bucket: ObjectStore) -> None:
    """Who wants it to be used may see to it that it has no time: forged writes are answered 503, honest ones are not."""
    busy = answering(is_forged, Answered.error(503, "SlowDown"))
    is_busy = [False]

    def rule(asked: Asked, pass_on: PassOn) -> Answered:
        return (busy if is_busy[0] else taking_forgeries(bucket, lambda asked, pass_on: pass_on(asked)))(asked, pass_on)

    with proxied(bucket.address, rule) as address:
        trusted = trust(app, address)
        trusted.look_if_due()
        assert trusted.store.distrust is not None
        is_busy[0] = True
        again = trust(app, address)
        assert again.look_if_due() == 1
        assert again.store.distrust is not None, "what was found last holds"


def test_a_store_that_is_busy_at_its_first_look_is_looked_at_again_soon(app: App, bucket: ObjectStore) -> None:
    is_busy = [True]
    busy = answering(is_forged, Answered.error(503, "SlowDown"))

    def rule(asked: Asked, pass_on: PassOn) -> Answered:
        return (busy if is_busy[0] else taking_forgeries(bucket, lambda asked, pass_on: pass_on(asked)))(asked, pass_on)

    with proxied(bucket.address, rule) as address, travelled_to(clock.now_ms()) as advance:
        trusted = trust(app, address)
        trusted.look_if_due()
        assert trusted.store.distrust is None
        is_busy[0] = False
        advance(61_000)
        assert trusted.look_if_due() == 1
        assert trusted.store.distrust is not None


def test_a_check_that_gets_no_answer_hides_no_hole(app: App, bucket: ObjectStore) -> None:
    no_parts = answering(lambda asked: asked.method == "POST" and "uploads" in asked.target, Answered.error(500, "InternalError"))
    with proxied(bucket.address, taking_forgeries(bucket, no_parts)) as address:
        trusted = trust(app, address)
        trusted.look_if_due()
        assert trusted.unanswered
        assert trusted.store.distrust is not None
        assert trust(app, address).store.distrust is not None


# The whole appliance.


def attack(appliance: Appliance, slot: dict[str, str], victim: str) -> int:
    headers = {"Content-Type": "image/jpeg", "x-amz-copy-source": victim}
    return appliance.fetch("PUT", slot["uploadUrl"], b"A" * int(slot["headers"]["Content-Length"]), headers).status  # type: ignore[index]


def test_urls_bar_copies_where_the_store_needs_that(tmp_path: Path, bucket: ObjectStore) -> None:
    secret = JPEG + b"top secret words of somebody else"
    with (
        proxied(bucket.address, believing(bucket.address)) as address,
        running(tmp_path, **byos_settings(address)) as appliance,
    ):
        outsider = appliance.new_key("--project", appliance.call("POST", "/projects", {"name": "Thief"}).json["slug"])
        private = appliance.upload(secret)
        slot = appliance.request(len(secret), key=outsider).json
        assert parse_qs(urlsplit(slot["uploadUrl"]).query, keep_blank_values=True)["x-amz-copy-source"] == [""]
        assert attack(appliance, slot, f"/{address.bucket}/{private['key']}") == 403
        assert appliance.put(slot, JPEG.ljust(len(secret))).status == 200
        done = appliance.complete(slot, key=outsider)
        assert appliance.read(done.json["url"]).body == JPEG.ljust(len(secret))
        content = b"\x00\x00\x00\x18ftypmp42".ljust(11 * 1024**2, b"\x01")
        body = {"fileName": "f.mp4", "fileSize": len(content), "contentType": "video/mp4", "routeSlug": "default"}
        begun = appliance.call("POST", "/upload/multipart/init", body).json
        for part in begun["parts"]:
            piece = content[(part["partNumber"] - 1) * begun["partSize"] :][: begun["partSize"]]
            stolen = {"x-amz-copy-source": f"/{address.bucket}/{private['key']}"}
            assert appliance.fetch("PUT", part["uploadUrl"], piece, stolen).status == 403
            assert appliance.fetch("PUT", part["uploadUrl"], piece).status == 200
        joined = appliance.call("POST", "/upload/multipart/complete", {"fileId": begun["fileId"], "uploadId": begun["uploadId"]})
        assert appliance.read(joined.json["url"]).body == content
        assert "the store obeys x-amz-copy-source" in appliance.log()
        assert appliance.run("doctor").returncode == 0


def test_a_start_with_an_unsafe_store_is_loud_and_signs_nothing(tmp_path: Path, bucket: ObjectStore) -> None:
    believes = [False]
    obeys = believing(bucket.address, holds_to_signed=False)

    def rule(asked: Asked, pass_on: PassOn) -> Answered:
        return obeys(asked, pass_on) if believes[0] else pass_on(asked)

    with proxied(bucket.address, rule) as address, running(tmp_path, **byos_settings(address)) as appliance:
        file = appliance.upload()
        under_way = appliance.request(len(JPEG)).json
        assert appliance.put(under_way, JPEG).status == 200
        appliance.stop()
        believes[0] = True
        appliance.start()  # goes by what was found last, until it has looked again
        wait_until(lambda: appliance.fetch("GET", f"{appliance.base}/readyz").status == 503, what="the look")
        ready = json.loads(appliance.fetch("GET", f"{appliance.base}/readyz").body)
        assert "safety check" in ready["checks"]["storage"]["detail"]
        refused = appliance.request()
        assert (refused.status, refused.code) == (503, "STORAGE_UNAVAILABLE")
        assert "copy" not in refused.body.decode(), "which check it was is nobody's business"
        assert appliance.complete(under_way).status == 503, "what a copy may have brought is not published"
        assert appliance.read(file["url"]).body == JPEG * 100
        page = new_admin(appliance).get("/dashboard/storage").body.decode()
        assert "No upload URL is signed until this is fixed." in page
        assert "x-amz-copy-source on an upload although nobody signed it" in page
        assert "the store is not safe: no upload URL is signed" in appliance.log()
        appliance.stop()
        appliance.environment["UPLOADKIT_STORAGE__BYOS__ALLOW_UNSAFE_STORE"] = "true"
        appliance.start()
        assert appliance.complete(under_way).status == 200
        wait_until(lambda: "upload URLs are signed all the same" in appliance.log(), what="the warning")
