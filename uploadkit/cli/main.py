"""The command line: each command is a thin skin over the same functions that the API calls.

Exit codes: 0 done, 1 failed, 2 wrong usage or configuration.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from uploadkit import __version__, config
from uploadkit.cli.admins import admin_commands
from uploadkit.cli.api_keys import keys_commands
from uploadkit.cli.backups import backup_commands
from uploadkit.cli.file_routes import routes_commands
from uploadkit.cli.output import as_text, json_option
from uploadkit.cli.projects import projects_commands
from uploadkit.cli.storage import doctor, reconcile_command, storage_commands
from uploadkit.cli.terminal import tell
from uploadkit.cli.upgrade import upgrade
from uploadkit.cli.upload import upload
from uploadkit.cli.usage import usage_commands
from uploadkit.cli.webhooks import webhooks_commands
from uploadkit.context import Context
from uploadkit.core import packaged_files
from uploadkit.core.data_dir import lock_data_dir, note_file
from uploadkit.core.errors import ConfigError, UploadKitError
from uploadkit.observability import logging
from uploadkit.schemas.setup import InitialisedObject
from uploadkit.server import first_run


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
            tell(f"error: {error}", err=True)
            sys.exit(2)
        except UploadKitError as error:
            tell(f"error: {error.message}" + (f". {error.suggestion}" if error.suggestion else ""), err=True)
            sys.exit(1)


@click.group(cls=_Commands)
@click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    help="Configuration file; config.toml beside app.py (installed: in the current folder) by default.",
)
@click.version_option(__version__, prog_name="uploadkit")
@click.pass_context
def main(context: click.Context, config_file: Path | None) -> None:
    """UploadKit: file uploads on your own machine. Without a command it serves."""
    context.obj = config_file


def _load(context: click.Context) -> config.Config:
    return config.load(context.find_root().obj)


@main.command()
@click.pass_context
def serve(context: click.Context) -> None:
    """Start the appliance: API, jobs and the bundled store. The first run does `init`."""
    loaded = _load(context)
    logging.set_up(loaded.server.log_format)
    from uploadkit.server import serve  # here: Flask, the pages and the jobs are half of what a command would wait for at its start

    serve.serve(loaded, _announce)


def _announce(ctx: Context, start: first_run.Start) -> None:
    """Say where everything is. The first key goes to a terminal, or to a file that only its owner can read; never to a log."""
    base_url, data_dir = ctx.config.server.base_url, ctx.config.data_dir
    tell(f"UploadKit {__version__} is ready at {base_url}   (store: {ctx.store.address.public_endpoint}, data: {data_dir})")
    if ctx.config.dashboard.enabled:
        tell(f"Dashboard: {base_url}/dashboard")
    _show_first_run(ctx.config, start)
    if ctx.config.server.is_lost_elsewhere:
        tell(
            f"Warning: other machines may connect, but upload URLs and links say {base_url}, which there is that machine itself: set "
            f'server.public_url to the address that others open, such as "http://192.168.1.5:{ctx.config.server.port}".',
            err=True,
        )
    if ctx.config.server.https_enforced and not ctx.config.server.trusted_proxies:
        tell(
            "Warning: API calls are refused unless they come by HTTPS, and no proxy is trusted to say so: set server.trusted_proxies, "
            'or server.require_https = "off" on a LAN without TLS.',
            err=True,
        )
    if ctx.config.server.require_https == "off":
        tell("Warning: server.require_https is off, so API keys may cross the network unencrypted.", err=True)
    tell("Stop it with Ctrl-C or SIGTERM.")


def _show_first_run(loaded: config.Config, start: first_run.Start) -> None:
    note = note_file(loaded.data_dir)
    if start.has_news and sys.stdout.isatty():
        tell(note.read_text(encoding="utf-8"))
        note.unlink(missing_ok=True)
    elif note.exists():
        tell(f"What you need to begin is in {note} (only you can read it). Keep the API key: the set-up removes the file.")


@main.command()
@json_option
@click.pass_context
def init(context: click.Context, as_json: bool) -> None:
    """Make data directory, database, first project and first API key. Repeating it changes nothing."""
    os.umask(0o077)
    loaded = _load(context)
    with lock_data_dir(loaded.data_dir):
        start = first_run.prepare(loaded)
    if as_json:
        found = InitialisedObject(
            data_dir=str(loaded.data_dir), project_id=start.project.id, api_key=start.api_key, setup_url=start.setup_url
        )
        tell(as_text(found))
    elif start.has_news:
        tell(f"{'Made ' if start.api_key else ''}{loaded.data_dir} with project {start.project.id} ({start.project.name}).\n")
        tell(first_run.note_text(loaded, start))
    else:
        tell(f"{loaded.data_dir} is there already, with project {start.project.id} ({start.project.name}). Nothing was changed.")


@main.group("config")
def config_commands() -> None:
    """Look at the configuration."""


@config_commands.command("show")
@json_option
@click.pass_context
def show_config(context: click.Context, as_json: bool) -> None:
    """Show every setting as it applies: defaults, config.toml and environment together. Secrets are masked."""
    loaded = config.load(context.obj).model_dump(mode="json")
    if as_json:
        tell(json.dumps(loaded, indent=2))
        return
    for line in _lines_of(loaded, ""):
        tell(line)


@config_commands.command("reference")
def show_reference() -> None:
    """Print config.toml as it is shipped: every setting, its default and what it is for. A beginning for a file of your own."""
    tell(packaged_files.REFERENCE_CONFIG.read_text(encoding="utf-8").removesuffix("\n"))


def _lines_of(table: Mapping[str, Any], prefix: str) -> Iterator[str]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _lines_of(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name} = {json.dumps('' if value is None else value, ensure_ascii=False)}"


for _group in (projects_commands, keys_commands, routes_commands):
    main.add_command(_group)
main.add_command(admin_commands)
main.add_command(upload)
main.add_command(upgrade)
main.add_command(doctor)
main.add_command(reconcile_command)
main.add_command(storage_commands)
main.add_command(backup_commands)
main.add_command(usage_commands)
main.add_command(webhooks_commands)
