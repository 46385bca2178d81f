"""Rows of `api_key`."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from peewee import Expression

from uploadkit.auth.actors import Access
from uploadkit.core.ids import new_id
from uploadkit.core.values import Environment
from uploadkit.db import paging
from uploadkit.db.connection import execute
from uploadkit.db.models import ApiKey, Project
from uploadkit.db.paging import Page


class KeyInUse(NamedTuple):
    """An API key that is not revoked, and what its project says of limits (`limit_overrides` is JSON)."""

    id: str
    project_id: str
    environment: Environment
    access: Access
    last_used_at: int | None
    tier: str
    limit_overrides: str


# By hand, because each request needs it.
_KEY_IN_USE = """
SELECT k.id, k.project_id, k.environment, k.access, k.last_used_at, p.tier, p.limit_overrides
  FROM api_key k JOIN project p ON p.id = k.project_id
 WHERE k.key_hash = ? AND k.revoked_at IS NULL AND p.deleted_at IS NULL
"""


def find_key_in_use(key_hash: str) -> KeyInUse | None:
    """Return the key with this hash, unless it is revoked or its project deleted."""
    row = execute(_KEY_IN_USE, (key_hash,)).fetchone()
    return None if row is None else KeyInUse(*row)


def is_there_a_key() -> bool:
    """Say whether there is an API key, revoked or not."""
    return bool(ApiKey.select().exists())


def insert_key(
    project_id: str, name: str, *, key_hash: str, masked_key: str, environment: Environment, access: Access, created_at: int
) -> ApiKey:
    """Add an active key to a project; return it."""
    key: ApiKey = ApiKey.create(
        id=new_id(),
        project=project_id,
        name=name,
        key_hash=key_hash,
        masked_key=masked_key,
        environment=environment,
        access=access,
        created_at=created_at,
    )
    return key


def count_keys(project_id: str) -> int:
    """Return how many keys a project has had, revoked ones included."""
    return int(ApiKey.select().where(ApiKey.project == project_id).count())


def count_active_keys(project_id: str) -> int:
    """Return how many keys of a project are not revoked."""
    return int(ApiKey.select().where(ApiKey.project == project_id, ApiKey.revoked_at.is_null()).count())


def list_keys(
    project_id: str, limit: int, cursor: str | None, *, revoked: bool, access: Access | None, environment: Environment | None
) -> Page[ApiKey]:
    """Return up to `limit` active (or revoked) keys of a project, newest first; `access` and `environment` None: any.

    Raises ValidationFailed (cursor).
    """
    query = ApiKey.select().where(ApiKey.project == project_id, ApiKey.revoked_at.is_null(not revoked), *_of(access, environment))
    return paging.newest_first(query, ApiKey.created_at, ApiKey.id, limit, cursor)


def all_keys(project_id: str | None, most: int | None, *, revoked: bool) -> list[ApiKey]:
    """Return up to `most` active (or revoked) keys with their projects, newest first, of one project or of all."""
    query = ApiKey.select(ApiKey, Project).join(Project).where(ApiKey.revoked_at.is_null(not revoked), Project.deleted_at.is_null())
    if project_id is not None:
        query = query.where(ApiKey.project == project_id)
    return list(query.order_by(ApiKey.created_at.desc(), ApiKey.id.desc()).limit(most))


def key_names(key_ids: Collection[str]) -> dict[str, str]:
    """Return the names of those of `key_ids` that are there, revoked or not, by id."""
    found = ApiKey.select(ApiKey.id, ApiKey.name).where(ApiKey.id << list(key_ids))
    return {key.id: key.name for key in found}


def find_key(key_id: str, *, project_id: str | None, access: Access | None, environment: Environment | None) -> ApiKey | None:
    """Return a key, revoked or not, unless its project has been deleted; `project_id`, `access` and `environment` None: any."""
    query = ApiKey.select().join(Project).where(ApiKey.id == key_id, Project.deleted_at.is_null(), *_of(access, environment))
    found: ApiKey | None = (query if project_id is None else query.where(ApiKey.project == project_id)).first()
    return found


def _of(access: Access | None, environment: Environment | None) -> list[Expression]:
    wanted = [(ApiKey.access, access), (ApiKey.environment, environment)]
    return [field == value for field, value in wanted if value is not None]


def revoke_key(key_id: str, at: int) -> bool:
    """Revoke a key that is active; say whether it was."""
    return bool(ApiKey.update(revoked_at=at).where(ApiKey.id == key_id, ApiKey.revoked_at.is_null()).execute())


def revoke_keys_of(project_id: str, at: int) -> int:
    """Revoke the active keys of a project; return how many there were."""
    return int(ApiKey.update(revoked_at=at).where(ApiKey.project == project_id, ApiKey.revoked_at.is_null()).execute())


def is_last_account_key(key_id: str) -> bool:
    """Say whether a key is active, has account access, and is the only one that does."""
    return _are_last_account_keys(ApiKey.id == key_id)


def has_last_account_keys(project_id: str) -> bool:
    """Say whether a project has active keys with account access, and no other project does."""
    return _are_last_account_keys(ApiKey.project == project_id)


def _are_last_account_keys(leaving: Expression) -> bool:
    active = ApiKey.select().where(ApiKey.access == "account", ApiKey.revoked_at.is_null())
    return bool(active.where(leaving).exists()) and not active.where(~leaving).exists()


def set_key_used(key_id: str, at: int) -> None:
    """Note when a key was used last."""
    ApiKey.update(last_used_at=at).where(ApiKey.id == key_id).execute()
