"""The audit trail: who did what, when."""

from __future__ import annotations

from collections.abc import Mapping

from flask import render_template

from uploadkit.auth import actors, api_keys, audit
from uploadkit.auth.actors import Actor, ApiKey
from uploadkit.projects import service as projects
from uploadkit.web.dashboard import forms
from uploadkit.web.dashboard.guard import dashboard


@dashboard.get("/audit")
def list_audit() -> tuple[str, int]:
    """List what was done, newest first, with the names of keys and projects that are still there."""
    found = forms.listed(lambda cursor: audit.list_entries(forms.MOST_ON_A_PAGE, cursor))
    actor_of = {entry.id: actors.named(entry.actor) for entry in found.page.items}
    key_names = api_keys.names({actor.id for actor in actor_of.values() if isinstance(actor, ApiKey)})
    page = render_template(
        "dashboard/audit.html",
        page=found.page,
        refused=found.refused,
        who={entry_id: _shown(actor, key_names) for entry_id, actor in actor_of.items()},
        project_names=projects.names({entry.project_id for entry in found.page.items}),
    )
    return page, found.status


def _shown(actor: Actor, key_names: Mapping[str, str]) -> str:
    """An actor for people: an admin by their address, a key by its name."""
    if isinstance(actor, ApiKey):
        return f"key {key_names.get(actor.id, actor.id)}"
    return actor.email if isinstance(actor, actors.Admin) else "command line"
