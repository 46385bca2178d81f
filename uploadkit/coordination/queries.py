"""Rows of `idempotency`: what a POST with an Idempotency-Key made.

`Scope` says which POST: the API key, method and path, and the Idempotency-Key. What inserts or deletes belongs into the caller's write
transaction.
"""

from __future__ import annotations

from uploadkit.db.connection import execute

Scope = tuple[str, str, str]
_FIND = """
SELECT body_hash, resource_id FROM idempotency
 WHERE api_key_id = ? AND endpoint = ? AND idempotency_key = ? AND created_at > ?
"""
_KEEP = "INSERT OR REPLACE INTO idempotency VALUES (?, ?, ?, ?, ?, ?)"
_PURGE = """
DELETE FROM idempotency WHERE (api_key_id, endpoint, idempotency_key) IN
  (SELECT api_key_id, endpoint, idempotency_key FROM idempotency WHERE created_at <= ? ORDER BY created_at LIMIT ?)
"""
_BEYOND = """
SELECT created_at FROM idempotency WHERE api_key_id IN (SELECT id FROM api_key WHERE project_id = ?)
 ORDER BY created_at DESC LIMIT 1 OFFSET ?
"""
_PURGE_OF_PROJECT = """
DELETE FROM idempotency WHERE (api_key_id, endpoint, idempotency_key) IN
  (SELECT api_key_id, endpoint, idempotency_key FROM idempotency
    WHERE created_at <= ? AND api_key_id IN (SELECT id FROM api_key WHERE project_id = ?) ORDER BY created_at LIMIT ?)
"""


def find(scope: Scope, after_ms: int) -> tuple[str, str] | None:
    """Return the hash of the body and the id of what was made, if it was made after `after_ms`."""
    found: tuple[str, str] | None = execute(_FIND, (*scope, after_ms)).fetchone()
    return found


def keep(scope: Scope, body_hash: str, resource_id: str, at_ms: int) -> None:
    """Insert what was made, in place of what is there and too old to count."""
    execute(_KEEP, (*scope, body_hash, resource_id, at_ms))


def project_ids() -> list[str]:
    """Return the ids of all projects."""
    return [project_id for (project_id,) in execute("SELECT id FROM project").fetchall()]


def newest_beyond(project_id: str, kept: int) -> int | None:
    """Return when the newest was made of those that a project has beyond its newest `kept`; None: it has no more than these."""
    row = execute(_BEYOND, (project_id, kept)).fetchone()
    return None if row is None else int(row[0])


def purge(until_ms: int, most: int) -> int:
    """Delete up to `most` that were made at `until_ms` or before; return how many."""
    return int(execute(_PURGE, (until_ms, most)).rowcount)


def purge_of_project(project_id: str, until_ms: int, most: int) -> int:
    """Delete up to `most` of a project that were made at `until_ms` or before; return how many."""
    return int(execute(_PURGE_OF_PROJECT, (until_ms, project_id, most)).rowcount)
