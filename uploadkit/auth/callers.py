"""Who is asking, and what they may do: the rules of access that all projects, keys and file routes share.

A thing that the caller may not know of is answered exactly like one that does not exist.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from uploadkit.auth import audit
from uploadkit.core.errors import Forbidden, NotFound
from uploadkit.core.shipped import PROGRAM
from uploadkit.db.models import Project

Environment = Literal["live", "test"]
Access = Literal["project", "account"]


@dataclass(frozen=True)
class Browser:
    """What a browser without an API key may do: upload by one file route, and go on with what it began there itself.

    With an upload token, `metadata` is what the token's owner vouches for, `max_files` how many it lets in, and `route_slugs` all that it
    is for, of which `route_slug` is the one asked for. Without one, `network` is the client's address (IPv6: its /64).
    """

    route_slug: str
    upload_token_id: str | None = None
    expires_at: int | None = None
    max_files: int | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    network: str | None = None
    route_slugs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Caller:
    """Who is asking: a valid API key and its project, a browser that the project lets in, an admin, or the command line.

    A browser's `key_id` is the key that made its upload token; "" without a token. For admins and the command line it is what the audit
    trail calls them.
    """

    key_id: str
    project_id: str
    environment: Environment
    access: Access
    tier: str
    limit_overrides: dict[str, Any] = field(default_factory=dict)
    browser: Browser | None = None

    @property
    def api_key_id(self) -> str | None:
        """The API key behind this caller, if there is one."""
        is_key = self.key_id not in ("", audit.CLI) and not self.key_id.startswith(audit.ADMIN)
        return self.key_id if is_key else None


COMMAND_LINE = Caller(key_id=audit.CLI, project_id="", environment="live", access="account", tier="")
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
    project: Project | None = None
    if caller.access == "account" or caller.project_id == project_id:
        project = Project.get_or_none(Project.id == project_id, Project.deleted_at.is_null())
    if project is None:
        raise NotFound(f"There is no project {project_id!r}")
    return project
