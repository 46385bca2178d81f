"""Rows of `webhook_secret`: what a project's deliveries are signed with."""

from __future__ import annotations

from uploadkit.db import statements
from uploadkit.db.models import WebhookSecret
from uploadkit.webhooks.signatures import Secrets


def find(project_id: str) -> Secrets | None:
    """Return the secrets of a project."""
    row = statements.find(WebhookSecret, "project_id = ?", project_id)
    return None if row is None else Secrets(row.current_secret, row.next_secret)


def insert_first(project_id: str, made: Secrets, at_ms: int) -> None:
    """Insert the secrets of a project, unless it has some."""
    first = WebhookSecret.insert(project=project_id, current_secret=made.current, next_secret=made.next, created_at=at_ms)
    first.on_conflict_ignore().execute()


def replace(project_id: str, before: Secrets, after: Secrets, at_ms: int) -> bool:
    """Replace the secrets of a project, if the current one still is that of `before`; say whether it was."""
    changed = WebhookSecret.update(current_secret=after.current, next_secret=after.next, rotated_at=at_ms)
    return bool(changed.where(WebhookSecret.project == project_id, WebhookSecret.current_secret == before.current).execute())
