"""The audit trail: who created, changed, revoked or deleted what.

An entry is written in the same transaction as the change, so neither is ever there without the other. Secrets stay out of it:
no key, no hash, and of a webhook URL only that it changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from uploadkit import clock
from uploadkit.db import new_id
from uploadkit.models import Audit, database

CLI = "cli"
"""The actor that is no API key: whoever may run commands on the appliance's machine."""

Action = Literal["created", "changed", "revoked", "deleted", "rotated", "resumed"]
Kind = Literal["project", "key", "file_route", "file", "webhook_secret", "webhook_delivery", "webhook_destination"]


def record(actor: str, action: Action, kind: Kind, subject_id: str, project_id: str, details: Mapping[str, Any] | None = None) -> None:
    """Note that `actor` (the id of an API key, or `CLI`) did `action` to a thing, inside the caller's write transaction."""
    if not database.in_transaction():
        raise RuntimeError("an audit entry belongs into the transaction of the change")
    Audit.create(
        id=new_id(),
        at=clock.now_ms(),
        actor=actor,
        action=action,
        subject_kind=kind,
        subject_id=subject_id,
        project_id=project_id,
        details=dict(details or {}),
    )


def differences(before: Mapping[str, Any], after: Mapping[str, Any], secret: frozenset[str] = frozenset()) -> dict[str, Any]:
    """Return `{field: [old, new]}` for the fields of `after` that differ from `before`; of `secret` ones only `"changed"`. Pure."""
    return {name: "changed" if name in secret else [before[name], new] for name, new in after.items() if before[name] != new}
