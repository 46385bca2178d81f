"""Rows of `audit`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from uploadkit.core.ids import new_id
from uploadkit.db import paging
from uploadkit.db.models import Audit
from uploadkit.db.paging import Page


def insert_audit(
    actor: str, action: str, *, at: int, subject_kind: str, subject_id: str, project_id: str, details: Mapping[str, Any]
) -> None:
    """Add an entry to the audit trail."""
    Audit.create(
        id=new_id(),
        at=at,
        actor=actor,
        action=action,
        subject_kind=subject_kind,
        subject_id=subject_id,
        project_id=project_id,
        details=details,
    )


def list_audit(limit: int, cursor: str | None) -> Page[Audit]:
    """Return up to `limit` entries of the audit trail, newest first. Raises ValidationFailed (cursor)."""
    return paging.newest_first(Audit.select(), Audit.at, Audit.id, limit, cursor)
