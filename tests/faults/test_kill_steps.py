"""SIGKILL at every moment of complete, abort, delete, purge and project deletion: afterwards rows = bucket = quota.

`steps.py` finds the moments; each test walks through all of them until the act comes to its end unharmed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from tests.conftest import House, new_house
from tests.faults import steps
from tests.faults.steps import Facts
from tests.unit.maintenance.test_sweeper import MIB, objects, put
from uploadkit import db
from uploadkit.auth import api_keys, callers
from uploadkit.auth.callers import Caller
from uploadkit.core import clock
from uploadkit.db.models import File, Project
from uploadkit.files import multipart_upload, single_upload
from uploadkit.files.single_upload import UploadRequest
from uploadkit.maintenance import project_removal, reconcile, retention, sweeper
from uploadkit.objectstore import listing
from uploadkit.objectstore.store import ObjectStore
from uploadkit.projects import service as projects
from uploadkit.projects import usage

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
PARTS = (b"\x00\x00\x00\x20ftypisom".ljust(5 * MIB, b"\x01"), b"\x02" * 5 * MIB, b"\x03" * MIB)


def requested(house: House, caller: Caller, content: bytes = b"\xff\xd8\xff\xe0") -> Facts:
    slot = single_upload.request_upload(house.ctx, caller, UploadRequest("a.jpg", 4, "image/jpeg", "default", {}))
    assert put(slot.upload_url, content) == 200
    return {"id": slot.file.id, "key": slot.file.key}


def begun_in_parts(house: House, caller: Caller, *, sent: slice = slice(2, 3)) -> Facts:
    """A multipart upload under way; of its parts, `sent` have arrived: the short last one."""
    slot = multipart_upload.start_multipart(house.ctx, caller, UploadRequest("b", sum(map(len, PARTS)), "video/mp4", "default", {}))
    for part, content in list(zip(slot.part_urls, PARTS, strict=True))[sent]:
        assert put(part.upload_url, content, None) == 200
    return {"id": slot.file.id, "key": slot.file.key, "upload_id": slot.file.upload_id}


def sent_in_parts(house: House, caller: Caller) -> Facts:
    return begun_in_parts(house, caller, sent=slice(None))


def completed(house: House, caller: Caller) -> Facts:
    facts = requested(house, caller)
    single_upload.complete_upload(house.ctx, caller, facts["id"], {})
    return facts


def not_what_was_declared(house: House, caller: Caller) -> Facts:
    return requested(house, caller, b"a b!")


def a_sandbox(house: House, caller: Caller) -> Facts:
    tester = replace(caller, environment="test", access="project")
    completed(house, tester)
    requested(house, tester)
    begun_in_parts(house, tester)
    return {}


def a_project(house: House, caller: Caller) -> Facts:
    doomed = projects.create_project(house.ctx.config, callers.COMMAND_LINE, "Doomed")
    owner = api_keys.find_caller(api_keys.issue_key(house.ctx.config, callers.COMMAND_LINE, doomed.id, "x").plaintext)
    completed(house, owner)
    requested(house, owner)
    begun_in_parts(house, owner)
    return {"project": doomed.id}


def nothing(house: House, caller: Caller) -> Facts:
    return {}


@pytest.mark.parametrize(
    ("act", "prepare", "left", "least"),
    [
        ("complete", requested, 1, 9),
        ("complete", not_what_was_declared, 0, 5),
        ("complete_in_parts", sent_in_parts, 1, 7),
        ("start_in_parts", nothing, 0, 4),
        ("abort_in_parts", begun_in_parts, 0, 5),
        ("delete", requested, 0, 5),
        ("delete", completed, 0, 5),
        ("delete", begun_in_parts, 0, 5),
        ("purge", a_sandbox, 0, 20),
        ("delete_project", a_project, 0, 20),
    ],
)
def test_killed_at_every_moment(
    tmp_path: Path, house_bucket: ObjectStore, act: str, prepare: Callable[[House, Caller], Facts], left: int, least: int
) -> None:
    for moment in count(1):
        with new_house(tmp_path / str(moment), house_bucket) as house:
            facts = prepare(house, house.caller)
            kept = completed(house, house.caller)["key"]
            db.close()
        # The lock is free now, and the process that is to be killed takes it.
        ended = steps.run(tmp_path / str(moment), house.ctx.store.address, act, house.caller, facts, moment)
        steps.run(tmp_path / str(moment), house.ctx.store.address, act, house.caller, facts, 0)  # what a client would do: the same again
        settle_and_check(house, kept, left)
        if ended is not None:
            assert moment > least, f"only {ended} moments were seen"
            return


def settle_and_check(house: House, kept: str, left: int) -> None:
    """Let housekeeping run until every deadline is past, then hold rows, bucket and counters against each other."""
    project = house.project.id
    for later in (0, 2 * HOUR_MS, DAY_MS + HOUR_MS, 2 * DAY_MS):
        with clock.travelled_to(clock.now_ms() + later):
            project_removal.remove_deleted_projects(house.ctx)
            sweeper.purge_test_files(house.ctx)
            sweeper.sweep_due(house.ctx)
            retention.forget(house.ctx)
            project_removal.remove_deleted_projects(house.ctx)
    uploaded = {file.key for file in File.select().where(File.status == "UPLOADED")}
    assert kept in uploaded
    assert len(uploaded) == 1 + left
    stored = objects(house)
    ours = {key for key in stored if project in key} | {f"pending/{file.id}" for file in File.select() if f"pending/{file.id}" in stored}
    assert ours == uploaded, "bucket = rows"
    assert not [upload for upload in listing.multiparts(house.ctx.store) if project in upload.key]
    assert not File.select().where(File.status == "UPLOADING").exists()
    row = Project.get_by_id(project)
    held = sum(file.size_bytes for file in File.select().where(File.status == "UPLOADED"))
    assert (row.storage_used_bytes, row.storage_reserved_bytes, row.uploads_reserved) == (held, 0, 0), "rows = quota"
    assert usage.find_differences() == []
    assert [finding for finding in reconcile.compare(house.ctx).findings if project in finding.key or "pending/" in finding.key] == []
    db.close()
