"""What happens to uploads that nobody completes, with the clock in our hand and a real store."""

from __future__ import annotations

import os

import pytest

from tests.conftest import App
from tests.support.clock import travelled_to
from tests.support.stored import counters, objects, put
from uploadkit.core import clock
from uploadkit.core.errors import StorageUnavailable, UploadExpired, UploadNotFound, UploadNotVerified
from uploadkit.core.sizes import MIB
from uploadkit.db.models import File
from uploadkit.files import lifecycle, multipart_upload, single_upload
from uploadkit.files import service as files
from uploadkit.files.single_upload import UploadRequest, UploadSlot
from uploadkit.maintenance import part_floods, sweeper
from uploadkit.objectstore.boto import AccessDenied


def request(app: App, content: bytes) -> UploadSlot:
    return single_upload.request_upload(app.ctx, app.caller, UploadRequest("a.jpg", len(content), "image/jpeg", "default", {}))


def test_an_upload_that_nobody_completes(app: App) -> None:
    slot = request(app, b"12345")
    assert put(slot.upload_url, b"12345") == 200
    assert counters(app) == (0, 5, 1)
    deadline = slot.file.deadline_at
    assert deadline == slot.file.expires_at + 15 * 60_000
    with travelled_to(deadline - 1):
        assert sweeper.sweep_due(app.ctx) == 0
    with travelled_to(deadline):
        assert sweeper.sweep_due(app.ctx) == 1
        assert sweeper.sweep_due(app.ctx) == 0
        with pytest.raises(UploadExpired):
            single_upload.complete_upload(app.ctx, app.caller, slot.file.id, {})
    assert counters(app) == (0, 0, 0)
    assert slot.file.pending_key not in objects(app)


def test_a_large_file_has_longer(app: App) -> None:
    slot = request(app, b"x" * (400 * MIB // 2**20))
    assert slot.file.deadline_at - slot.file.expires_at == 15 * 60_000
    big = single_upload.request_upload(app.ctx, app.caller, UploadRequest("b", 512 * MIB, "image/jpeg", "default", {}))
    assert big.file.deadline_at - big.file.expires_at == 2048 * 1000


@pytest.mark.parametrize("ending", ["complete", "fail", "cancel", "delete"])
def test_a_late_put_is_swept_at_the_deadline(app: App, ending: str) -> None:
    slot = request(app, b"12345")
    if ending in ("complete", "delete"):
        put(slot.upload_url, b"12345")
        single_upload.complete_upload(app.ctx, app.caller, slot.file.id, {})
    if ending == "fail":
        put(slot.upload_url, b"%PDF-")
        with pytest.raises(UploadNotVerified):
            single_upload.complete_upload(app.ctx, app.caller, slot.file.id, {})
    if ending in ("cancel", "delete"):
        files.delete_file(app.ctx, app.caller, slot.file.key)
    assert put(slot.upload_url, b"evil!") == 200
    sweeper.sweep_due(app.ctx)
    used, reserved, under_way = counters(app)
    assert used == (5 if ending == "complete" else 0)
    assert reserved == (5 if ending in ("fail", "cancel") else 0)
    assert under_way == 0
    assert (slot.file.key in objects(app)) == (ending == "complete")
    put(slot.upload_url, b"evil!")
    with travelled_to(slot.file.deadline_at):
        sweeper.sweep_due(app.ctx)
    assert slot.file.pending_key not in objects(app)
    assert counters(app) == (used, 0, 0)
    assert File.get_by_id(slot.file.id).sweep_at is None
    if ending == "complete":
        stored = app.ctx.store.head(slot.file.key)
        assert stored
        assert stored.first_bytes == b"12345"


def test_a_multipart_that_still_receives_parts_is_spared(app: App) -> None:
    slot = multipart_upload.start_multipart(app.ctx, app.caller, UploadRequest("b", 11 * MIB, "video/mp4", "default", {}))
    content = os.urandom(5 * MIB)
    # By the store's clock the part arrives now, by ours the deadline was a minute ago.
    File.update(deadline_at=clock.now_ms() - 60_000, sweep_at=clock.now_ms() - 60_000).execute()
    assert put(slot.part_urls[0].upload_url, content, None) == 200
    sweeper.sweep_due(app.ctx)
    spared = File.get_by_id(slot.file.id)
    assert spared.status == "UPLOADING"
    assert spared.sweep_at > clock.now_ms()
    with travelled_to(spared.sweep_at + 1000):
        sweeper.sweep_due(app.ctx)
        assert File.get_by_id(slot.file.id).failure == "expired"
    assert counters(app) == (0, 0, 0)
    assert app.ctx.store.list_parts(slot.file.key, slot.file.upload_id or "") is None


def test_one_part_sent_again_and_again_ends_the_upload(app: App) -> None:
    """SeaweedFS keeps each PUT of a part: 80 to one URL were 400 MB of its disk, where 11 are reserved."""
    flooded, honest = (
        multipart_upload.start_multipart(app.ctx, app.caller, UploadRequest("b", 11 * MIB, "video/mp4", "default", {})) for _ in range(2)
    )
    for url in honest.part_urls[:2]:
        for _ in range(2):
            assert put(url.upload_url, os.urandom(5 * MIB), None) == 200
    watch = part_floods.PartFloods()
    assert watch.end_floods(app.ctx) == 0
    for _ in range(12):
        assert put(flooded.part_urls[0].upload_url, os.urandom(5 * MIB), None) == 200
    assert watch.end_floods(app.ctx) == 1
    assert (File.get_by_id(flooded.file.id).failure, File.get_by_id(honest.file.id).status) == ("aborted", "UPLOADING")
    assert put(flooded.part_urls[0].upload_url, os.urandom(5 * MIB), None) == 404, "its URLs are dead"
    assert counters(app) == (0, 11 * MIB, 1)


def test_many_uploads_in_parts_are_looked_at_in_turns(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(part_floods, "_MOST_CHECKED", 2)
    looked_at: list[str] = []
    monkeypatch.setattr(part_floods, "_end_if_flooded", lambda ctx, file: looked_at.append(file.id) or False)
    with travelled_to(clock.now_ms()) as advance:
        ids = []
        for _ in range(3):
            slot = multipart_upload.start_multipart(app.ctx, app.caller, UploadRequest("b", 11 * MIB, "video/mp4", "default", {}))
            ids.append(slot.file.id)
            advance(10)
        watch = part_floods.PartFloods()
        for _ in range(3):
            watch.end_floods(app.ctx)
    assert looked_at == [*ids, *ids[:2]]


def test_a_multipart_whose_start_died_before_its_upload_id_was_saved(app: App) -> None:
    slot = multipart_upload.start_multipart(app.ctx, app.caller, UploadRequest("b", 11 * MIB, "video/mp4", "default", {}))
    File.update(upload_id=None).execute()
    with travelled_to(slot.file.deadline_at):
        sweeper.sweep_due(app.ctx)
    assert app.ctx.store.list_parts(slot.file.key, slot.file.upload_id or "") is None
    assert counters(app) == (0, 0, 0)


def test_a_deletion_that_the_store_refuses_is_tried_again(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    slot = request(app, b"12345")
    put(slot.upload_url, b"12345")
    single_upload.complete_upload(app.ctx, app.caller, slot.file.id, {})

    def refuse(key: str) -> None:
        raise StorageUnavailable("the store is away")

    with monkeypatch.context() as patched:
        patched.setattr(app.ctx.store, "delete", refuse)
        files.delete_file(app.ctx, app.caller, slot.file.key)
        assert sweeper.sweep_due(app.ctx) == 0
    row = File.get_by_id(slot.file.id)
    assert row.sweep_at > clock.now_ms()
    assert slot.file.key in objects(app)
    with travelled_to(row.sweep_at):
        assert sweeper.sweep_due(app.ctx) == 1
    assert slot.file.key not in objects(app)


def test_a_row_that_can_not_be_swept_holds_up_nobody(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = request(app, b"1"), request(app, b"2")
    real = lifecycle.expire

    def fail_for_the_first(ctx: object, file: File) -> None:
        if file.id == first.file.id:
            raise RuntimeError("a bug")
        real(app.ctx, file)

    monkeypatch.setattr(lifecycle, "expire", fail_for_the_first)
    with travelled_to(second.file.deadline_at):
        assert sweeper.sweep_due(app.ctx) == 1
    assert File.get_by_id(second.file.id).status == "FAILED"
    assert File.get_by_id(first.file.id).status == "UPLOADING"


def test_the_second_copy_goes_long_before_the_deadline(app: App) -> None:
    slot = request(app, b"12345")
    put(slot.upload_url, b"12345")
    single_upload.complete_upload(app.ctx, app.caller, slot.file.id, {})
    sweeper.sweep_due(app.ctx)
    assert slot.file.pending_key not in objects(app)
    assert slot.file.key in objects(app)
    assert File.get_by_id(slot.file.id).sweep_at == slot.file.deadline_at


def test_an_upload_that_was_resumed_while_the_sweeper_looked_at_it_goes_on(app: App) -> None:
    slot = multipart_upload.start_multipart(app.ctx, app.caller, UploadRequest("b", 11 * MIB, "video/mp4", "default", {}))
    with travelled_to(slot.file.deadline_at):
        stale = File.get_by_id(slot.file.id)
        multipart_upload.resume_multipart(app.ctx, app.caller, slot.file.id, slot.file.upload_id or "", None)
        lifecycle.expire(app.ctx, stale)
        assert File.get_by_id(slot.file.id).status == "UPLOADING"


def test_one_refused_object_does_not_stop_the_round(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = request(app, b"1"), request(app, b"2")
    real = app.ctx.store.delete

    def refuse_the_first(key: str) -> None:
        if first.file.id in key:
            raise AccessDenied("no", "AccessDenied")
        real(key)

    monkeypatch.setattr(app.ctx.store, "delete", refuse_the_first)
    with travelled_to(second.file.deadline_at):
        sweeper.sweep_due(app.ctx)
        assert File.get_by_id(second.file.id).sweep_at is None
        assert File.get_by_id(first.file.id).sweep_at > clock.now_ms()


def test_where_we_may_not_look_nothing_is_lost(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    slot = request(app, b"12345")
    put(slot.upload_url, b"12345")

    def deny(key: str) -> None:
        raise AccessDenied("no", "AccessDenied")

    with monkeypatch.context() as patched:
        patched.setattr(app.ctx.store, "head", deny)
        with pytest.raises(UploadNotVerified, match="403"):
            single_upload.complete_upload(app.ctx, app.caller, slot.file.id, {})
    assert single_upload.complete_upload(app.ctx, app.caller, slot.file.id, {}).status == "UPLOADED"


def test_deleting_what_is_being_completed_deletes_it(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    slot = request(app, b"12345")
    put(slot.upload_url, b"12345")
    real = lifecycle.abort

    def abort_too_late(*arguments: object, **more: object) -> None:
        single_upload.complete_upload(app.ctx, app.caller, slot.file.id, {})
        real(*arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(lifecycle, "abort", abort_too_late)
    files.delete_file(app.ctx, app.caller, slot.file.key)
    assert File.get_by_id(slot.file.id).status == "DELETED"
    assert counters(app) == (0, 0, 0)


def test_deleting_what_fails_in_that_moment_deletes_it(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    slot = request(app, b"12345")
    real = lifecycle.abort

    def abort_too_late(*arguments: object, **more: object) -> bool:
        lifecycle.leave_uploading(app.ctx, slot.file, "expired", "Too late")
        return real(*arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(lifecycle, "abort", abort_too_late)
    files.delete_file(app.ctx, app.caller, slot.file.key)
    assert File.get_by_id(slot.file.id).status == "DELETED", "or it would stay in the lists, although its deletion was acknowledged"


def test_an_abort_that_comes_after_a_deletion_ends_nothing(app: App) -> None:
    slot = request(app, b"12345")
    put(slot.upload_url, b"12345")
    single_upload.complete_upload(app.ctx, app.caller, slot.file.id, {})
    files.delete_file(app.ctx, app.caller, slot.file.key)
    with pytest.raises(UploadNotFound):
        lifecycle.abort(app.ctx, slot.file.id)
