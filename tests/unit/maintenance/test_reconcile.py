"""Rows against bucket: every kind of difference is found, repaired where it can be, and nothing else is touched."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from tests.conftest import App
from tests.support.clock import travelled_to
from tests.support.single_uploads import request, upload
from tests.support.stored import counters, objects, put
from uploadkit.core import clock
from uploadkit.core.errors import Conflict
from uploadkit.core.ids import new_id
from uploadkit.core.sizes import MIB
from uploadkit.db.models import Audit, Event, File, Project
from uploadkit.files import multipart_upload, single_upload
from uploadkit.files import service as files
from uploadkit.files.single_upload import UploadRequest
from uploadkit.maintenance import reconcile, sweeper
from uploadkit.objectstore.boto import AccessDenied
from uploadkit.projects import usage


@pytest.fixture(autouse=True)
def empty_bucket(app: App) -> None:
    for key in objects(app):
        app.ctx.store.delete(key)


def write_object(app: App, key: str, content: bytes = b"stray") -> None:
    app.ctx.store._client.put_object(Bucket=app.ctx.store.address.bucket, Key=key, Body=content, ContentType="image/jpeg")


def found(app: App) -> set[tuple[str, str]]:
    return {(finding.kind, finding.key) for finding in reconcile.compare(app.ctx).findings}


def test_everything_that_uploads_leave_agrees(app: App) -> None:
    test_caller = replace(app.caller, environment="test")
    upload(app, app.caller)
    upload(app, test_caller)
    deleted = upload(app, app.caller)
    files.delete_file(app.ctx, app.caller, deleted.key)
    slot = request(app, app.caller)
    put(slot.upload_url, b"12345")
    big = multipart_upload.start_multipart(app.ctx, app.caller, UploadRequest("b", 11 * MIB, "video/mp4", "default", {}))
    put(big.part_urls[0].upload_url, os.urandom(5 * MIB), None)
    report = reconcile.compare(app.ctx)
    assert report.findings == []
    assert (report.files, report.not_ours, report.waiting, report.unseen) == (2, 0, 0, [])
    assert report.objects >= 3
    sweeper.sweep_due(app.ctx)
    assert reconcile.compare(app.ctx).findings == []


def test_a_multipart_file_agrees(app: App) -> None:
    contents = [os.urandom(5 * MIB), os.urandom(5 * MIB), b"end"]
    size = sum(map(len, contents))
    slot = multipart_upload.start_multipart(app.ctx, app.caller, UploadRequest("b", size, "video/mp4", "default", {}))
    for part, content in zip(slot.part_urls, contents, strict=True):
        put(part.upload_url, content, None)
    multipart_upload.complete_multipart(app.ctx, app.caller, slot.file.id, slot.file.upload_id or "", None, {})
    assert reconcile.compare(app.ctx).findings == []


def test_objects_that_no_file_refers_to(app: App) -> None:
    project = app.project.id
    stray = [f"{project}/default/{new_id()}/a.jpg", f"test/{project}/default/{new_id()}/a.jpg"]
    foreign = ["readme.txt", f"{new_id()}/default/{new_id()}/another-appliance.jpg", "backup/2026/a.jpg", f"{project}/notes.txt"]
    pending = f"pending/{new_id()}"
    for key in (*stray, *foreign, pending):
        write_object(app, key)
    kept = upload(app, app.caller)
    sweeper.sweep_due(app.ctx)
    report = reconcile.compare(app.ctx)
    assert {finding.key for finding in report.findings} == set(stray), "what is pending may be under way"
    assert report.not_ours == len(foreign)
    with travelled_to(clock.now_ms() + 3 * 86_400_000):
        report = reconcile.fix(app.ctx, reconcile.compare(app.ctx))
        assert {finding.key for finding in report.findings if finding.fixed} == {*stray, pending}
        assert reconcile.compare(app.ctx).findings == []
    assert objects(app) == {*foreign, kept.key}


def test_the_leavings_of_a_project_that_is_gone_are_known_by_the_audit_trail(app: App) -> None:
    gone = new_id()
    Audit.create(id=new_id(), at=1, actor="cli", action="deleted", subject_kind="project", subject_id=gone, project_id=gone)
    key = f"{gone}/default/{new_id()}/a.jpg"
    write_object(app, key)
    assert found(app) == {("object_without_row", key)}


def test_objects_of_files_that_have_ended(app: App) -> None:
    deleted = upload(app, app.caller)
    files.delete_file(app.ctx, app.caller, deleted.key)
    with travelled_to(deleted.deadline_at):
        sweeper.sweep_due(app.ctx)
    write_object(app, deleted.key)  # somebody brings it back behind our back
    assert found(app) == {("object_without_row", deleted.key)}
    reconcile.fix(app.ctx, reconcile.compare(app.ctx))
    assert deleted.key not in objects(app)


def test_files_whose_object_is_gone(app: App) -> None:
    lost, kept = upload(app, app.caller), upload(app, app.caller)
    app.ctx.store.delete(lost.key)
    assert found(app) == {("row_without_object", lost.key)}
    report = reconcile.fix(app.ctx, reconcile.compare(app.ctx))
    assert [finding.fixed for finding in report.findings] == [True]
    assert File.get_by_id(lost.id).status == "DELETED"
    assert Event.select().where(Event.file_id == lost.id, Event.event == "file.deleted").exists()
    assert Audit.select().where(Audit.subject_id == lost.id, Audit.actor == "cli").exists()
    assert counters(app) == (kept.size_bytes, 0, 0)
    assert usage.find_differences() == []
    assert reconcile.compare(app.ctx).findings == []


def test_objects_that_somebody_has_replaced(app: App) -> None:
    shorter, other = upload(app, app.caller), upload(app, app.caller)
    write_object(app, shorter.key, b"123")
    write_object(app, other.key, b"54321")
    report = reconcile.fix(app.ctx, reconcile.compare(app.ctx))
    assert {(finding.kind, finding.key, finding.fixed) for finding in report.findings} == {
        ("object_differs", shorter.key, False),
        ("object_differs", other.key, False),
    }
    assert objects(app) >= {shorter.key, other.key}


def test_multipart_uploads_that_no_file_waits_for(app: App) -> None:
    key = f"{app.project.id}/default/{new_id()}/b.mp4"
    app.ctx.store.create_multipart(key, "video/mp4", "inline")
    foreign = app.ctx.store.create_multipart("somebody/elses", "video/mp4", "inline")
    assert found(app) == {("multipart_without_row", key)}
    reconcile.fix(app.ctx, reconcile.compare(app.ctx))
    assert found(app) == set()
    app.ctx.store.abort_multipart("somebody/elses", foreign)


def test_a_bucket_that_is_the_wrong_one_costs_nothing(app: App) -> None:
    made = [upload(app, app.caller) for _ in range(4)]
    for file in made[:3]:
        app.ctx.store.delete(file.key)
    with pytest.raises(Conflict, match="3 of 4 files have no object in the bucket 'app': it looks like the wrong bucket") as refused:
        reconcile.require_plausible(app.ctx, reconcile.compare(app.ctx))
    assert "--force" in (refused.value.suggestion or "")


def test_a_database_that_is_an_old_one_costs_nothing(app: App) -> None:
    upload(app, app.caller)
    for _ in range(3):
        write_object(app, f"{app.project.id}/default/{new_id()}/a.jpg")
    with travelled_to(clock.now_ms() + 2 * 86_400_000), pytest.raises(Conflict, match="or an old, database"):
        reconcile.require_plausible(app.ctx, reconcile.compare(app.ctx))


def test_what_is_young_may_be_in_use_by_somebody_else(app: App) -> None:
    for _ in range(3):
        upload(app, app.caller)
    sweeper.sweep_due(app.ctx)
    write_object(app, f"{app.project.id}/default/{new_id()}/a.jpg")
    with pytest.raises(Conflict, match="1 of the objects without a file are younger than a day"):
        reconcile.require_plausible(app.ctx, reconcile.compare(app.ctx))
    with travelled_to(clock.now_ms() + 2 * 86_400_000):
        report = reconcile.compare(app.ctx)
        reconcile.require_plausible(app.ctx, report)
        assert [finding.fixed for finding in reconcile.fix(app.ctx, report).findings] == [True]


def test_what_a_killed_doctor_leaves_is_found_after_days(app: App) -> None:
    key = "pending/doctor-0123456789abcdef"
    write_object(app, key)
    app.ctx.store.create_multipart(f"{key}-parts", "video/mp4", "inline")
    assert reconcile.compare(app.ctx).findings == []
    with travelled_to(clock.now_ms() + 3 * 86_400_000):
        found = reconcile.compare(app.ctx)
        assert {(finding.kind, finding.key) for finding in found.findings} == {
            ("object_without_row", key),
            ("multipart_without_row", f"{key}-parts"),
        }
        reconcile.fix(app.ctx, found)
        assert reconcile.compare(app.ctx).findings == []


def test_what_changes_while_it_looks_is_no_finding(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is completed and another one deleted between the listing and the look at the rows."""
    goes = upload(app, app.caller)
    listed = list(reconcile.listing.objects(app.ctx.store))

    def listing_of_a_moment_ago(store: object) -> list[list[object]]:
        files.delete_file(app.ctx, app.caller, goes.key)
        sweeper.sweep_due(app.ctx)
        with travelled_to(goes.deadline_at):
            sweeper.sweep_due(app.ctx)
        upload(app, app.caller)
        return listed  # type: ignore[return-value]

    monkeypatch.setattr(reconcile.listing, "objects", listing_of_a_moment_ago)
    assert reconcile.compare(app.ctx).findings == []


def test_without_the_permission_it_says_which(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    real = app.ctx.store.ask

    def deny(operation: str, **parameters: object) -> object:
        if operation == "list_multipart_uploads":
            raise AccessDenied("denied", "AccessDenied", "Give s3:ListBucketMultipartUploads")
        return real(operation, **parameters)

    monkeypatch.setattr(app.ctx.store, "ask", deny)
    report = reconcile.compare(app.ctx)
    assert report.findings == []
    assert "s3:ListBucketMultipartUploads" in report.unseen[0]


def test_a_late_sweeper_is_seen(app: App) -> None:
    slot = request(app, app.caller)
    with travelled_to(slot.file.deadline_at + 3_600_001):
        assert reconcile.compare(app.ctx).waiting == 1


def test_a_bucket_of_many_pages(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slugs where one begins like the other: stores list those in different orders."""
    real = app.ctx.store.ask
    monkeypatch.setattr(app.ctx.store, "ask", lambda operation, **more: real(operation, **more, **_pages_of_three(operation)))
    project = app.project.id
    for slug in ("docs", "docs-2", "docs.x", "docs_y"):
        for _ in range(4):
            write_object(app, f"{project}/{slug}/{new_id()}/a.jpg")
    report = reconcile.compare(app.ctx)
    assert (report.objects, len(report.findings)) == (16, 16)
    reconcile.fix(app.ctx, report)
    assert objects(app) == set()
    assert Project.get_by_id(project).storage_used_bytes == 0
    single_upload.request_upload(app.ctx, app.caller, UploadRequest("a.jpg", 1, "image/jpeg", "default", {}))


def _pages_of_three(operation: str) -> dict[str, int]:
    return {"MaxKeys": 3} if operation == "list_objects_v2" else {}
