"""Ids of rows."""

from __future__ import annotations

import uuid_utils


def new_id() -> str:
    """Return a time-sortable id: UUID version 7 (RFC 9562 section 5.7)."""
    return str(uuid_utils.uuid7())
