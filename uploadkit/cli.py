"""The command line: each command is a thin skin over the same functions that the API calls (operations.md).

Exit codes: 0 done, 1 failed, 2 wrong usage or configuration.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from uploadkit import __version__, clock, config, first_run, keys, logs, projects, serving, tiers
from uploadkit.cli_upload import upload
from uploadkit.context import Context
from uploadkit.db import lock_data_dir, open_database
from uploadkit.errors import ConfigError, UploadKitError
from uploadkit.models import ApiKey, Project


class _Commands(click.Group):
    """Runs `serve` when no command is named, and says in one line what went wrong."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        named = [arg for arg in args if not arg.startswith("-")]
        if not named and "--help" not in args and "--version" not in args:
            args = [*args, "serve"]
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ConfigError as error:
            click.echo(f"error: {error}", err=True)
            sys.exit(2)
        except UploadKitError as error:
            click.echo(f"error: {error.message}" + (f". {error.suggestion}" if error.suggestion else ""), err=True)
            sys.exit(1)


@click.group(cls=_Commands)
@click.option("--config", "config_file", type=click.Path(path_type=Path), help="Configuration file; config.toml beside app.py by default.")
@click.version_option(__version__, prog_name="uploadkit")
@click.pass_context
def main(context: click.Context, config_file: Path | None) -> None:
    """UploadKit: file uploads on your own machine. Without a command it serves."""
    context.obj = config_file


def _load(context: click.Context) -> config.Config:
    return config.load(context.find_root().obj)


def _open(context: click.Context) -> config.Config:
    """Configuration and database for a command that may run beside a running appliance."""
    os.umask(0o077)
    loaded = _load(context)
    open_database(loaded, upgrade=False)
    return loaded


@main.command()
@click.pass_context
def serve(context: click.Context) -> None:
    """Start the appliance: API, jobs and the bundled store. The first run does `init`."""
    loaded = _load(context)
    logs.set_up(loaded.server.log_format)
    serving.serve(loaded, _announce)


def _announce(ctx: Context, start: first_run.Start) -> None:
    """Say where everything is. The first key goes to a terminal, or to a file that only its owner can read; never to a log."""
    base_url, data_dir = ctx.config.server.base_url, ctx.config.data_dir
    click.echo(f"UploadKit {__version__} is ready at {base_url}   (store: {ctx.store.address.public_endpoint}, data: {data_dir})")
    if start.api_key:
        _show_first_key(data_dir, base_url, start.api_key)
    elif first_run.note_file(data_dir).exists():
        click.echo(f"The first API key still lies in {first_run.note_file(data_dir)}; keep it elsewhere and delete the file.")
    if ctx.config.server.https_enforced and not ctx.config.server.trusted_proxies:
        click.echo(
            "Warning: API calls are refused unless they come by HTTPS, and no proxy is trusted to say so: set server.trusted_proxies, "
            'or server.require_https = "off" on a LAN without TLS.',
            err=True,
        )
    if ctx.config.server.require_https == "off":
        click.echo("Warning: server.require_https is off, so API keys may cross the network unencrypted.", err=True)
    click.echo("Stop it with Ctrl-C or SIGTERM.")


def _show_first_key(data_dir: Path, base_url: str, api_key: str) -> None:
    lines = [
        "Your first API key (live, account access), shown this once:",
        "",
        f"  export UPLOADKIT_API_KEY={api_key}",
        "",
        "Try it:",
        "",
        f'  curl {base_url}/api/v1/files -H "x-api-key: $UPLOADKIT_API_KEY"',
        "",
    ]
    if sys.stdout.isatty():
        click.echo("\n".join(lines))
    else:
        path = first_run.write_note(data_dir, "\n".join(lines))
        click.echo(f"Your first API key is in {path} (only you can read it); keep it elsewhere and delete the file.")


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def init(context: click.Context, as_json: bool) -> None:
    """Make data directory, database, first project and first API key. Repeating it changes nothing."""
    os.umask(0o077)
    loaded = _load(context)
    with lock_data_dir(loaded.data_dir):
        start = first_run.prepare(loaded)
    if as_json:
        # setupUrl is for the dashboard's first visit, which this version does not have yet.
        found = {"dataDir": str(loaded.data_dir), "projectId": start.project.id, "apiKey": start.api_key, "setupUrl": None}
        click.echo(json.dumps(found))
    elif start.api_key:
        click.echo(f"Made {loaded.data_dir} with project {start.project.id} ({start.project.name}).")
        click.echo(f"Your first API key (live, account access), shown this once:\n\n  {start.api_key}\n")
    else:
        click.echo(f"{loaded.data_dir} is there already, with project {start.project.id} ({start.project.name}). Nothing was changed.")


@main.group("projects")
def projects_commands() -> None:
    """Create and list projects."""


@projects_commands.command("create")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def create_project(context: click.Context, name: str, as_json: bool) -> None:
    """Create a project; 'keys create --project' makes keys for it."""
    project = projects.create_project(_open(context), name)
    click.echo(json.dumps(_project_json(project)) if as_json else f"Made project {project.id} ({project.slug}).")


@projects_commands.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def list_projects(context: click.Context, as_json: bool) -> None:
    """List projects, oldest first."""
    _open(context)
    found = projects.list_projects()
    if as_json:
        click.echo(json.dumps([_project_json(project) for project in found]))
    else:
        _print_table(("id", "slug", "name", "tier"), [(p.id, p.slug, p.name, p.tier) for p in found])


@main.group("keys")
def keys_commands() -> None:
    """Create, list and revoke API keys."""


@keys_commands.command("create")
@click.option("--name", required=True, help="What the key is for, such as 'Production server'.")
@click.option("--project", help="Project id or slug; the first project by default.")
@click.option("--test", is_flag=True, help="A key for the test sandbox (uk_test_).")
@click.option("--access", type=click.Choice(["project", "account"]), default="project", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def create_key(context: click.Context, name: str, project: str | None, test: bool, access: keys.Access, as_json: bool) -> None:
    """Create an API key and show it, this once."""
    loaded = _open(context)
    owner = projects.find_project(project)
    limits = tiers.limits_of(loaded, owner.tier, owner.limit_overrides)
    issued = keys.issue_key(owner, name, limits, environment="test" if test else "live", access=access)
    if as_json:
        click.echo(json.dumps({**_key_json(issued.key), "key": issued.plaintext}))
    else:
        click.echo(issued.plaintext)
        click.echo("Keep it now: it can't be shown again.", err=True)


@keys_commands.command("list")
@click.option("--project", help="Project id or slug; all projects by default.")
@click.option("--revoked", is_flag=True, help="The revoked keys instead of the active ones.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def list_keys(context: click.Context, project: str | None, revoked: bool, as_json: bool) -> None:
    """List API keys, newest first; masked."""
    _open(context)
    found = keys.list_keys(projects.find_project(project) if project else None, revoked=revoked)
    if as_json:
        click.echo(json.dumps([_key_json(key) for key in found]))
        return
    _print_table(
        ("id", "key", "name", "project", "environment", "access", "last used"),
        [(k.id, k.masked_key, k.name, k.project.slug, k.environment, k.access, _iso(k.last_used_at) or "never") for k in found],
    )


@keys_commands.command("revoke")
@click.argument("key_id")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def revoke_key(context: click.Context, key_id: str, as_json: bool) -> None:
    """Revoke the API key with this id: the very next request with it is refused."""
    _open(context)
    key = keys.revoke_key(key_id)
    click.echo(json.dumps({"revoked": True}) if as_json else f"Revoked {key.masked_key} ({key.name}).")


def _key_json(key: ApiKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "projectId": key.project.id,
        "name": key.name,
        "maskedKey": key.masked_key,
        "environment": key.environment,
        "access": key.access,
        "createdAt": _iso(key.created_at),
        "lastUsedAt": _iso(key.last_used_at),
        "revokedAt": _iso(key.revoked_at),
    }


def _project_json(project: Project) -> dict[str, Any]:
    return {"id": project.id, "name": project.name, "slug": project.slug, "tier": project.tier, "createdAt": _iso(project.created_at)}


def _iso(at_ms: int | None) -> str | None:
    return None if at_ms is None else clock.to_iso(at_ms)


def _print_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print columns; never cut, whatever the width, so that ids can be copied and lines be grepped."""
    table = Table(box=None, pad_edge=False)
    for heading in headings:
        table.add_column(heading, no_wrap=True)
    for row in rows:
        table.add_row(*map(escape, row))
    Console(width=1_000).print(table, crop=False)


main.add_command(upload)
