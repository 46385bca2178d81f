"""Backups by the services: whole or none, nothing sent twice, every flipped byte found, and what a restore makes of them."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import App
from tests.support.clock import travelled_to
from tests.support.sample_files import film, in_parts, jpeg, single
from tests.support.store_proxy import Answered, Asked, proxied
from tests.support.stored import objects
from tests.support.untrusted_clients import NOBODY
from uploadkit.config import Config
from uploadkit.core import clock
from uploadkit.core.errors import ConfigError, Conflict, StorageUnavailable
from uploadkit.db import connection
from uploadkit.db.models import Event, File
from uploadkit.files import deletion_hold
from uploadkit.files import service as files
from uploadkit.maintenance import object_check, reconcile, sweeper
from uploadkit.maintenance.backups import creation, layout, places, restoration, schedule, verification
from uploadkit.maintenance.backups.layout import Backup, BackupUnusable, Piece, StoredFile
from uploadkit.maintenance.backups.target import existing, own
from uploadkit.objectstore.address import StoreAddress
from uploadkit.objectstore.store import ObjectStore
from uploadkit.projects import usage

pytestmark = pytest.mark.long

PASSPHRASE = b"correct horse battery staple"


class Counted(places.Folder):
    """A folder that counts what is written below `files/`, and fails from some number of writes on."""

    def __init__(self, path: Path, fails_after: int = 1_000_000) -> None:
        super().__init__(path)
        self.written: list[str] = []
        self.fails_after = fails_after

    def write(self, name: str, content: bytes) -> None:
        if len(self.written) >= self.fails_after:
            raise StorageUnavailable("The backups can't be written: No space left on device")
        if name.startswith("files/"):
            self.written.append(name)
        super().write(name, content)


@pytest.fixture
def place(tmp_path: Path) -> Counted:
    return Counted(tmp_path / "backups")


def back_up(app: App, place: places.Place, keep: int | None = None, **more: bool) -> Backup:
    return creation.create(app.ctx.config, app.ctx.store, place, keep=keep, stopping=threading.Event(), **more)


def some_files(app: App) -> dict[str, bytes]:
    """Three files, one of them in parts: by key what they hold."""
    contents = {single(app, content).key: content for content in (jpeg(b"one"), jpeg(b"two"))}
    parts = film(b"three")
    return contents | {in_parts(app, *parts).key: b"".join(parts)}


def faults(app: App, place: places.Place, config: Config | None = None) -> list[str]:
    """What `verify` finds wrong with the newest backup, or why there is nothing to verify."""
    try:
        target = existing(config or app.ctx.config, place)
        return verification.verify(target, verification.chosen(target, None), app.ctx.config.data_dir).faults
    except BackupUnusable as error:
        return [error.message]


def encrypted(config: Config, tmp_path: Path, passphrase: bytes = PASSPHRASE) -> Config:
    path = tmp_path / f"passphrase-{passphrase.hex()[:8]}"
    path.write_bytes(passphrase + b"\n")
    return config.model_copy(update={"backup": config.backup.model_copy(update={"passphrase_file": path})})


def files_of(place: Path) -> list[Path]:
    return sorted(path for path in place.rglob("*") if path.is_file() and path.name != ".lock")


def test_what_is_there_is_not_sent_again(app: App, place: Counted) -> None:
    some_files(app)
    first = back_up(app, place)
    assert (first.files, first.size_bytes, first.missing) == (3, sum(file.size_bytes for file in File.select()), ())
    assert faults(app, place) == []
    sent = len(place.written)
    single(app, jpeg(b"four"))
    second = back_up(app, place)
    assert second.files == 4
    assert len(place.written) == sent + 1
    assert faults(app, place) == []
    assert second.id > first.id
    assert not list(app.ctx.config.data_dir.glob("backup-snapshot*"))


@pytest.mark.parametrize("fails_after", [0, 1, 2, 3])
def test_an_interrupted_backup_is_none_and_the_next_one_goes_on(app: App, place: Counted, fails_after: int) -> None:
    some_files(app)
    place.fails_after = fails_after
    with pytest.raises(StorageUnavailable, match="No space left"):
        back_up(app, place)
    assert not deletion_hold.is_held()
    if place.read(layout.MARK, 1000) is not None:
        assert existing(app.ctx.config, place).ids()[0] == []
    place.fails_after = 1_000_000
    assert back_up(app, place).files == 3
    assert faults(app, place) == []
    whole = {name for name in place.written if place.written.count(name) > 1}
    assert len(whole) <= 4, "four files are sent at a time; those may have been under way"


def test_what_failed_leaves_the_last_good_one(app: App, place: Counted) -> None:
    some_files(app)
    good = back_up(app, place, keep=1)
    single(app, jpeg(b"four"))
    place.fails_after = len(place.written)
    with pytest.raises(StorageUnavailable):
        back_up(app, place, keep=1)
    target = existing(app.ctx.config, place)
    assert target.ids()[0] == [good.id]
    assert faults(app, place) == []


@pytest.mark.parametrize("is_encrypted", [False, True])
def test_every_flipped_byte_is_found(app: App, place: Counted, tmp_path: Path, is_encrypted: bool) -> None:
    some_files(app)
    if is_encrypted:
        app.ctx.config = encrypted(app.ctx.config, tmp_path)
    back_up(app, place)
    found = files_of(tmp_path / "backups")
    assert len(found) > 6
    for path in found:
        good = path.read_bytes()
        for at in {0, len(good) // 2, len(good) - 1}:
            path.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
            is_harmless = not is_encrypted and path.name in (layout.MARK, "backup.json")  # a space more, another time
            assert faults(app, place) or is_harmless, (path, at)
        for other in (good[:-1], good + b"x", b""):
            path.write_bytes(other)
            assert faults(app, place) or (not is_encrypted and path.suffix == ".json"), path
        path.unlink()
        assert faults(app, place), path
        path.write_bytes(good)
    assert faults(app, place) == []


def test_encrypted_pieces_show_nothing_and_none_stands_for_another(app: App, place: Counted, tmp_path: Path) -> None:
    contents = some_files(app)
    config = app.ctx.config
    app.ctx.config = encrypted(config, tmp_path)
    back_up(app, place)
    for path in files_of(tmp_path / "backups"):
        written = path.read_bytes()
        assert not any(content[:200] in written for content in contents.values()), path
        assert app.project.id.encode() not in written, path
    assert "encrypted" in faults(app, place, config)[0]
    assert "another passphrase" in faults(app, place, encrypted(config, tmp_path, b"not the right one"))[0]
    one, other = [path for path in files_of(tmp_path / "backups" / "files") if path.suffix == ".0"][:2]
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)
    assert len(faults(app, place)) == 2


def test_the_oldest_go_and_what_others_need_stays(app: App, place: Counted) -> None:
    gone, *_ = some_files(app)
    first = back_up(app, place)
    files.delete_file(app.ctx, app.caller, gone)
    second = back_up(app, place)
    before = set(place.names("files/"))
    third = back_up(app, place, keep=2)
    target = existing(app.ctx.config, place)
    assert target.ids() == ([second.id, third.id], [])
    left = set(place.names("files/"))
    assert left < before
    assert not any(File.get(File.key == gone).id in name for name in left)
    assert faults(app, place) == []
    with pytest.raises(BackupUnusable, match="no whole backup"):
        verification.chosen(target, first.id)


def test_while_a_backup_is_made_objects_stay(app: App, place: Counted) -> None:
    key, *_ = some_files(app)
    seen: list[bool] = []

    def delete_and_sweep(progress: creation.Progress) -> None:
        if not seen:
            files.delete_file(app.ctx, app.caller, key)
            sweeper.sweep_due(app.ctx)
            seen.append(key in objects(app))

    creation.create(app.ctx.config, app.ctx.store, place, keep=None, stopping=threading.Event(), tell=delete_and_sweep)
    assert seen == [True]
    assert faults(app, place) == []
    with travelled_to(clock.now_ms() + 60_000):
        sweeper.sweep_due(app.ctx)
    assert key not in objects(app)


def test_a_hold_that_nobody_renews_ends(app: App) -> None:
    with travelled_to(clock.now_ms()) as advance:
        with deletion_hold.held() as lasts:
            assert deletion_hold.is_held()
            assert lasts()
            advance(5 * 60_000)
            assert not deletion_hold.is_held()
            assert not lasts()
        assert not deletion_hold.is_held()


def test_damaged_objects_are_named_and_the_rest_is_backed_up(app: App, place: Counted) -> None:
    damaged, *_ = some_files(app)
    app.ctx.store._client.put_object(Bucket=app.ctx.store.address.bucket, Key=damaged, Body=b"other bytes")
    backup = back_up(app, place)
    assert [one.key for one in backup.missing] == [damaged]
    assert "replaced" in backup.missing[0].reason
    assert backup.files == 2
    assert faults(app, place) == []


def test_whose_backups_these_are(app: App, place: Counted, tmp_path: Path) -> None:
    some_files(app)
    with place.alone(), pytest.raises(Conflict, match="at work"):
        back_up(app, places.Folder(tmp_path / "backups"))
    back_up(app, place)
    with pytest.raises(BackupUnusable, match="another installation"):
        own(app.ctx.config, place, "somebody else", is_known=False)
    (tmp_path / "backups").rename(tmp_path / "unplugged")
    with pytest.raises(BackupUnusable, match="there are none now"):
        back_up(app, place)
    assert back_up(app, place, begin=True).files == 3


def test_what_a_disk_has_spoilt_since_replaces_nothing_good(app: App, place: Counted) -> None:
    """Under its ETag, so that only the last byte shows it; the earlier backup keeps its own pieces."""
    spoilt, *_ = some_files(app)
    good = back_up(app, place)

    def rule(asked: Asked, pass_on: Callable[[Asked], Answered]) -> Answered:
        answered = pass_on(asked)
        if asked.method == "GET" and asked.key == spoilt:
            answered.body = answered.body[:-1] + bytes([answered.body[-1] ^ 1])
        return answered

    straight = app.ctx.store
    with proxied(straight.address, rule) as to:
        app.ctx.store = ObjectStore(to)
        lacking = back_up(app, place, again=True)
    app.ctx.store = straight
    assert [one.key for one in lacking.missing] == [spoilt]
    target = existing(app.ctx.config, place)
    assert verification.verify(target, target.backup(good.id), app.ctx.config.data_dir).faults == []


def test_a_damaged_backup_keeps_no_other_from_being_made(app: App, place: Counted, tmp_path: Path) -> None:
    some_files(app)
    first, second = back_up(app, place), back_up(app, place)
    (tmp_path / "backups" / "backups" / second.id / "files.0").write_bytes(b"spoilt")
    sent = len(place.written)
    third = back_up(app, place, keep=3)
    assert (third.files, len(place.written)) == (3, sent), "the one before it says what is there"
    (tmp_path / "backups" / "backups" / first.id / "backup.json").write_bytes(b"{}")
    fourth = back_up(app, place, keep=1)
    assert existing(app.ctx.config, place).ids()[0] == [fourth.id]
    assert faults(app, place) == []
    piece = files_of(tmp_path / "backups" / "files")[0]
    piece.write_bytes(piece.read_bytes()[:-1])
    back_up(app, place)
    assert faults(app, place), "what is there is not sent again, whatever became of it"
    back_up(app, place, again=True)
    assert faults(app, place) == []


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_somebody_else_is_not_taken(app: App, place: Counted, tmp_path: Path) -> None:
    (tmp_path / "backups").mkdir()
    os.chown(tmp_path / "backups", NOBODY, NOBODY)
    with pytest.raises(ConfigError, match="belongs to another user"):
        back_up(app, place)


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ("s3://", "neither a folder nor"),
        ("s3://key:secret@bucket", "neither a folder nor"),
        ("https://example.com/bucket", "neither a folder nor"),
        ("s3://bucket/prefix", "backup.s3.region"),
        ("{data}/backups", "inside the data directory"),
        ("{data}/..", "data directory is inside"),
    ],
)
def test_places_that_can_not_be(app: App, target: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        places.opened(app.ctx.config, target.format(data=app.ctx.config.data_dir))


# Putting back.


@pytest.fixture
def elsewhere(app: App, tmp_path: Path) -> Iterator[tuple[Config, ObjectStore]]:
    """A configuration with an empty data directory, and an empty bucket."""
    store = ObjectStore(StoreAddress(**(vars(app.ctx.store.address) | {"bucket": f"restored-{clock.now_ms()}"})))
    store.create_bucket()
    (tmp_path / "restored").mkdir()
    yield app.ctx.config.model_copy(update={"data": app.ctx.config.data.model_copy(update={"dir": tmp_path / "restored"})}), store
    connection.close()


@pytest.mark.parametrize("is_encrypted", [False, True])
def test_a_restore_is_the_state_of_the_backup(
    app: App, place: Counted, elsewhere: tuple[Config, ObjectStore], tmp_path: Path, is_encrypted: bool
) -> None:
    config, store = elsewhere
    if is_encrypted:
        config, app.ctx.config = encrypted(config, tmp_path), encrypted(app.ctx.config, tmp_path)
    contents = some_files(app)
    damaged = next(iter(contents))
    app.ctx.store._client.put_object(Bucket=app.ctx.store.address.bucket, Key=damaged, Body=b"other bytes")
    waiting = app.client().post(
        "/api/v1/upload/request", json={"fileName": "a.jpg", "fileSize": 5, "contentType": "image/jpeg", "routeSlug": "default"}
    )
    back_up(app, place)
    later = single(app, jpeg(b"later"))
    last_number = Event.select().order_by(Event.sequence.desc()).first().sequence
    target = existing(config, place)
    done = restoration.restore(config, store, target, target.backup(target.ids()[0][-1]), newer_database=app.ctx.config.database_path)
    assert (done.files, done.lost, done.ended_uploads, done.revoked) == (2, [damaged], 1, [])
    connection.open_database(config, upgrade=False)
    app.ctx.config, app.ctx.store = config, store
    del contents[damaged]
    for file in File.select().where(File.status == "UPLOADED"):
        content = contents.pop(file.key)
        assert b"".join(store.read(file.key, file.etag, 0, len(content), 2**20)) == content
    assert contents == {}
    assert File.get_or_none(File.id == later.id) is None
    assert File.get_by_id(waiting.json["fileId"]).status == "FAILED"
    assert Event.select().where(Event.sequence > last_number).order_by(Event.sequence).first().sequence > last_number + 1000
    assert reconcile.compare(app.ctx).findings == []
    with pytest.raises(BackupUnusable, match="another installation"):  # it is one of its own now
        back_up(app, place)
    assert back_up(app, place, begin=True).files == 2
    assert usage.find_differences() == []
    with pytest.raises(ConfigError, match="wants a data directory without one"):
        restoration.require_empty(config)


def test_a_damaged_backup_restores_nothing(app: App, place: Counted, elsewhere: tuple[Config, ObjectStore], tmp_path: Path) -> None:
    config, store = elsewhere
    some_files(app)
    backup = back_up(app, place)
    path = files_of(tmp_path / "backups" / "files")[-1]
    good = path.read_bytes()
    path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    target = existing(config, place)
    with pytest.raises(BackupUnusable, match="damaged"):
        restoration.restore(config, store, target, backup)
    assert not config.database_path.exists()
    path.write_bytes(good)
    assert restoration.restore(config, store, target, backup).files == 3
    assert config.database_path.exists()
    assert config.database_path.stat().st_mode & 0o777 == 0o600
    assert {path.name for path in config.data_dir.iterdir()} == {"uploadkit.db"}


# What comes by itself.


def test_when_a_backup_is_due(app: App, place: Counted, monkeypatch: pytest.MonkeyPatch) -> None:
    assert schedule.run_if_due(app.ctx) == 0
    backup = app.ctx.config.backup.model_copy(update={"to": str(place), "schedule": "03:00"})
    app.ctx.config = app.ctx.config.model_copy(update={"backup": backup})
    monkeypatch.setattr(places, "opened", lambda config, target: place)
    day = 86_400_000
    with travelled_to(clock.now_ms()) as advance:
        assert schedule.run_if_due(app.ctx) == 1
        assert schedule.run_if_due(app.ctx) == 0
        advance(day)
        place.fails_after = 0
        single(app, jpeg(b"one"))
        assert schedule.run_if_due(app.ctx) == 0
        assert "No space left" in schedule.results()[0].failure
        place.fails_after = 1_000_000
        assert schedule.run_if_due(app.ctx) == 0, "a failed one is tried again in an hour"
        advance(3600_000)
        assert schedule.run_if_due(app.ctx) == 1
        advance(day)
        elsewhere = places.Folder(Path(f"{place}-elsewhere"))
        schedule.make(app.ctx.config, app.ctx.store, elsewhere, keep=None, stopping=threading.Event())
        assert schedule.run_if_due(app.ctx) == 1, "one that went elsewhere is not the one that was asked for"
        schedule.request(app.ctx)
        assert schedule.is_requested()
        assert schedule.run_if_due(app.ctx) == 1
        assert not schedule.is_requested()
    assert [bool(result.failure) for result in schedule.results()] == [False, False, False, False, True, False]


def test_stopping_ends_a_backup(app: App, place: Counted) -> None:
    some_files(app)
    stopping = threading.Event()
    stopping.set()
    with pytest.raises(object_check.Stopped):
        creation.create(app.ctx.config, app.ctx.store, place, keep=None, stopping=stopping)
    assert not deletion_hold.is_held()


# What is written down.

PIECES = st.builds(Piece, st.integers(0, layout.PIECE_BYTES), st.text("0123456789abcdef", min_size=64, max_size=64))
SENDINGS = st.text("0123456789abcdef", min_size=8, max_size=8)
FILES = st.builds(StoredFile, st.uuids().map(str), SENDINGS, st.lists(PIECES, max_size=5).map(tuple))


@given(st.lists(FILES, max_size=20))
def test_a_segment_is_read_as_it_was_written(found: list[StoredFile]) -> None:
    assert layout.files_in(layout.segment_of(found)) == found


ANY_JSON = st.recursive(st.none() | st.text() | st.integers(), st.lists)


@given(st.binary(max_size=200) | ANY_JSON.map(lambda value: json.dumps(value).encode()))
def test_what_nobody_wrote_is_refused_in_words(content: bytes) -> None:
    with suppress(BackupUnusable):
        layout.files_in(content)
    with suppress(BackupUnusable):
        layout.backup_of(content, "20261128T030000Z")
