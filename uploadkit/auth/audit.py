"""The audit trail: who created, changed, revoked or deleted what.

An entry is written in the same transaction as the change, so neither is ever there without the other. Secrets stay out of it:
no key, no hash, and of a webhook URL only that it changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import orjson

from uploadkit.auth.actors import Actor, Admin
from uploadkit.auth.queries import admins
from uploadkit.auth.queries import audit as queries
from uploadkit.core import clock
from uploadkit.core.errors import Unauthorized
from uploadkit.db.connection import require_transaction
from uploadkit.db.models import Audit
from uploadkit.db.paging import Page

_MOST_DETAIL_BYTES, _MOST_CHARACTERS = 2048, 200

Action = Literal["created", "changed", "revoked", "deleted", "rotated", "resumed", "signed_in"]
Kind = Literal["project", "key", "file_route", "file", "webhook_secret", "webhook_delivery", "webhook_destination", "admin", "setup_link"]


def record(actor: Actor, action: Action, kind: Kind, subject_id: str, project_id: str, details: Mapping[str, Any] | None = None) -> None:
    """Note that `actor` did `action` to a thing, inside the caller's write transaction. What belongs to no project has the project id "".

    Raises Unauthorized for an admin who has been removed: a request of theirs may have been let in before, and come here after.
    """
    require_transaction("an audit entry belongs into the transaction of the change")
    if isinstance(actor, Admin) and not admins.is_admin(actor.email):
        raise Unauthorized("You are no admin here any more", "Another admin has removed you")
    queries.insert_audit(
        actor.name,
        action,
        at=clock.now_ms(),
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
    return queries.list_audit(limit, cursor)
