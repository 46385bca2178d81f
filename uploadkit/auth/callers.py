"""Who is asking, and what they may do: the rules of access that all projects, keys and file routes share.

A thing that the caller may not know of is answered exactly like one that does not exist.
"""

from __future__ import annotations

from dataclasses import dataclass

from uploadkit.auth.actors import Access as Access
from uploadkit.auth.actors import Actor, ApiKey, CommandLine
from uploadkit.auth.actors import Browser as Browser
from uploadkit.auth.queries import projects as queries
from uploadkit.config import TierConfig
from uploadkit.core.errors import Forbidden, NotFound
from uploadkit.core.packaged_files import PROGRAM
from uploadkit.core.values import Environment as Environment
from uploadkit.db.models import Project

NO_LIMITS = TierConfig()
"""The limits of those who have no project of their own."""


@dataclass(frozen=True)
class Caller:
    """Who is asking (`actor`), for which project and environment, with which access, and under which limits of the project's tier."""

    actor: Actor
    project_id: str
    environment: Environment
    access: Access
    limits: TierConfig

    @property
    def browser(self) -> Browser | None:
        """What the caller may do, if it is a browser without an API key."""
        return self.actor if isinstance(self.actor, Browser) else None

    @property
    def api_key_id(self) -> str | None:
        """The API key behind this caller, or behind its upload token, if there is one."""
        if isinstance(self.actor, ApiKey):
            return self.actor.id
        return self.actor.api_key_id if isinstance(self.actor, Browser) else None


COMMAND_LINE = Caller(CommandLine(), project_id="", environment="live", access="account", limits=NO_LIMITS)
"""Whoever runs commands on the appliance's machine: may do all that a key with account access may, and has no project of their own."""


def require_live(caller: Caller) -> None:
    """Refuse administrative writes (projects, keys, file routes) by test keys. Raises Forbidden."""
    if caller.environment == "test":
        raise Forbidden("A test key can't change projects, keys or file routes", "Use a live key for this call")


def require_account(caller: Caller) -> None:
    """Refuse what only keys with account access may do. Raises Forbidden."""
    require_live(caller)
    if caller.access != "account":
        raise Forbidden(
            "This needs a key with account access",
            f"Use such a key; '{PROGRAM} keys create --name NAME --access account' makes one on the appliance's machine",
        )


def find_project(caller: Caller, project_id: str) -> Project:
    """Return a project that the caller may know of: its own, or any with account access. Raises NotFound.

    Inside a write transaction this also says that the project is not being deleted.
    """
    may_know = caller.access == "account" or caller.project_id == project_id
    project = queries.find_project(project_id) if may_know else None
    if project is None:
        raise NotFound(f"There is no project {project_id!r}")
    return project
