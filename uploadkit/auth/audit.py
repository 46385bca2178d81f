"""The audit trail: who created, changed, revoked or deleted what.

An entry is written in the same transaction as the change, so neither is ever there without the other. Secrets stay out of it:
no key, no hash, and of a webhook URL only that it changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import orjson

from uploadkit.core import clock
from uploadkit.core.errors import Unauthorized
from uploadkit.core.ids import new_id
from uploadkit.db import paging
from uploadkit.db.models import Admin, Audit, database
from uploadkit.db.paging import Page

CLI = "cli"
"""The actor that is no API key: whoever may run commands on the appliance's machine."""

ADMIN = "admin:"
"""What stands before the address of an admin where the actor is one."""

_MOST_DETAIL_BYTES, _MOST_CHARACTERS = 2048, 200

Action = Literal["created", "changed", "revoked", "deleted", "rotated", "resumed", "signed_in"]
Kind = Literal["project", "key", "file_route", "file", "webhook_secret", "webhook_delivery", "webhook_destination", "admin", "setup_link"]


def record(actor: str, action: Action, kind: Kind, subject_id: str, project_id: str, details: Mapping[str, Any] | None = None) -> None:
    """Note that `actor` (the id of an API key, `CLI`, or `ADMIN` and an address) did `action` to a thing, inside the caller's write
    transaction. What belongs to no project has the project id "".

    Raises Unauthorized for an admin who has been removed: a request of theirs may have been let in before, and come here after.
    """
    if not database.in_transaction():
        raise RuntimeError("an audit entry belongs into the transaction of the change")
    if actor.startswith(ADMIN) and not Admin.select().where(Admin.email == actor.removeprefix(ADMIN)).exists():
        raise Unauthorized("You are no admin here any more", "Another admin has removed you")
    Audit.create(
        id=new_id(),
        at=clock.now_ms(),
        actor=actor,
        action=action,
        subject_kind=kind,
        subject_id=subject_id,
        project_id=project_id,
        details=_bounded(details or {}),
    )


def _bounded(details: Mapping[str, Any]) -> dict[str, Any]:
    """Return details that are not larger than anybody reads: whoever changes long lists again and again would fill the disk with them."""
    if len(orjson.dumps(details)) <= _MOST_DETAIL_BYTES:
        return dict(details)
    return {name: [_clipped(one) for one in value] if isinstance(value, list) else _clipped(value) for name, value in details.items()}


def _clipped(value: Any) -> Any:
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    return value if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}…"


def differences(before: Mapping[str, Any], after: Mapping[str, Any], secret: frozenset[str] = frozenset()) -> dict[str, Any]:
    """Return `{field: [old, new]}` for the fields of `after` that differ from `before`; of `secret` ones only `"changed"`. Pure."""
    return {name: "changed" if name in secret else [before[name], new] for name, new in after.items() if before[name] != new}


def list_entries(limit: int, cursor: str | None) -> Page[Audit]:
    """Return up to `limit` entries of the whole appliance, newest first. Raises ValidationFailed (cursor)."""
    return paging.newest_first(Audit.select(), Audit.at, Audit.id, limit, cursor)
