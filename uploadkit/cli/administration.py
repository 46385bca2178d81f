"""`projects`, `keys` and `routes`: the nouns on the command line. JSON output is in the words of the API."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any, TypeVar

import click
from pydantic import ValidationError
from pydantic.alias_generators import to_camel
from rich.console import Console
from rich.table import Table

from uploadkit import config
from uploadkit.auth import api_keys
from uploadkit.auth.callers import COMMAND_LINE, Access
from uploadkit.cli.terminal import plain, tell
from uploadkit.config import tier_limits
from uploadkit.core import clock
from uploadkit.db import open_database
from uploadkit.db.models import Project
from uploadkit.projects import file_routes
from uploadkit.projects import service as projects
from uploadkit.web import documented, schemas
from uploadkit.web.schemas_admin import FileRouteBody, FileRouteChangesBody

Command = TypeVar("Command", bound=Callable[..., Any])

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
project_option = click.option("--project", help="Project id or slug; the first project by default.")


def open_installation(context: click.Context) -> config.Config:
    """Configuration and database for a command that may run beside a running appliance."""
    os.umask(0o077)
    loaded = config.load(context.find_root().obj)
    open_database(loaded, upgrade=False)
    return loaded


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
    tell(json.dumps(_project_json(loaded, project)) if as_json else f"Made project {project.id} ({project.slug}).")


@projects_commands.command("list")
@json_option
@click.pass_context
def list_projects(context: click.Context, as_json: bool) -> None:
    """List projects, oldest first."""
    loaded = open_installation(context)
    found = projects.all_projects()
    if as_json:
        tell(json.dumps([_project_json(loaded, project) for project in found]))
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
    tell(json.dumps({"deleted": True}) if as_json else f"Deleted project {found.id} ({found.slug}).")


@click.group("keys")
def keys_commands() -> None:
    """Create, list and revoke API keys."""


@keys_commands.command("create")
@click.option("--name", required=True, help="What the key is for, such as 'Production server'.")
@project_option
@click.option("--test", is_flag=True, help="A key for the test sandbox (uk_test_).")
@click.option("--access", type=click.Choice(["project", "account"]), default="project", show_default=True)
@json_option
@click.pass_context
def create_key(context: click.Context, name: str, project: str | None, test: bool, access: Access, as_json: bool) -> None:
    """Create an API key and show it, this once."""
    loaded = open_installation(context)
    owner = projects.find_by_id_or_slug(project)
    issued = api_keys.issue_key(loaded, COMMAND_LINE, owner.id, name, environment="test" if test else "live", access=access)
    if as_json:
        tell(json.dumps(documented.issued_key(issued)))
    else:
        tell(issued.plaintext)
        tell("Keep it now: it can't be shown again.", err=True)


@keys_commands.command("list")
@click.option("--project", help="Project id or slug; all projects by default.")
@click.option("--revoked", is_flag=True, help="The revoked keys instead of the active ones.")
@json_option
@click.pass_context
def list_keys(context: click.Context, project: str | None, revoked: bool, as_json: bool) -> None:
    """List API keys, newest first; masked."""
    open_installation(context)
    found = api_keys.all_keys(projects.find_by_id_or_slug(project).id if project else None, revoked=revoked)
    if as_json:
        tell(json.dumps([documented.api_key(key) for key in found]))
        return
    print_table(
        ("id", "key", "name", "project", "environment", "access", "last used"),
        [(k.id, k.masked_key, k.name, k.project.slug, k.environment, k.access, _iso(k.last_used_at) or "never") for k in found],
    )


@keys_commands.command("revoke")
@click.argument("key_id")
@json_option
@click.pass_context
def revoke_key(context: click.Context, key_id: str, as_json: bool) -> None:
    """Revoke the API key with this id: the very next request with it is refused."""
    open_installation(context)
    key = api_keys.revoke_key(COMMAND_LINE, key_id)
    tell(json.dumps({"revoked": True}) if as_json else f"Revoked {key.masked_key} ({key.name}).")


@click.group("routes")
def routes_commands() -> None:
    """Create, list, change and delete file routes, the rules for uploads of one kind."""


_RULE_OPTIONS = (
    click.option("--max-file-size", help="Largest file, such as 4MB; as large as the tier allows by default."),
    click.option("--max-file-count", type=int, help="Files that a browser may select at once; 1 by default."),
    click.option("--type", "allowed_types", multiple=True, help="An allowed type, such as 'image/*'; repeat it for more. All by default."),
    click.option("--visibility", type=click.Choice(["public", "private"]), help="Public by default."),
    click.option("--webhook-url", help="Where events go."),
    click.option(
        "--webhook-event", "webhook_events", multiple=True, help="An event that goes there; repeat it. onUploadComplete by default."
    ),
    click.option("--verify-content/--no-verify-content", default=None, help="Hold first bytes against the type; on by default."),
    click.option(
        "--anonymous-uploads/--no-anonymous-uploads", default=None, help="Pages of --origin upload without a key; off by default."
    ),
    click.option("--origin", "allowed_origins", multiple=True, help="An origin for anonymous uploads; repeat it for more."),
)


def _rule_options(command: Command) -> Command:
    """The options that are fields of a file route."""
    return reduce(lambda so_far, option: option(so_far), reversed(_RULE_OPTIONS), command)


def _rules(body: type[FileRouteBody], options: dict[str, Any]) -> dict[str, Any]:
    """Columns of a file route from options, read as the API's body is. Raises ValidationFailed."""
    given = {to_camel(name): _given(value) for name, value in options.items() if value not in (None, ())}
    try:
        return body.model_validate(given).to_columns()
    except ValidationError as error:
        raise schemas.to_validation_failed(error) from None


def _given(value: Any) -> Any:
    """What stands for a field: an empty text is none, and an empty one among several is none of them."""
    return [one for one in value if one] if isinstance(value, tuple) else None if value == "" else value


@routes_commands.command("create")
@click.argument("slug")
@project_option
@_rule_options
@json_option
@click.pass_context
def create_route(context: click.Context, /, slug: str, project: str | None, as_json: bool, **options: Any) -> None:
    """Create the file route SLUG."""
    loaded = open_installation(context)
    rules = _rules(FileRouteBody, {"slug": slug, **options})
    route = file_routes.create_file_route(loaded, COMMAND_LINE, projects.find_by_id_or_slug(project).id, rules)
    tell(json.dumps(documented.file_route(route, loaded.server.base_url)) if as_json else f"Made file route {route.slug} ({route.id}).")


@routes_commands.command("update")
@click.argument("slug")
@project_option
@_rule_options
@json_option
@click.pass_context
def update_route(context: click.Context, /, slug: str, project: str | None, as_json: bool, **options: Any) -> None:
    """Change the file route SLUG for uploads from now on. What is not named stays; an empty value (--webhook-url "") takes one away."""
    loaded = open_installation(context)
    found = file_routes.find_file_route(projects.find_by_id_or_slug(project).id, slug)
    route = file_routes.update_file_route(loaded, COMMAND_LINE, found.id, _rules(FileRouteChangesBody, options))
    tell(json.dumps(documented.file_route(route, loaded.server.base_url)) if as_json else f"Changed file route {route.slug}.")


@routes_commands.command("list")
@project_option
@json_option
@click.pass_context
def list_routes(context: click.Context, project: str | None, as_json: bool) -> None:
    """List a project's file routes, oldest first."""
    loaded = open_installation(context)
    found = file_routes.all_file_routes(projects.find_by_id_or_slug(project).id)
    if as_json:
        tell(json.dumps([documented.file_route(route, loaded.server.base_url) for route in found]))
        return
    print_table(
        ("id", "slug", "largest file", "types", "visibility"),
        [(r.id, r.slug, str(r.max_file_size_bytes or "tier's"), " ".join(r.allowed_types), r.visibility) for r in found],
    )


@routes_commands.command("delete")
@click.argument("slug")
@project_option
@json_option
@click.pass_context
def delete_route(context: click.Context, slug: str, project: str | None, as_json: bool) -> None:
    """Delete the file route SLUG; its files stay."""
    open_installation(context)
    route = file_routes.find_file_route(projects.find_by_id_or_slug(project).id, slug)
    file_routes.delete_file_route(COMMAND_LINE, route.id)
    tell(json.dumps({"deleted": True}) if as_json else f"Deleted file route {slug}.")


def _project_json(loaded: config.Config, project: Project) -> dict[str, Any]:
    return documented.project(project, tier_limits.limits_of(loaded, project.tier, project.limit_overrides))


def _iso(at_ms: int | None) -> str | None:
    return None if at_ms is None else clock.to_iso(at_ms)


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print columns; never cut, whatever the width, so that ids can be copied and lines be grepped."""
    table = Table(box=None, pad_edge=False)
    for heading in headings:
        table.add_column(heading, no_wrap=True)
    for row in rows:
        table.add_row(*map(plain, row))
    Console(width=1_000).print(table, crop=False)
