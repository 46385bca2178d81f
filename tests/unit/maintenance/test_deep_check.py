"""`reconcile --deep`: what a store has lost, damaged or had replaced is named, exactly; an interrupted pass goes on where it was."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import App, new_app
from tests.support.appliance import JPEG, ROOT, Appliance, running, wait_until
from tests.support.bundled_stores import own_store, upload_in_parts
from tests.support.sample_files import SINGLE_BYTES, film, in_parts, jpeg, single
from tests.support.store_proxy import Answered, Asked, PassOn, Rule, proxied
from tests.support.stored import objects
from uploadkit.config import BundledConfig
from uploadkit.core.errors import Conflict, StorageUnavailable
from uploadkit.core.sizes import MIB
from uploadkit.db.models import File
from uploadkit.maintenance import deep_check, reconcile
from uploadkit.maintenance.deep_check import Pass
from uploadkit.maintenance.object_check import PIECE_BYTES, Stopped
from uploadkit.objectstore.address import StoreAddress
from uploadkit.objectstore.bundled.supervisor import BundledStore
from uploadkit.objectstore.store import ObjectStore

pytestmark = pytest.mark.long


def deep(app: App, **more: object) -> Pass:
    given: dict[str, object] = {"since_ms": None, "bytes_per_second": None, "anew": False, "stopping": threading.Event(), **more}
    return deep_check.run(app.ctx.config, app.ctx.store, **given)  # type: ignore[arg-type]


def damaged(found: Pass) -> dict[str, str]:
    return {one.key: one.damage.kind for one in found.damaged}


# Damage in the store's own files.


@contextmanager
def started(home: Path) -> Iterator[ObjectStore]:
    engine = BundledStore(
        BundledConfig(engine="seaweedfs", port=0, max_disk_bytes="2GB"), home, listen_host="127.0.0.1", public_host="127.0.0.1"
    )
    engine.start()
    try:
        address = StoreAddress(
            engine.endpoint, engine.public_endpoint, engine.region, "uploads", "path", engine.access_key_id, engine.secret_access_key
        )
        store = ObjectStore(address, timeout_seconds=1)
        store.create_bucket()
        yield store
    finally:
        engine.stop()


def places_of(home: Path, mark: bytes) -> Iterator[tuple[Path, int]]:
    """Where the store's volumes have `mark` first: a single upload is in one of them twice, or in two."""
    for path in home.rglob("*.dat"):
        if (at := path.read_bytes().find(mark)) >= 0:
            yield path, at


def flip(home: Path, mark: bytes) -> None:
    for path in home.rglob("*.dat"):
        path.write_bytes(path.read_bytes().replace(mark, b"X" + mark[1:]))


def is_read_as_sent(store: ObjectStore, key: str, content: bytes) -> bool:
    try:
        return b"".join(store.read(key, store.read_piece(key, 0, 1).stored.etag, 0, len(content), MIB)) == content  # type: ignore[union-attr]
    except StorageUnavailable:
        return False


def test_flipped_bits_and_cut_off_files_are_named_exactly(tmp_path: Path) -> None:
    nowhere = ObjectStore(StoreAddress("http://127.0.0.1:9", "http://127.0.0.1:9", "x", "x", "path", "x", "x"))
    engine = tmp_path / "engine"
    contents: dict[str, bytes] = {}
    with new_app(tmp_path / "data", nowhere) as app:
        with started(engine) as app.ctx.store:
            for mark in (b"", b"", b"MARK-FLIP", b"MARK-CUT", b""):
                content, parts = jpeg(mark), film(mark)
                contents |= {single(app, content).key: content, in_parts(app, *parts).key: b"".join(parts)}
            stray = f"{app.project.id}/default/{'0' * 8}{File.select().first().id[8:]}/a"
            app.ctx.store._client.put_object(Bucket="uploads", Key=stray, Body=b"MARK-CUT")
            assert damaged(deep(app)) == {}
        flip(engine, b"MARK-FLIP")
        for path, at in places_of(engine, b"MARK-CUT"):
            os.truncate(path, at)
        with started(engine) as app.ctx.store:
            plain = reconcile.compare(app.ctx)
            assert [(finding.kind, finding.key) for finding in plain.findings] == [("object_without_row", stray)]
            assert "can't read" in plain.findings[0].detail
            found = deep(app)
            lost = {key for key, content in contents.items() if not is_read_as_sent(app.ctx.store, key, content)}
            assert len(contents) - 3 >= len(lost) >= 4
            assert set(damaged(found)) == lost
            assert set(damaged(found).values()) <= {"object_unreadable", "object_differs"}
            assert (found.files, found.unproven) == (len(contents), 0)
            assert [finding.fixed for finding in reconcile.fix(app.ctx, plain).findings] == [True]
            assert {file.status for file in File.select()} == {"UPLOADED"}
            assert stray not in objects(app)


# A store that lies, or is replaced behind our back.


def test_what_is_sound_agrees(app: App) -> None:
    for content in (b"\xff\xd8\xff", jpeg(), jpeg() + os.urandom(PIECE_BYTES)):
        single(app, content)
    in_parts(app, *film())
    found = deep(app)
    assert (found.damaged, found.files, found.total_files, found.unproven) == ([], 4, 4, 0)
    assert found.read_bytes == found.total_bytes == sum(file.size_bytes for file in File.select())
    assert not (app.ctx.config.data_dir / "deep-check.jsonl").exists()
    assert not [key for key in objects(app) if "deep-check" in key]


def test_an_object_replaced_behind_our_back(app: App) -> None:
    content = jpeg()
    same_size, other_size, gone = single(app, content), single(app, jpeg()), single(app, jpeg())
    store = app.ctx.store
    for key, bytes_of in ((same_size.key, content[::-1]), (other_size.key, content + b"1")):
        store._client.put_object(Bucket=store.address.bucket, Key=key, Body=bytes_of, ContentType="image/jpeg")
    store.delete(gone.key)
    assert damaged(deep(app)) == {same_size.key: "object_differs", other_size.key: "object_differs", gone.key: "row_without_object"}


def _of_files(asked: Asked) -> bool:
    return asked.method == "GET" and bool(asked.key) and not asked.key.startswith("pending/")


def _other_bytes(asked: Asked, pass_on: PassOn) -> Answered:
    answered = pass_on(asked)
    return replace(answered, body=answered.body[:-1] + bytes([answered.body[-1] ^ 1]))


def _other_place(asked: Asked, pass_on: PassOn) -> Answered:
    answered = pass_on(asked)
    headers = {name: value for name, value in answered.headers.items() if name != "Content-Range"}
    return replace(answered, headers=headers | {"Content-Range": f"bytes 1-{len(answered.body)}/{len(answered.body)}"})


def _error_in_success(asked: Asked, pass_on: PassOn) -> Answered:
    answered = Answered.error(200, "InternalError")
    return replace(answered, headers=answered.headers | {"ETag": '"x"'})


def _whole(asked: Asked, pass_on: PassOn) -> Answered:
    """One that knows no Range: honest, if wasteful."""
    return pass_on(asked.without("range").without("authorization"))


LIES: dict[str, tuple[Rule, str]] = {
    "other bytes": (_other_bytes, "object_differs"),
    "another range": (_other_place, "object_unreadable"),
    "an error in a success": (_error_in_success, "object_differs"),
    "500": (lambda asked, pass_on: Answered.error(500, "InternalError"), "object_unreadable"),
    "403": (lambda asked, pass_on: Answered.error(403, "AccessDenied"), "object_unreadable"),
    "hangs up": (lambda asked, pass_on: Answered(raw=[]), "object_unreadable"),
    "a page": (lambda asked, pass_on: Answered(200, {"Content-Type": "text/html"}, b"<html>"), "object_unreadable"),
    "fewer bytes": (lambda asked, pass_on: replace((a := pass_on(asked)), body=a.body[:-1]), "object_unreadable"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_store_that_lies_about_one_object(app: App, lie: str) -> None:
    rule, kind = LIES[lie]
    sound, lied_of = [single(app, jpeg()) for _ in range(2)], single(app, jpeg())
    with proxied(app.ctx.store.address, lambda asked, pass_on: rule(asked, pass_on) if asked.key == lied_of.key else pass_on(asked)) as to:
        app.ctx.store = ObjectStore(to, timeout_seconds=1)
        found = deep(app)
        assert damaged(found) == {lied_of.key: kind}
        assert found.files == len(sound) + 1
        assert reconcile.compare(app.ctx).findings == [] or lie == "500", "plain reconcile asks for what the listing makes doubtful alone"


def test_where_an_etag_is_no_digest_it_says_so_and_is_no_false_alarm(app: App) -> None:
    """A store with ETags of its own, and one that says that it encrypts with a KMS."""

    def own_etags(asked: Asked, pass_on: PassOn) -> Answered:
        answered = pass_on(asked)
        if "partNumber" in asked.query:
            return answered
        return replace(answered, headers={name: reversed_in(v) if name.lower() == "etag" else v for name, v in answered.headers.items()})

    def reversed_in(etag: str) -> str:
        return re.sub(r"[0-9a-f]{32}", lambda found: found[0][::-1], etag)

    def by_kms(asked: Asked, pass_on: PassOn) -> Answered:
        answered = pass_on(asked)
        return replace(answered, headers=answered.headers | {"x-amz-server-side-encryption": "aws:kms"})

    single(app, jpeg()), in_parts(app, *film())
    straight = app.ctx.store.address
    with proxied(straight, by_kms) as to:
        app.ctx.store = ObjectStore(to)
        assert (deep(app).damaged, deep(app).unproven) == ([], 2)
    for file in File.select():
        File.update(etag=reversed_in(file.etag)).where(File.id == file.id).execute()
    with proxied(straight, own_etags) as to:
        app.ctx.store = ObjectStore(to)
        assert (deep(app).damaged, deep(app).unproven) == ([], 2)


def test_unreadable_objects_do_not_stop_the_plain_comparison(app: App) -> None:
    """Without a row, without a listing, and with another ETag."""
    stray = f"{app.project.id}/default/{single(app, jpeg()).id[:-12]}{'0' * 12}/a"
    app.ctx.store._client.put_object(Bucket=app.ctx.store.address.bucket, Key=stray, Body=b"stray")
    other, hidden = single(app, jpeg()), single(app, jpeg())
    app.ctx.store._client.put_object(Bucket=app.ctx.store.address.bucket, Key=other.key, Body=b"other")

    def rule(asked: Asked, pass_on: PassOn) -> Answered:
        if _of_files(asked):
            return Answered.error(500, "InternalError")
        answered = pass_on(asked)
        if "list-type" in asked.query:
            answered.body = re.sub(rb"<Contents><Key>%s</Key>.*?</Contents>" % hidden.key.encode(), b"", answered.body)
        return answered

    with proxied(app.ctx.store.address, rule) as to:
        app.ctx.store = ObjectStore(to, timeout_seconds=1)
        found = {(finding.kind, finding.key) for finding in reconcile.compare(app.ctx).findings}
    assert {("object_without_row", stray), ("object_unreadable", other.key)} <= found
    assert found <= {("object_without_row", stray), ("object_unreadable", other.key), ("object_unreadable", hidden.key)}


# Interruptions.


def test_a_pass_that_is_stopped_goes_on_where_it_was(app: App) -> None:
    made = [single(app, jpeg()) for _ in range(6)]
    app.ctx.store.delete(made[0].key)
    put_back = made[1]
    content = app.ctx.store.head(put_back.key, SINGLE_BYTES * 2)
    assert content is not None
    app.ctx.store.delete(put_back.key)
    stopping = threading.Event()

    def stop_after_three(progress: Pass) -> None:
        if progress.files == 3:
            stopping.set()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        deep(app, stopping=stopping, tell=stop_after_three)
    app.ctx.store._client.put_object(Bucket=app.ctx.store.address.bucket, Key=put_back.key, Body=content.first_bytes)
    seen: list[int] = []
    found = deep(app, tell=lambda progress: seen.append(progress.files))
    assert (found.went_on, seen[0], found.files) == (True, 3, 6)
    assert damaged(found) == {made[0].key: "row_without_object"}, "what was found before is told, unless it was put back"
    assert deep(app).went_on is False


def test_a_large_object_goes_on_within_itself(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uploadkit.maintenance.object_check._SAVE_EVERY_BYTES", 5 * MIB)
    file = in_parts(app, *film())
    asked_for: list[str] = []

    def rule(asked: Asked, pass_on: PassOn) -> Answered:
        if asked.key == file.key:
            asked_for.append(asked.headers["Range"])
            if len(asked_for) == 2:
                return Answered(raw=[])
        return Answered(raw=[]) if asked_for and len(asked_for) == 2 else pass_on(asked)

    with proxied(app.ctx.store.address, rule) as to:
        app.ctx.store = ObjectStore(to, timeout_seconds=1)
        with pytest.raises(StorageUnavailable):
            deep(app)
        asked_for.append("again")
        found = deep(app)
    assert (found.went_on, found.damaged, found.unproven) == (True, [], 0)
    again = asked_for[asked_for.index("again") + 1 :]
    assert again[0].startswith(f"bytes={5 * MIB}-"), "the first part is not read twice"


def test_what_is_new_or_goes_meanwhile_is_no_finding(app: App) -> None:
    goes, stays = single(app, jpeg()), single(app, jpeg())

    def rule(asked: Asked, pass_on: PassOn) -> Answered:
        if asked.key == goes.key:
            app.ctx.store.delete(goes.key)
        return pass_on(asked)

    File.update(status="DELETED").where(File.id == goes.id).execute()
    File.update(status="UPLOADED").where(File.id == goes.id).execute()
    with proxied(app.ctx.store.address, rule) as to:
        reading = ObjectStore(to)

        def delete_the_row(progress: Pass) -> None:
            if progress.files == 0:
                File.update(status="DELETED").where(File.id == goes.id).execute()
                single(app, jpeg())

        found = deep_check.run(
            app.ctx.config, reading, since_ms=None, bytes_per_second=None, anew=False, stopping=threading.Event(), tell=delete_the_row
        )
    assert found.damaged == []
    assert stays.key in objects(app)


def test_since_and_anew(app: App) -> None:
    old, new = single(app, jpeg()), single(app, jpeg())
    File.update(uploaded_at=1000).where(File.id == old.id).execute()
    assert deep(app, since_ms=2000).files == 1
    app.ctx.store.delete(new.key)
    with pytest.raises(KeyboardInterrupt):
        deep(app, tell=_interrupt)
    assert deep(app, since_ms=2000).went_on is False, "another question is another pass"
    with pytest.raises(KeyboardInterrupt):
        deep(app, tell=_interrupt)
    assert deep(app, anew=True).went_on is False


def _interrupt(progress: Pass) -> None:
    if progress.files:
        raise KeyboardInterrupt


def test_the_pace_is_kept_and_a_wait_for_it_ends_at_once(app: App) -> None:
    for _ in range(3):
        single(app, jpeg())
    began = time.monotonic()
    deep(app, bytes_per_second=SINGLE_BYTES * 2)
    assert time.monotonic() - began >= 1, "the first is free, the other two take their half second each"
    stopping = threading.Event()
    threading.Timer(0.3, stopping.set).start()
    began = time.monotonic()
    with pytest.raises(Stopped):
        deep(app, bytes_per_second=10, stopping=stopping)
    assert time.monotonic() - began < 5


def test_only_one_pass_at_a_time(app: App) -> None:
    single(app, jpeg())

    def another(progress: Pass) -> None:
        with pytest.raises(Conflict, match="Another 'reconcile --deep' runs"):
            deep(app)

    deep(app, tell=another)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    with running(tmp_path_factory.mktemp("filled")) as appliance:
        for number in range(8):
            appliance.upload(JPEG + os.urandom(MIB), f"{number}.jpg")
        upload_in_parts(appliance, b"\x00\x00\x00\x20ftypisom" + os.urandom(11 * MIB))
        yield appliance


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_command_can_be_ended_and_goes_on(filled: Appliance, number: signal.Signals) -> None:
    command = [sys.executable, str(ROOT / "app.py"), "reconcile", "--deep", "--anew", "--max-mib-per-second", "4"]
    written = filled.data_dir / "deep-check.jsonl"
    process = subprocess.Popen(command, env=filled.environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=filled.home)
    wait_until(lambda: written.exists() and re.search(r'"seen": \d{5,}, "files": [3-8]', written.read_text()), what="some files to be read")
    process.send_signal(number)
    _, reported = process.communicate(timeout=60)
    assert process.returncode == (-signal.SIGKILL if number == signal.SIGKILL else 130), reported
    if number != signal.SIGKILL:
        assert re.search(r"Interrupted after \d of 9 files, \d of 19 MiB\. What was read stays read", reported), reported
    went_on = filled.run("reconcile", "--deep", "--json")
    assert went_on.returncode == 0, went_on.stderr
    assert re.search(r"Going on after [3-8] of 9 files", went_on.stderr), went_on.stderr
    report = json.loads(went_on.stdout)
    assert (report["read_files"], report["unproven"], report["findings"]) == (9, 0, [])
    assert not written.exists()


def test_the_command_says_what_is_damaged_and_what_can_be_done(filled: Appliance) -> None:
    file = filled.upload(JPEG + b"as it was")
    store = own_store(filled)
    store._client.put_object(Bucket="uploads", Key=file["key"], Body=JPEG + b"as it is.", ContentType="image/jpeg")
    found = filled.run("reconcile", "--deep", "--fix", "--force")
    assert found.returncode == 1
    assert f"object_differs        {file['key']}: somebody has replaced the object" in found.stdout
    assert "restore them from a backup" in found.stdout
    assert filled.call("GET", f"/files/{file['key']}").status == 200, "--fix deletes no file for that"
    assert filled.call("DELETE", f"/files/{file['key']}").status == 200
    wait_until(lambda: filled.run("reconcile", "--deep").returncode == 0, what="the object to go")
    assert filled.run("reconcile", "--since", "2026-01-01").returncode == 2
