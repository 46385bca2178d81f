"""Who does something: an API key, an admin of the dashboard, a browser without a key, or the command line.

The audit trail keeps an actor as text, its `name`; `named` reads that back.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Access = Literal["project", "account"]

_COMMAND_LINE = "cli"
_ADMIN = "admin:"


@dataclass(frozen=True)
class ApiKey:
    """An API key, by its id."""

    id: str

    @property
    def name(self) -> str:
        """How the audit trail calls the key: by its id."""
        return self.id


@dataclass(frozen=True)
class Admin:
    """An admin of the dashboard, by the address they sign in with."""

    email: str

    @property
    def name(self) -> str:
        """How the audit trail calls the admin: by `admin:` and the address."""
        return f"{_ADMIN}{self.email}"


@dataclass(frozen=True)
class CommandLine:
    """Whoever may run commands on the appliance's machine."""

    @property
    def name(self) -> str:
        """How the audit trail calls the command line."""
        return _COMMAND_LINE


@dataclass(frozen=True)
class Browser:
    """What a browser without an API key may do: upload by one file route, and go on with what it began there itself.

    With an upload token, `api_key_id` is the key that made the token, `metadata` what the token's owner vouches for, `max_files` how many
    it lets in, and `route_slugs` all that it is for, of which `route_slug` is the one asked for. Without one, `network` is the client's
    address (IPv6: its /64).
    """

    route_slug: str
    upload_token_id: str | None = None
    api_key_id: str | None = None
    expires_at: int | None = None
    max_files: int | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    network: str | None = None
    route_slugs: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """How the audit trail would call the browser: as the key that its token is from, if there is one."""
        return self.api_key_id or ""


Actor = ApiKey | Admin | Browser | CommandLine


def named(name: str) -> ApiKey | Admin | CommandLine:
    """Return who the audit trail means by `name`."""
    if name == _COMMAND_LINE:
        return CommandLine()
    return Admin(name.removeprefix(_ADMIN)) if name.startswith(_ADMIN) else ApiKey(name)
