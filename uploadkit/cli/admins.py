"""`admin`: the people who use the dashboard, from the appliance's own machine."""

from __future__ import annotations

import sys

import click

from uploadkit.auth import actors, admins
from uploadkit.cli.output import open_installation
from uploadkit.cli.terminal import tell
from uploadkit.observability.logging import printable


@click.group("admin")
def admin_commands() -> None:
    """Make links that add admins of the dashboard, and reset their passwords."""


@admin_commands.command("setup-link")
@click.pass_context
def setup_link(context: click.Context) -> None:
    """Print a new one-time link that adds an admin; a link made before ends."""
    loaded = open_installation(context)
    tell(admins.make_setup_link(loaded, actors.CommandLine()))
    tell(f"It works once, within {admins.SETUP_LINK_HOURS} hours.", err=True)
    if not loaded.dashboard.enabled:
        tell("dashboard.enabled is false, so there is no page to open with it now.", err=True)


@admin_commands.command("reset-password")
@click.argument("email", required=False)
@click.pass_context
def reset_password(context: click.Context, email: str | None) -> None:
    """Set a new password of the admin EMAIL (the only one by default); all their sessions end.

    It is asked for twice on a terminal, else read from standard input.
    """
    open_installation(context)
    admin = admins.find_by_email(email)
    if sys.stdin.isatty():
        password = click.prompt(f"New password of {printable(admin.email)}", hide_input=True, confirmation_prompt=True)
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    admins.reset_password(admin.email, password)
    tell(f"{admin.email} has a new password, and was signed out everywhere.")
