"""What happens to uploads that nobody completes, with the clock in our hand and a real store."""

from __future__ import annotations

import os

import pytest

from tests.conftest import House
from tests.support.clock import travelled_to
from tests.support.stored import MIB, counters, objects, put
from uploadkit.core import clock
from uploadkit.core.errors import StorageUnavailable, UploadExpired, UploadNotFound, UploadNotVerified
from uploadkit.db.models import File
from uploadkit.files import lifecycle, multipart_upload, single_upload
from uploadkit.files import service as files
from uploadkit.files.single_upload import UploadRequest, UploadSlot
from uploadkit.maintenance import part_floods, sweeper
from uploadkit.objectstore.boto import AccessDenied

HOUR_MS = 3600_000


def request(house: House, content: bytes) -> UploadSlot:
    return single_upload.request_upload(house.ctx, house.caller, UploadRequest("a.jpg", len(content), "image/jpeg", "default", {}))


def test_an_upload_that_nobody_completes(house: House) -> None:
    slot = request(house, b"12345")
    assert put(slot.upload_url, b"12345") == 200
    assert counters(house) == (0, 5, 1)
    deadline = slot.file.deadline_at
    assert deadline == slot.file.expires_at + 15 * 60_000
    with travelled_to(deadline - 1):
        assert sweeper.sweep_due(house.ctx) == 0
    with travelled_to(deadline):
        assert sweeper.sweep_due(house.ctx) == 1
        assert sweeper.sweep_due(house.ctx) == 0
        with pytest.raises(UploadExpired):
            single_upload.complete_upload(house.ctx, house.caller, slot.file.id, {})
    assert counters(house) == (0, 0, 0)
    assert slot.file.pending_key not in objects(house)


def test_a_large_file_has_longer(house: House) -> None:
    slot = request(house, b"x" * (400 * MIB // 2**20))
    assert slot.file.deadline_at - slot.file.expires_at == 15 * 60_000
    big = single_upload.request_upload(house.ctx, house.caller, UploadRequest("b", 512 * MIB, "image/jpeg", "default", {}))
    assert big.file.deadline_at - big.file.expires_at == 2048 * 1000


@pytest.mark.parametrize("ending", ["complete", "fail", "cancel", "delete"])
def test_a_late_put_is_swept_at_the_deadline(house: House, ending: str) -> None:
    slot = request(house, b"12345")
    if ending in ("complete", "delete"):
        put(slot.upload_url, b"12345")
        single_upload.complete_upload(house.ctx, house.caller, slot.file.id, {})
    if ending == "fail":
        put(slot.upload_url, b"%PDF-")
        with pytest.raises(UploadNotVerified):
            single_upload.complete_upload(house.ctx, house.caller, slot.file.id, {})
    if ending in ("cancel", "delete"):
        files.delete_file(house.ctx, house.caller, slot.file.key)
    assert put(slot.upload_url, b"evil!") == 200
    sweeper.sweep_due(house.ctx)
    used, reserved, under_way = counters(house)
    assert used == (5 if ending == "complete" else 0)
    assert reserved == (5 if ending in ("fail", "cancel") else 0)
    assert under_way == 0
    assert (slot.file.key in objects(house)) == (ending == "complete")
    put(slot.upload_url, b"evil!")
    with travelled_to(slot.file.deadline_at):
        sweeper.sweep_due(house.ctx)
    assert slot.file.pending_key not in objects(house)
    assert counters(house) == (used, 0, 0)
    assert File.get_by_id(slot.file.id).sweep_at is None
    if ending == "complete":
        stored = house.ctx.store.head(slot.file.key)
        assert stored
        assert stored.first_bytes == b"12345"


def test_a_multipart_that_still_receives_parts_is_spared(house: House) -> None:
    slot = multipart_upload.start_multipart(house.ctx, house.caller, UploadRequest("b", 11 * MIB, "video/mp4", "default", {}))
    content = os.urandom(5 * MIB)
    # By the store's clock the part arrives now, by ours the deadline was a minute ago.
    File.update(deadline_at=clock.now_ms() - 60_000, sweep_at=clock.now_ms() - 60_000).execute()
    assert put(slot.part_urls[0].upload_url, content, None) == 200
    sweeper.sweep_due(house.ctx)
    spared = File.get_by_id(slot.file.id)
    assert spared.status == "UPLOADING"
    assert spared.sweep_at > clock.now_ms()
    with travelled_to(spared.sweep_at + 1000):
        sweeper.sweep_due(house.ctx)
        assert File.get_by_id(slot.file.id).failure == "expired"
    assert counters(house) == (0, 0, 0)
    assert house.ctx.store.list_parts(slot.file.key, slot.file.upload_id or "") is None


def test_one_part_sent_again_and_again_ends_the_upload(house: House) -> None:
    """SeaweedFS keeps each PUT of a part: 80 to one URL were 400 MB of its disk, where 11 are reserved."""
    flooded, honest = (
        multipart_upload.start_multipart(house.ctx, house.caller, UploadRequest("b", 11 * MIB, "video/mp4", "default", {}))
        for _ in range(2)
    )
    for url in honest.part_urls[:2]:
        for _ in range(2):
            assert put(url.upload_url, os.urandom(5 * MIB), None) == 200
    watch = part_floods.PartFloods()
    assert watch.end_floods(house.ctx) == 0
    for _ in range(12):
        assert put(flooded.part_urls[0].upload_url, os.urandom(5 * MIB), None) == 200
    assert watch.end_floods(house.ctx) == 1
    assert (File.get_by_id(flooded.file.id).failure, File.get_by_id(honest.file.id).status) == ("aborted", "UPLOADING")
    assert put(flooded.part_urls[0].upload_url, os.urandom(5 * MIB), None) == 404, "its URLs are dead"
    assert counters(house) == (0, 11 * MIB, 1)


def test_many_uploads_in_parts_are_looked_at_in_turns(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(part_floods, "_MOST_CHECKED", 2)
    looked_at: list[str] = []
    monkeypatch.setattr(part_floods, "_end_if_flooded", lambda ctx, file: looked_at.append(file.id) or False)
    with travelled_to(clock.now_ms()) as advance:
        ids = []
        for _ in range(3):
            slot = multipart_upload.start_multipart(house.ctx, house.caller, UploadRequest("b", 11 * MIB, "video/mp4", "default", {}))
            ids.append(slot.file.id)
            advance(10)
        watch = part_floods.PartFloods()
        for _ in range(3):
            watch.end_floods(house.ctx)
    assert looked_at == [*ids, *ids[:2]]


def test_a_multipart_whose_start_died_before_its_upload_id_was_saved(house: House) -> None:
    slot = multipart_upload.start_multipart(house.ctx, house.caller, UploadRequest("b", 11 * MIB, "video/mp4", "default", {}))
    File.update(upload_id=None).execute()
    with travelled_to(slot.file.deadline_at):
        sweeper.sweep_due(house.ctx)
    assert house.ctx.store.list_parts(slot.file.key, slot.file.upload_id or "") is None
    assert counters(house) == (0, 0, 0)


def test_a_deletion_that_the_store_refuses_is_tried_again(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    slot = request(house, b"12345")
    put(slot.upload_url, b"12345")
    single_upload.complete_upload(house.ctx, house.caller, slot.file.id, {})

    def refuse(key: str) -> None:
        raise StorageUnavailable("the store is away")

    with monkeypatch.context() as patched:
        patched.setattr(house.ctx.store, "delete", refuse)
        files.delete_file(house.ctx, house.caller, slot.file.key)
        assert sweeper.sweep_due(house.ctx) == 0
    row = File.get_by_id(slot.file.id)
    assert row.sweep_at > clock.now_ms()
    assert slot.file.key in objects(house)
    with travelled_to(row.sweep_at):
        assert sweeper.sweep_due(house.ctx) == 1
    assert slot.file.key not in objects(house)


def test_a_row_that_can_not_be_swept_holds_up_nobody(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = request(house, b"1"), request(house, b"2")
    real = lifecycle.expire

    def fail_for_the_first(ctx: object, file: File) -> None:
        if file.id == first.file.id:
            raise RuntimeError("a bug")
        real(house.ctx, file)

    monkeypatch.setattr(lifecycle, "expire", fail_for_the_first)
    with travelled_to(second.file.deadline_at):
        assert sweeper.sweep_due(house.ctx) == 1
    assert File.get_by_id(second.file.id).status == "FAILED"
    assert File.get_by_id(first.file.id).status == "UPLOADING"


def test_the_second_copy_goes_long_before_the_deadline(house: House) -> None:
    slot = request(house, b"12345")
    put(slot.upload_url, b"12345")
    single_upload.complete_upload(house.ctx, house.caller, slot.file.id, {})
    sweeper.sweep_due(house.ctx)
    assert slot.file.pending_key not in objects(house)
    assert slot.file.key in objects(house)
    assert File.get_by_id(slot.file.id).sweep_at == slot.file.deadline_at


def test_an_upload_that_was_resumed_while_the_sweeper_looked_at_it_goes_on(house: House) -> None:
    slot = multipart_upload.start_multipart(house.ctx, house.caller, UploadRequest("b", 11 * MIB, "video/mp4", "default", {}))
    with travelled_to(slot.file.deadline_at):
        stale = File.get_by_id(slot.file.id)
        multipart_upload.resume_multipart(house.ctx, house.caller, slot.file.id, slot.file.upload_id or "", None)
        lifecycle.expire(house.ctx, stale)
        assert File.get_by_id(slot.file.id).status == "UPLOADING"


def test_one_refused_object_does_not_stop_the_round(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = request(house, b"1"), request(house, b"2")
    real = house.ctx.store.delete

    def refuse_the_first(key: str) -> None:
        if first.file.id in key:
            raise AccessDenied("no", "AccessDenied")
        real(key)

    monkeypatch.setattr(house.ctx.store, "delete", refuse_the_first)
    with travelled_to(second.file.deadline_at):
        sweeper.sweep_due(house.ctx)
        assert File.get_by_id(second.file.id).sweep_at is None
        assert File.get_by_id(first.file.id).sweep_at > clock.now_ms()


def test_where_we_may_not_look_nothing_is_lost(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    slot = request(house, b"12345")
    put(slot.upload_url, b"12345")

    def deny(key: str) -> None:
        raise AccessDenied("no", "AccessDenied")

    with monkeypatch.context() as patched:
        patched.setattr(house.ctx.store, "head", deny)
        with pytest.raises(UploadNotVerified, match="403"):
            single_upload.complete_upload(house.ctx, house.caller, slot.file.id, {})
    assert single_upload.complete_upload(house.ctx, house.caller, slot.file.id, {}).status == "UPLOADED"


def test_deleting_what_is_being_completed_deletes_it(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    slot = request(house, b"12345")
    put(slot.upload_url, b"12345")
    real = lifecycle.abort

    def abort_too_late(*arguments: object, **more: object) -> None:
        single_upload.complete_upload(house.ctx, house.caller, slot.file.id, {})
        real(*arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(lifecycle, "abort", abort_too_late)
    files.delete_file(house.ctx, house.caller, slot.file.key)
    assert File.get_by_id(slot.file.id).status == "DELETED"
    assert counters(house) == (0, 0, 0)


def test_deleting_what_fails_in_that_moment_deletes_it(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    slot = request(house, b"12345")
    real = lifecycle.abort

    def abort_too_late(*arguments: object, **more: object) -> bool:
        lifecycle.leave_uploading(house.ctx, slot.file, "expired", "Too late")
        return real(*arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(lifecycle, "abort", abort_too_late)
    files.delete_file(house.ctx, house.caller, slot.file.key)
    assert File.get_by_id(slot.file.id).status == "DELETED", "or it would stay in the lists, although its deletion was acknowledged"


def test_an_abort_that_comes_after_a_deletion_ends_nothing(house: House) -> None:
    slot = request(house, b"12345")
    put(slot.upload_url, b"12345")
    single_upload.complete_upload(house.ctx, house.caller, slot.file.id, {})
    files.delete_file(house.ctx, house.caller, slot.file.key)
    with pytest.raises(UploadNotFound):
        lifecycle.abort(house.ctx, slot.file.id)
