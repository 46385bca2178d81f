"""What the command line prints: a terminal shows all of it and obeys none. Names, and what a store or a receiver answered, may be in it."""

from __future__ import annotations

import click
from rich.markup import escape

from uploadkit.observability.logging import printable


def tell(text: str, *, err: bool = False) -> None:
    """Print `text`, one line or several, to standard output or error. What does not print is escaped."""
    click.echo("\n".join(map(printable, text.split("\n"))), err=err)


def plain(text: str) -> str:
    """Return `text` for rich, as it stands: nothing in it is markup, or a command to a terminal."""
    return escape(printable(text))
