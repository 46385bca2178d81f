"""The audit trail: who did what, in the same transaction, without secrets."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.conftest import App
from uploadkit.auth import api_keys, audit, callers
from uploadkit.auth.actors import CommandLine
from uploadkit.core import tokens
from uploadkit.core.errors import UploadKitError
from uploadkit.db.connection import write
from uploadkit.db.models import Audit, Project
from uploadkit.projects import file_routes
from uploadkit.projects import service as projects


def trail(project_id: str) -> list[tuple[str, str, str, Any]]:
    """Actor, what, to which thing, details; oldest first."""
    entries = Audit.select().where(Audit.project_id == project_id).order_by(Audit.at, Audit.id)
    return [(entry.actor, f"{entry.subject_kind} {entry.action}", entry.subject_id, entry.details) for entry in entries]


def test_everything_that_is_administered_leaves_an_entry(app: App) -> None:
    config, admin = app.ctx.config, app.caller
    project = projects.create_project(config, admin, "Photos")
    issued = api_keys.issue_key(config, admin, project.id, "CI")
    insider = api_keys.find_caller(app.ctx.config, issued.plaintext)
    route = file_routes.create_file_route(app.ctx.config, insider, project.id, {"slug": "pics"})
    hook = "https://example.com/hooks/sesame"
    file_routes.update_file_route(app.ctx.config, insider, route.id, {"visibility": "private", "webhook_url": hook})
    file_routes.delete_file_route(insider, route.id)
    projects.update_project(config, admin, project.id, {"tier": "free", "name": "Photos", "limit_overrides": {"max_keys": "unlimited"}})
    api_keys.revoke_key(callers.COMMAND_LINE, issued.key.id)
    api_keys.revoke_key(callers.COMMAND_LINE, issued.key.id)
    projects.delete_project(admin, project.id)
    assert trail(project.id) == [
        (admin.api_key_id, "project created", project.id, {"name": "Photos", "tier": "pro"}),
        (admin.api_key_id, "key created", issued.key.id, {"name": "CI", "environment": "live", "access": "project"}),
        (insider.api_key_id, "file_route created", route.id, {"slug": "pics"}),
        (insider.api_key_id, "file_route changed", route.id, {"visibility": ["public", "private"], "webhook_url": "changed"}),
        (insider.api_key_id, "file_route deleted", route.id, {"slug": "pics"}),
        (admin.api_key_id, "project changed", project.id, {"tier": ["pro", "free"], "limit_overrides": [{}, {"max_keys": None}]}),
        ("cli", "key revoked", issued.key.id, {"name": "CI", "masked_key": issued.key.masked_key}),
        (admin.api_key_id, "project deleted", project.id, {"name": "Photos", "slug": "photos"}),
    ]
    everything = json.dumps([entry.details for entry in Audit.select()])
    for secret in (issued.plaintext, tokens.hashed(issued.plaintext), "sesame"):
        assert secret not in everything


def test_the_first_run_is_in_it(app: App) -> None:
    assert [(actor, what) for actor, what, *_ in trail(app.project.id)] == [("cli", "project created"), ("cli", "key created")]


def test_what_does_not_happen_leaves_no_entry(app: App) -> None:
    before = Audit.select().count()
    for refused in (
        lambda: projects.delete_project(app.caller, app.project.id),
        lambda: projects.create_project(app.ctx.config, app.caller, " "),
        lambda: api_keys.revoke_key(app.caller, app.caller.api_key_id),
        lambda: file_routes.create_file_route(app.ctx.config, app.caller, app.project.id, {"slug": "default"}),
    ):
        with pytest.raises(UploadKitError):
            refused()
    projects.update_project(app.ctx.config, app.caller, app.project.id, {"name": app.project.name})
    assert Audit.select().count() == before


def test_an_entry_goes_with_its_transaction(app: App) -> None:
    before = Audit.select().count()

    def fail_after(action: audit.Action) -> None:
        with write():
            Project.update(name="x").where(Project.id == app.project.id).execute()
            audit.record(CommandLine(), action, "project", app.project.id, app.project.id)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_after("changed")
    assert Audit.select().count() == before
    assert Project.get_by_id(app.project.id).name == app.project.name
    with pytest.raises(RuntimeError, match="transaction"):
        audit.record(CommandLine(), "changed", "project", app.project.id, app.project.id)


def test_long_lists_are_cut_short(app: App) -> None:
    """A file route that is changed in a loop left 57 KB each time, 300 times a minute."""
    route = file_routes.create_file_route(app.ctx.config, callers.COMMAND_LINE, app.project.id, {"slug": "a"})
    origins = [f"https://{number}.example.com" for number in range(100)]
    file_routes.update_file_route(app.ctx.config, callers.COMMAND_LINE, route.id, {"allowed_origins": origins, "visibility": "private"})
    details = Audit.select().order_by(Audit.at.desc(), Audit.id.desc()).get().details
    assert details["visibility"] == ["public", "private"]
    assert details["allowed_origins"][0] == []
    assert details["allowed_origins"][1].startswith('["https://0.example.com","https://1.')
    assert len(str(details)) < 500
