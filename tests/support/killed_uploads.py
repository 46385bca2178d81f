"""Uploads that are killed at a step, and what has to be true once housekeeping has been round."""

from __future__ import annotations

from tests.conftest import App
from tests.faults.steps import Facts
from tests.support.clock import travelled_to
from tests.support.stored import objects, put
from uploadkit.auth.callers import Caller
from uploadkit.core import clock
from uploadkit.core.clock import DAY_MS, HOUR_MS
from uploadkit.core.sizes import MIB
from uploadkit.db import connection
from uploadkit.db.models import File, Project
from uploadkit.files import multipart_upload, single_upload
from uploadkit.files.single_upload import UploadRequest
from uploadkit.maintenance import old_files, project_removal, reconcile, retention, sweeper
from uploadkit.objectstore import listing
from uploadkit.projects import usage

PARTS = (b"\x00\x00\x00\x20ftypisom".ljust(5 * MIB, b"\x01"), b"\x02" * 5 * MIB, b"\x03" * MIB)


def requested(app: App, caller: Caller, content: bytes = b"\xff\xd8\xff\xe0") -> Facts:
    slot = single_upload.request_upload(app.ctx, caller, UploadRequest("a.jpg", 4, "image/jpeg", "default", {}))
    assert put(slot.upload_url, content) == 200
    return {"id": slot.file.id, "key": slot.file.key}


def begun_in_parts(app: App, caller: Caller, *, sent: slice = slice(2, 3)) -> Facts:
    """A multipart upload under way; of its parts, `sent` have arrived: the short last one."""
    slot = multipart_upload.start_multipart(app.ctx, caller, UploadRequest("b", sum(map(len, PARTS)), "video/mp4", "default", {}))
    for part, content in list(zip(slot.part_urls, PARTS, strict=True))[sent]:
        assert put(part.upload_url, content, None) == 200
    return {"id": slot.file.id, "key": slot.file.key, "upload_id": slot.file.upload_id}


def sent_in_parts(app: App, caller: Caller) -> Facts:
    return begun_in_parts(app, caller, sent=slice(None))


def completed(app: App, caller: Caller) -> Facts:
    facts = requested(app, caller)
    single_upload.complete_upload(app.ctx, caller, facts["id"], {})
    return facts


def settle_and_check(app: App, kept: str, left: int) -> None:
    """Let housekeeping run until every deadline is past, then hold rows, bucket and counters against each other."""
    project = app.project.id
    for later in (0, 2 * HOUR_MS, DAY_MS + HOUR_MS, 2 * DAY_MS):
        with travelled_to(clock.now_ms() + later):
            project_removal.remove_deleted_projects(app.ctx)
            old_files.purge_test_files(app.ctx)
            sweeper.sweep_due(app.ctx)
            retention.forget(app.ctx)
            project_removal.remove_deleted_projects(app.ctx)
    uploaded = {file.key for file in File.select().where(File.status == "UPLOADED")}
    assert kept in uploaded
    assert len(uploaded) == 1 + left
    stored = objects(app)
    ours = {key for key in stored if project in key} | {f"pending/{file.id}" for file in File.select() if f"pending/{file.id}" in stored}
    assert ours == uploaded, "bucket = rows"
    assert not [upload for upload in listing.multiparts(app.ctx.store) if project in upload.key]
    assert not File.select().where(File.status == "UPLOADING").exists()
    row = Project.get_by_id(project)
    held = sum(file.size_bytes for file in File.select().where(File.status == "UPLOADED"))
    assert (row.storage_used_bytes, row.storage_reserved_bytes, row.uploads_reserved) == (held, 0, 0), "rows = quota"
    assert usage.find_differences() == []
    assert [finding for finding in reconcile.compare(app.ctx).findings if project in finding.key or "pending/" in finding.key] == []
    connection.close()
