"""API keys on the command line."""

from __future__ import annotations

from typing import get_args

import click

from uploadkit.auth import api_keys
from uploadkit.auth.callers import COMMAND_LINE, Access
from uploadkit.cli.output import as_text, emit, iso, json_option, open_installation, print_table, project_option
from uploadkit.cli.terminal import tell
from uploadkit.projects import service as projects
from uploadkit.schemas.api_keys import KeyObject, NewKeyObject
from uploadkit.schemas.base import REVOKED


@click.group("keys")
def keys_commands() -> None:
    """Create, list and revoke API keys."""


@keys_commands.command("create")
@click.option("--name", required=True, help="What the key is for, such as 'Production server'.")
@project_option
@click.option("--test", is_flag=True, help="A key for the test sandbox (uk_test_).")
@click.option("--access", type=click.Choice(get_args(Access)), default="project", show_default=True)
@json_option
@click.pass_context
def create_key(context: click.Context, name: str, project: str | None, test: bool, access: Access, as_json: bool) -> None:
    """Create an API key and show it, this once."""
    loaded = open_installation(context)
    owner = projects.find_by_id_or_slug(project)
    issued = api_keys.issue_key(loaded, COMMAND_LINE, owner.id, name, environment="test" if test else "live", access=access)
    if as_json:
        tell(as_text(NewKeyObject.of(issued)))
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
        tell(as_text([KeyObject.model_validate(key) for key in found]))
        return
    print_table(
        ("id", "key", "name", "project", "environment", "access", "last used"),
        [(k.id, k.masked_key, k.name, k.project.slug, k.environment, k.access, iso(k.last_used_at) or "never") for k in found],
    )


@keys_commands.command("revoke")
@click.argument("key_id")
@json_option
@click.pass_context
def revoke_key(context: click.Context, key_id: str, as_json: bool) -> None:
    """Revoke the API key with this id: the very next request with it is refused."""
    open_installation(context)
    key = api_keys.revoke_key(COMMAND_LINE, key_id)
    emit(REVOKED, f"Revoked {key.masked_key} ({key.name}).", as_json=as_json)
