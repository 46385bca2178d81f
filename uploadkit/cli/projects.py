"""Projects on the command line."""

from __future__ import annotations

import click

from uploadkit import config
from uploadkit.auth.callers import COMMAND_LINE
from uploadkit.cli.output import as_text, emit, json_option, open_installation, print_table
from uploadkit.cli.terminal import tell
from uploadkit.config import tier_limits
from uploadkit.db.models import Project
from uploadkit.projects import service as projects
from uploadkit.schemas.base import DELETED
from uploadkit.schemas.projects import ProjectObject


@click.group("projects")
def projects_commands() -> None:
    """Create, list and delete projects."""


@projects_commands.command("create")
@click.argument("name")
@click.option("--tier", help="Its tier; limits.default_tier by default.")
@json_option
@click.pass_context
def create_project(context: click.Context, name: str, tier: str | None, as_json: bool) -> None:
    """Create a project; 'keys create --project' makes keys for it."""
    loaded = open_installation(context)
    project = projects.create_project(loaded, COMMAND_LINE, name, tier)
    emit(_shown(loaded, project), f"Made project {project.id} ({project.slug}).", as_json=as_json)


@projects_commands.command("list")
@json_option
@click.pass_context
def list_projects(context: click.Context, as_json: bool) -> None:
    """List projects, oldest first."""
    loaded = open_installation(context)
    found = projects.all_projects()
    if as_json:
        tell(as_text([_shown(loaded, project) for project in found]))
    else:
        print_table(("id", "slug", "name", "tier"), [(p.id, p.slug, p.name, p.tier) for p in found])


@projects_commands.command("delete")
@click.argument("project")
@click.confirmation_option(prompt="Its keys stop working at once and all its files go, for good. Go on?", help="Don't ask.")
@json_option
@click.pass_context
def delete_project(context: click.Context, project: str, as_json: bool) -> None:
    """Delete PROJECT (id or slug) with all its files; the appliance takes them away while it runs."""
    open_installation(context)
    found = projects.find_by_id_or_slug(project)
    projects.delete_project(COMMAND_LINE, found.id)
    emit(DELETED, f"Deleted project {found.id} ({found.slug}).", as_json=as_json)


def _shown(loaded: config.Config, project: Project) -> ProjectObject:
    return ProjectObject.of(project, tier_limits.limits_of(loaded, project.tier, project.limit_overrides))
