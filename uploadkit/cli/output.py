"""What commands share: options, tables, progress bars, opening an installation."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence

import click
from pydantic import BaseModel
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.table import Table

from uploadkit import config
from uploadkit.cli.terminal import plain, tell
from uploadkit.core import clock
from uploadkit.db.connection import open_database
from uploadkit.schemas.base import rendered

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
project_option = click.option("--project", help="Project id or slug; the first project by default.")


def open_installation(context: click.Context) -> config.Config:
    """Configuration and database for a command that may run beside a running appliance."""
    os.umask(0o077)
    loaded = config.load(context.find_root().obj)
    open_database(loaded, upgrade=False)
    return loaded


def iso(at_ms: int | None) -> str | None:
    """Return a time of the database as people and programs read it; None stays None."""
    return None if at_ms is None else clock.to_iso(at_ms)


def as_text(answer: BaseModel | Sequence[BaseModel], indent: int | None = None) -> str:
    """Return an answer of the API, or several, as JSON."""
    return json.dumps(answer, default=rendered, indent=indent, ensure_ascii=indent is None)


def emit(answer: BaseModel, sentence: str, *, as_json: bool) -> None:
    """Print what came of a command: as the API answers it, or as a sentence."""
    tell(as_text(answer) if as_json else sentence)


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print columns; never cut, whatever the width, so that ids can be copied and lines be grepped."""
    table = Table(box=None, pad_edge=False)
    for heading in headings:
        table.add_column(heading, no_wrap=True)
    for row in rows:
        table.add_row(*map(plain, row))
    Console(width=1_000).print(table, crop=False)


def progress_bar() -> Progress:
    """Return a bar for standard error that counts bytes; switched off where that is no terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    return Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty())
