"""The first run: data directory, database, first project and first key. Repeating it changes nothing."""

from __future__ import annotations

from dataclasses import dataclass, field

from uploadkit.auth import admins, api_keys
from uploadkit.auth.callers import COMMAND_LINE
from uploadkit.auth.queries import api_keys as key_queries
from uploadkit.config import Config
from uploadkit.core.data_dir import note_file
from uploadkit.core.durable_files import write_private
from uploadkit.core.errors import ConfigError
from uploadkit.db.connection import open_database
from uploadkit.db.models import Project
from uploadkit.projects import file_routes
from uploadkit.projects import service as projects
from uploadkit.projects.queries import projects as project_queries

FIRST_PROJECT_NAME = "Default"
FIRST_KEY_NAME = "First key"


@dataclass(frozen=True)
class Start:
    """What is there to begin with. `api_key` is the plaintext of the first key, on the first run only.

    `setup_url` is a one-time link for the first admin, as long as there is neither an admin nor a link that still holds.
    """

    project: Project
    api_key: str | None = field(repr=False)
    setup_url: str | None = field(repr=False)

    @property
    def has_news(self) -> bool:
        """Whether there is something that can't be shown a second time."""
        return bool(self.api_key or self.setup_url)


def prepare(config: Config) -> Start:
    """Open the database, bring it up to date, and make the first project and its live `account` key if there is none yet.

    The caller holds the data directory's lock. A crash between project and key is repaired by the next call.
    Raises ConfigError.
    """
    open_database(config, upgrade=True)
    _require_tiers(config)
    if not project_queries.is_there_a_project():
        projects.create_project(config, COMMAND_LINE, FIRST_PROJECT_NAME)
    project = projects.find_by_id_or_slug()
    file_routes.note_first_project(project.id)
    api_key = None
    if not key_queries.is_there_a_key():
        api_key = api_keys.issue_key(config, COMMAND_LINE, project.id, FIRST_KEY_NAME, access="account").plaintext
    return Start(project, api_key, admins.first_setup_link(config) if config.dashboard.enabled else None)


def note_text(config: Config, start: Start) -> str:
    """Return what to tell the person who starts the appliance for the first time."""
    parts = []
    if start.setup_url:
        parts.append(f"Set up the dashboard here. The link works once, within {admins.SETUP_LINK_HOURS} hours:\n\n  {start.setup_url}\n")
    if start.api_key:
        parts.append(
            "Your first API key (live, account access), shown this once:\n\n"
            f"  export UPLOADKIT_API_KEY={start.api_key}\n\n"
            "Try it:\n\n"
            f'  curl {config.server.base_url}/api/v1/files -H "x-api-key: $UPLOADKIT_API_KEY"\n'
        )
    return "\n".join(parts)


def write_note(config: Config, start: Start) -> None:
    """Leave link and key in `first-run.txt` (mode 0600), so that no log keeps them and no failed start loses them.

    A new link goes below a key that nobody has taken yet.
    """
    path = note_file(config.data_dir)
    earlier = f"{path.read_text(encoding='utf-8')}\n" if path.exists() and not start.api_key else ""
    write_private(path, earlier + note_text(config, start))


def _require_tiers(config: Config) -> None:
    """Refuse to go on when a project has a tier that the configuration no longer has. Raises ConfigError."""
    project = project_queries.one_outside(config.tiers)
    if project is not None:
        raise ConfigError(f"tiers.{project.tier}: project {project.name!r} has this tier, but the configuration lacks it; put it back")
