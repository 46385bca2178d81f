"""What becomes of a deleted project, with the clock in our hand and a real store."""

from __future__ import annotations

import pytest
import urllib3

from tests.conftest import App
from tests.support.clock import travelled_to
from uploadkit.auth import api_keys, callers
from uploadkit.core import clock
from uploadkit.core.errors import StorageUnavailable, UploadKitError, UploadNotFound, UploadNotVerified
from uploadkit.core.sizes import MIB
from uploadkit.db import batches
from uploadkit.db.connection import execute
from uploadkit.db.models import ApiKey, Audit, Event, EventForgotten, File, FileRoute, Project, Usage, WebhookDelivery, database
from uploadkit.files import multipart_upload, single_upload
from uploadkit.files import service as files
from uploadkit.files.multipart_upload import MultipartSlot
from uploadkit.files.single_upload import UploadRequest, UploadSlot
from uploadkit.maintenance import project_removal, sweeper
from uploadkit.maintenance.queries import project_removal as queries
from uploadkit.projects import file_routes
from uploadkit.projects import service as projects
from uploadkit.webhooks import event_log
from uploadkit.webhooks import secrets as webhook_secrets
from uploadkit.webhooks.event_log import EventFilter

MINUTE_MS = 60_000


class Doomed:
    """A project with some of everything that can belong to one."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.project = projects.create_project(app.ctx.config, callers.COMMAND_LINE, "Doomed")
        self.caller = self._key("live")
        self.tester = self._key("test")
        file_routes.create_file_route(app.ctx.config, self.caller, self.project.id, {"slug": "more"})
        default = file_routes.find_file_route(self.project.id, "default")
        reported = {"webhook_url": "https://example.com/hook", "webhook_events": ["onUploadComplete", "file.failed", "file.deleted"]}
        file_routes.update_file_route(app.ctx.config, self.caller, default.id, reported)
        self.done = [self.uploaded(self.caller), self.uploaded(self.tester)]
        self.failed = self.request(self.caller)
        put(self.failed.upload_url, b"%PDF-")
        with pytest.raises(UploadNotVerified):
            single_upload.complete_upload(app.ctx, self.caller, self.failed.file.id, {})
        self.deleted = self.uploaded(self.caller)
        files.delete_file(app.ctx, self.caller, self.deleted.file.key)
        self.pending = self.request(self.tester)
        put(self.pending.upload_url)
        self.multipart = multipart_upload.start_multipart(app.ctx, self.caller, UploadRequest("b", 11 * MIB, "video/mp4", "default", {}))
        put(self.multipart.part_urls[0].upload_url, b"x" * 5 * MIB, None)
        webhook_secrets.signing_secrets(self.project.id)
        EventForgotten.create(project=self.project, environment="live", sequence=1)
        assert WebhookDelivery.select().where(WebhookDelivery.project == self.project.id).count() == 5

    def _key(self, environment: api_keys.Environment) -> api_keys.Caller:
        issued = api_keys.issue_key(self.app.ctx.config, callers.COMMAND_LINE, self.project.id, "x", environment=environment)
        return api_keys.find_caller(self.app.ctx.config, issued.plaintext)

    def request(self, caller: api_keys.Caller) -> UploadSlot:
        return single_upload.request_upload(self.app.ctx, caller, UploadRequest("a.jpg", 5, "image/jpeg", "default", {}))

    def uploaded(self, caller: api_keys.Caller) -> UploadSlot:
        slot = self.request(caller)
        put(slot.upload_url)
        single_upload.complete_upload(self.app.ctx, caller, slot.file.id, {})
        return slot

    @property
    def slots(self) -> list[UploadSlot | MultipartSlot]:
        return [*self.done, self.failed, self.deleted, self.pending, self.multipart]

    def objects(self) -> set[str]:
        """What the bucket still has of it."""
        mine = {key for slot in self.slots for key in (slot.file.key, slot.file.pending_key)}
        store = self.app.ctx.store
        pages = store._client.get_paginator("list_objects_v2").paginate(Bucket=store.address.bucket)
        return {item["Key"] for page in pages for item in page.get("Contents", [])} & mine

    def rows(self) -> dict[str, int]:
        """How many rows each table has that refer to it."""
        counts = {}
        for (table,) in execute("SELECT name FROM sqlite_schema WHERE type = 'table' AND sql LIKE '%project_id%'").fetchall():
            if table != "audit":
                counts[table] = execute(f"SELECT count(*) FROM {table} WHERE project_id = ?", (self.project.id,)).fetchone()[0]
        return {table: count for table, count in counts.items() if count}


def put(url: str, content: bytes = b"12345", content_type: str | None = "image/jpeg") -> None:
    with urllib3.PoolManager() as http:
        answer = http.request("PUT", url, body=content, headers={"Content-Type": content_type} if content_type else {})
        assert answer.status == 200, answer.data


@pytest.fixture
def doomed(app: App) -> Doomed:
    return Doomed(app)


def one_round(app: App) -> int:
    gone = project_removal.remove_deleted_projects(app.ctx)
    sweeper.sweep_due(app.ctx)
    return gone + project_removal.remove_deleted_projects(app.ctx)


def test_everything_goes_and_nothing_else(app: App, doomed: Doomed) -> None:
    bystander = single_upload.request_upload(app.ctx, app.caller, UploadRequest("a.jpg", 5, "image/jpeg", "default", {}))
    put(bystander.upload_url)
    single_upload.complete_upload(app.ctx, app.caller, bystander.file.id, {})
    assert doomed.objects()
    projects.delete_project(callers.COMMAND_LINE, doomed.project.id)
    assert one_round(app) == 0
    assert doomed.objects() == set()
    assert app.ctx.store.list_parts(doomed.multipart.file.key, doomed.multipart.file.upload_id or "") is None
    statuses = {file.status for file in File.select().where(File.project == doomed.project.id)}
    assert statuses == {"DELETED"}
    put(doomed.pending.upload_url)  # it is good for an hour
    deadline = max(slot.file.deadline_at for slot in doomed.slots)
    with travelled_to(deadline):
        assert one_round(app) == 1
    assert doomed.objects() == set()
    assert doomed.rows() == {}
    assert not Project.select().where(Project.id == doomed.project.id).exists()
    trail = [(entry.action, entry.subject_kind) for entry in Audit.select().where(Audit.project_id == doomed.project.id).order_by(Audit.id)]
    assert trail[0] == ("created", "project"), "the trail outlives it"
    assert trail[-1] == ("deleted", "project")
    assert File.get_by_id(bystander.file.id).status == "UPLOADED"
    assert app.ctx.store.head(bystander.file.key) is not None
    assert execute("PRAGMA foreign_key_check").fetchall() == []
    assert execute("INSERT INTO file_search (file_search) VALUES ('integrity-check')").fetchall() == []


def test_every_table_that_refers_to_a_project_is_cleared(app: App) -> None:
    handled = {*queries.BEFORE_FILES, *queries.AFTER_FILES, *queries.WITH_PROJECT, "file"}
    tables = [name for (name,) in execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()]
    referring = {table for table in tables if any(row[2] == "project" for row in execute(f"PRAGMA foreign_key_list({table})").fetchall())}
    assert referring == handled


def test_an_empty_project_stays_until_the_last_requests_have_ended(app: App) -> None:
    project = projects.create_project(app.ctx.config, callers.COMMAND_LINE, "Empty")
    projects.delete_project(callers.COMMAND_LINE, project.id)
    deleted_at = Project.get_by_id(project.id).deleted_at or 0
    assert one_round(app) == 0
    with travelled_to(deleted_at + MINUTE_MS):
        assert one_round(app) == 1


def test_a_request_that_was_let_in_before_is_cleared_up_after(app: App, doomed: Doomed) -> None:
    projects.delete_project(callers.COMMAND_LINE, doomed.project.id)
    one_round(app)
    late = doomed.request(doomed.caller)  # authenticated before the deletion, written after it
    put(late.upload_url)
    one_round(app)
    assert File.get_by_id(late.file.id).status == "DELETED"
    with travelled_to(late.file.deadline_at):
        assert one_round(app) == 1
    assert doomed.rows() == {}


def test_an_upload_that_is_being_completed_waits_for_the_next_round(app: App, doomed: Doomed) -> None:
    projects.delete_project(callers.COMMAND_LINE, doomed.project.id)
    with app.ctx.locks.held(doomed.pending.file.id):
        one_round(app)
        assert File.get_by_id(doomed.pending.file.id).status == "UPLOADING"
    one_round(app)
    with pytest.raises(UploadNotFound):
        single_upload.complete_upload(app.ctx, doomed.tester, doomed.pending.file.id, {})


def test_the_store_is_away(app: App, doomed: Doomed, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(key: str) -> None:
        raise StorageUnavailable("the store is away")

    projects.delete_project(callers.COMMAND_LINE, doomed.project.id)
    deadline = max(slot.file.deadline_at for slot in doomed.slots)
    with monkeypatch.context() as patched:
        patched.setattr(app.ctx.store, "delete", refuse)
        with travelled_to(deadline):
            assert one_round(app) == 0
    assert doomed.objects()
    with travelled_to(deadline + 2 * 3600_000):
        assert one_round(app) == 1
    assert doomed.objects() == set()


def test_it_stops_between_steps(app: App, doomed: Doomed) -> None:
    projects.delete_project(callers.COMMAND_LINE, doomed.project.id)
    app.ctx.stopping.set()
    with travelled_to(clock.now_ms() + 24 * 3600_000):
        assert one_round(app) == 0
        app.ctx.stopping.clear()
        assert one_round(app) == 1


@pytest.mark.parametrize("broken_off_after", range(1, 40, 3))
def test_it_goes_on_where_it_was(app: App, doomed: Doomed, broken_off_after: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever write transaction is the last one before the power goes, the next start ends what was begun."""
    projects.delete_project(callers.COMMAND_LINE, doomed.project.id)
    monkeypatch.setattr(project_removal, "_BATCH", 2)
    left = broken_off_after

    class PowerCut(BaseException):
        pass

    real = project_removal.write

    def counted() -> object:
        nonlocal left
        left -= 1
        if left < 0:
            raise PowerCut
        return real()

    with travelled_to(max(slot.file.deadline_at for slot in doomed.slots)):
        with monkeypatch.context() as patched:
            patched.setattr(project_removal, "write", counted)
            patched.setattr(batches, "write", counted)
            try:
                assert one_round(app) == 1
            except PowerCut:
                assert not database.in_transaction()
                assert execute("PRAGMA foreign_key_check").fetchall() == []
        one_round(app)
    assert doomed.rows() == {}
    assert doomed.objects() == set()


def test_what_is_listed_while_it_goes(app: App, doomed: Doomed) -> None:
    projects.delete_project(callers.COMMAND_LINE, doomed.project.id)
    with pytest.raises(UploadKitError, match="unknown or revoked"):
        api_keys.find_caller(app.ctx.config, "uk_live_" + "x" * 32)
    assert [project.name for project in projects.all_projects()] == ["Default"]
    assert {key.project_id for key in api_keys.all_keys()} == {app.project.id}
    for table in (ApiKey, FileRoute, File, Event, Usage):
        assert table.select().where(table.project == doomed.project.id).exists(), "rows go in the background"
    assert event_log.list_events(app.caller, EventFilter(), 10, None).items == []
    assert "cli" in {entry.actor for entry in Audit.select()}
