"""Projects: list, create; and of one project name, tier, limits of its own, retention, and its end."""

from __future__ import annotations

from typing import Any

from flask import g, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from uploadkit import admins, projects, tiers
from uploadkit.config import TierConfig
from uploadkit.errors import UploadKitError, ValidationFailed
from uploadkit.web import context
from uploadkit.web.dashboard import forms
from uploadkit.web.dashboard.gate import administrator, dashboard, project, say
from uploadkit.web.schemas_admin import ProjectBody, ProjectChangesBody

_SIZES = ("max_file_size", "max_storage")


@dashboard.get("/projects")
def list_projects() -> str:
    """List all projects."""
    return _list(None)


def _list(failure: UploadKitError | None) -> str:
    config = context().config
    page = projects.list_projects(admins.everywhere(g.admin), forms.MOST_ON_A_PAGE, forms.cursor())
    limits = {row.id: tiers.limits_of(config, row.tier, row.limit_overrides) for row in page.items}
    return render_template("dashboard/projects.html", page=page, limits=limits, config=config, failure=failure, form=request.form)


@dashboard.post("/projects")
def create_project() -> Response | tuple[str, int]:
    """Make a project and go into it."""
    try:
        body = forms.validated(ProjectBody, {"name": forms.text("name"), "tier": forms.text("tier") or None})
        made = projects.create_project(context().config, admins.everywhere(g.admin), body.name, body.tier)
    except UploadKitError as failure:
        return _list(failure), failure.status
    say(f"Made the project {made.name}. Next it needs an API key.")
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
        limits=tiers.limits_of(config, g.project.tier, g.project.limit_overrides),
        limit_names=list(TierConfig.model_fields),
        size_limits=_SIZES,
        failure=failure,
        form=request.form,
    )


@project.post("/settings")
def change_project() -> Response | tuple[str, int]:
    """Change name, tier, limits and retention."""
    try:
        limits = {name: _limit(name) for name in TierConfig.model_fields}
        given: dict[str, Any] = {"name": forms.text("name"), "tier": forms.text("tier")}
        given |= {"retention_days": forms.number("retention_days"), "limits": limits}
        body = forms.validated(ProjectChangesBody, given)
        projects.update_project(context().config, administrator(), g.project.id, body.to_columns())
    except UploadKitError as failure:
        return _settings(failure), failure.status
    say("Saved. It holds from the next request on.")
    return redirect(url_for(".show_project"))


def _limit(name: str) -> int | str | None:
    """Return a limit as the schema takes it; an empty field is the tier's own."""
    written = forms.text(f"limit_{name}")
    if written == projects.UNLIMITED or name in _SIZES:
        return int(written) if written.isascii() and written.isdigit() and len(written) < 17 else written or None
    return forms.number(f"limit_{name}")


@project.post("/delete")
def delete_project() -> Response | tuple[str, int]:
    """Delete the project, if its name was typed."""
    try:
        if forms.text("typed") != g.project.name.strip():
            raise ValidationFailed("The name that was typed is not this project's", "Type it exactly as it stands above the field")
        projects.delete_project(administrator(), g.project.id)
    except UploadKitError as failure:
        return _settings(failure), failure.status
    context().wake_removals()
    say(f"Deleted the project {g.project.name}. Its keys have stopped working; its files are going.")
    return redirect(url_for("dashboard.list_projects"))
