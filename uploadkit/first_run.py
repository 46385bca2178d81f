"""The first run: data directory, database, first project and first key. Repeating it changes nothing."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from uploadkit import keys, projects, tiers
from uploadkit.access import COMMAND_LINE
from uploadkit.config import Config
from uploadkit.db import open_database
from uploadkit.models import ApiKey, Project

FIRST_PROJECT_NAME = "Default"
FIRST_KEY_NAME = "First key"


@dataclass(frozen=True)
class Start:
    """What is there to begin with. `api_key` is the plaintext of the first key, on the first run only."""

    project: Project
    api_key: str | None = field(repr=False)


def prepare(config: Config) -> Start:
    """Open the database, bring it up to date, and make the first project and its live `account` key if there is none yet.

    The caller holds the data directory's lock. A crash between project and key is mended by the next call.
    Raises ConfigError.
    """
    open_database(config, upgrade=True)
    tiers.check_tiers(config)
    if not Project.select().exists():
        projects.create_project(config, COMMAND_LINE, FIRST_PROJECT_NAME)
    project = projects.find_by_id_or_slug()
    if ApiKey.select().exists():
        return Start(project, None)
    issued = keys.issue_key(config, COMMAND_LINE, project.id, FIRST_KEY_NAME, access="account")
    return Start(project, issued.plaintext)


def note_file(data_dir: Path) -> Path:
    """Return where the first key is left when there is no terminal to show it on."""
    return data_dir / "first-run.txt"


def note_text(config: Config, api_key: str) -> str:
    """Return what to tell the person who starts the appliance for the first time."""
    return (
        "Your first API key (live, account access), shown this once:\n\n"
        f"  export UPLOADKIT_API_KEY={api_key}\n\n"
        "Try it:\n\n"
        f'  curl {config.server.base_url}/api/v1/files -H "x-api-key: $UPLOADKIT_API_KEY"\n'
    )


def write_note(config: Config, api_key: str) -> None:
    """Leave the first key in `first-run.txt` (mode 0600), so that no log keeps it and no failed start loses it."""
    path = note_file(config.data_dir)
    partial = path.with_suffix(".partial")
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(note_text(config, api_key))
    partial.replace(path)
