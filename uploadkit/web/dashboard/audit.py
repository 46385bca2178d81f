"""The audit trail: who did what, when."""

from __future__ import annotations

from flask import render_template

from uploadkit.auth import api_keys, audit
from uploadkit.projects import service as projects
from uploadkit.web.dashboard import forms
from uploadkit.web.dashboard.guard import dashboard


@dashboard.get("/audit")
def list_audit() -> tuple[str, int]:
    """List what was done, newest first, with the names of keys and projects that are still there."""
    found = forms.listed(lambda cursor: audit.list_entries(forms.MOST_ON_A_PAGE, cursor))
    page = render_template(
        "dashboard/audit.html",
        page=found.page,
        refused=found.refused,
        key_names=api_keys.names({entry.actor for entry in found.page.items}),
        project_names=projects.names({entry.project_id for entry in found.page.items}),
        admin_prefix=audit.ADMIN,
    )
    return page, found.status
