"""The audit trail: who did what, when."""

from __future__ import annotations

from flask import render_template

from uploadkit import audit, keys, projects
from uploadkit.web.dashboard import forms
from uploadkit.web.dashboard.gate import dashboard


@dashboard.get("/audit")
def list_audit() -> str:
    """List what was done, newest first, with the names of keys and projects that are still there."""
    page = audit.list_entries(forms.MOST_ON_A_PAGE, forms.cursor())
    return render_template(
        "dashboard/audit.html",
        page=page,
        key_names=keys.names({entry.actor for entry in page.items}),
        project_names={row.id: row.name for row in projects.all_projects()},
        admin_prefix=audit.ADMIN,
    )
