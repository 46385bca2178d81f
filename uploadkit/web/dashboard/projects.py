"""Projects: list, create; and of one project name, tier, limits of its own, retention, and its end."""

from __future__ import annotations

from typing import Any

from flask import g, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from uploadkit.auth import admins
from uploadkit.config import TierConfig, tier_limits
from uploadkit.core.errors import UploadKitError, ValidationFailed
from uploadkit.projects import service as projects
from uploadkit.schemas.projects import ProjectBody, ProjectChangesBody
from uploadkit.web.dashboard import forms
from uploadkit.web.dashboard.guard import administrator, dashboard, project
from uploadkit.web.dashboard.notices import leave_notice
from uploadkit.web.requests import context

_SIZES = ("max_file_size", "max_storage")
_WORDS = {"retention_days": "must be a whole number from 1 to 36500; empty for never"} | {
    f"limits.{name}": f"must be {'a size such as 4MB or 1TB' if name in _SIZES else 'a whole number from 1 on'}, or “unlimited”"
    for name in TierConfig.model_fields
}


@dashboard.get("/projects")
def list_projects() -> tuple[str, int]:
    """List all projects."""
    return _list(None)


def _list(failure: UploadKitError | None) -> tuple[str, int]:
    config = context().config
    found = forms.listed(lambda cursor: projects.list_projects(admins.everywhere(g.admin), forms.MOST_ON_A_PAGE, cursor))
    page = render_template(
        "dashboard/projects.html",
        page=found.page,
        refused=found.refused,
        limits={row.id: tier_limits.limits_of(config, row.tier, row.limit_overrides) for row in found.page.items},
        config=config,
        failure=failure,
        form=request.form,
    )
    return page, failure.status if failure else found.status


@dashboard.post("/projects")
def create_project() -> Response | tuple[str, int]:
    """Make a project and go into it."""
    try:
        body = forms.validated(ProjectBody, {"name": forms.text("name"), "tier": forms.text("tier") or None})
        made = projects.create_project(context().config, admins.everywhere(g.admin), body.name, body.tier)
    except UploadKitError as failure:
        return _list(failure)
    leave_notice(f"Created the project {made.name}. Next, create an API key for it.")
    return redirect(url_for("dashboard.project.list_keys", slug=made.slug, environment="live"))


@project.get("/settings")
def show_project() -> str:
    """Show what can be changed of a project."""
    return _settings(None)


def _settings(failure: UploadKitError | None) -> str:
    config = context().config
    return render_template(
        "dashboard/project.html",
        config=config,
        limits=administrator().limits,
        limit_names=list(TierConfig.model_fields),
        size_limits=_SIZES,
        failure=failure,
        form=request.form,
    )


@project.post("/settings")
def change_project() -> Response | tuple[str, int]:
    """Change name, tier, limits and retention."""
    try:
        given: dict[str, Any] = {"name": forms.text("name"), "tier": forms.text("tier")}
        given |= {"retention_days": forms.number("retention_days")}
        given |= {"limits": {name: forms.number(f"limits.{name}") for name in TierConfig.model_fields}}
        body = forms.validated(ProjectChangesBody, given, _WORDS)
        projects.update_project(context().config, administrator(), g.project.id, body.to_columns())
    except UploadKitError as failure:
        return _settings(failure), failure.status
    leave_notice("Saved. It applies from the next request on.")
    return redirect(url_for(".show_project"))


@project.post("/delete")
def delete_project() -> Response | tuple[str, int]:
    """Delete the project, if its name was typed."""
    try:
        if forms.text("typed") != g.project.name.strip():
            words = {"typed": ["is not this project's: type it exactly as it stands above the field"]}
            raise ValidationFailed("The name that was typed is another one", details=words)
        projects.delete_project(administrator(), g.project.id)
    except UploadKitError as failure:
        return _settings(failure), failure.status
    context().signals.wake_removals()
    leave_notice(f"Deleted the project {g.project.name}. Its keys no longer work, and its files are being removed.")
    return redirect(url_for("dashboard.list_projects"))
