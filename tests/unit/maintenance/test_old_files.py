"""Files that are kept for some days only. The purge of the sandbox is in tests/unit/projects/test_usage.py, with its counters."""

from __future__ import annotations

from tests.conftest import App
from tests.support.clock import travelled_to
from tests.support.single_uploads import request, upload
from tests.support.stored import objects
from uploadkit.core.clock import DAY_MS
from uploadkit.db.models import Event, File, Project
from uploadkit.maintenance import old_files, sweeper
from uploadkit.projects import usage


def test_files_go_after_the_retention_days_of_their_project(app: App) -> None:
    old, unfinished = upload(app, app.caller), request(app, app.caller).file
    with travelled_to(old.created_at + DAY_MS):
        young = upload(app, app.caller)
        assert old_files.retire_old_files(app.ctx) == 0, "off by default"
        Project.update(retention_days=1).execute()
        assert old_files.retire_old_files(app.ctx) == 0, "a day is not over until it is"
    with travelled_to(old.created_at + DAY_MS + 1):
        assert old_files.retire_old_files(app.ctx) == 1
        assert old_files.retire_old_files(app.ctx) == 0
        sweeper.sweep_due(app.ctx)
    assert File.get_by_id(old.id).status == "DELETED"
    assert File.get_by_id(young.id).status == "UPLOADED"
    assert File.get_by_id(unfinished.id).status != "DELETED"
    assert old.key not in objects(app)
    assert young.key in objects(app)
    reported = Event.select().where(Event.file_id == old.id, Event.event == "file.deleted").get()
    assert reported.detail == "Files of this project are kept for 1 days"
    assert usage.find_differences() == []
