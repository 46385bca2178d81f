"""The statements about API keys, admins, their sessions and set-up links, and the audit trail.

What inserts, changes or deletes belongs into the caller's write transaction.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from peewee import Expression, ModelSelect

from uploadkit.auth.actors import Access
from uploadkit.core.ids import new_id
from uploadkit.core.values import Environment
from uploadkit.db import paging
from uploadkit.db.connection import execute
from uploadkit.db.models import Admin, AdminSession, ApiKey, Audit, Project, SetupLink
from uploadkit.db.paging import Page


def find_project(project_id: str) -> Project | None:
    """Return the project with this id, unless it has been deleted."""
    found: Project | None = Project.get_or_none(Project.id == project_id, Project.deleted_at.is_null())
    return found


# API keys


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


# Admins


def find_admin(admin_id: str) -> Admin | None:
    """Return the admin with this id."""
    found: Admin | None = Admin.get_or_none(Admin.id == admin_id)
    return found


def find_admin_by_email(email: str) -> Admin | None:
    """Return the admin with this address, which is in small letters."""
    found: Admin | None = Admin.get_or_none(Admin.email == email)
    return found


def is_admin(email: str) -> bool:
    """Say whether there is an admin with this address, which is in small letters."""
    return bool(Admin.select().where(Admin.email == email).exists())


def is_there_an_admin() -> bool:
    """Say whether there is any admin."""
    return bool(Admin.select().exists())


def count_admins() -> int:
    """Return how many admins there are."""
    return int(Admin.select().count())


def all_admins() -> list[Admin]:
    """Return all admins, the oldest first."""
    return list(Admin.select().order_by(Admin.created_at, Admin.id))


def insert_admin(email: str, password_hash: str, created_at: int) -> Admin:
    """Add an admin, whose password is as old as they are; return them. Raises peewee.IntegrityError when the address is taken."""
    admin: Admin = Admin.create(
        id=new_id(), email=email, password_hash=password_hash, created_at=created_at, password_changed_at=created_at
    )
    return admin


def password_hash_of(admin_id: str) -> str | None:
    """Return the hash of an admin's password as it is now; None when there is no such admin."""
    found: str | None = Admin.select(Admin.password_hash).where(Admin.id == admin_id).scalar()
    return found


def change_password(admin_id: str, present_hash: str, password_hash: str, at: int) -> bool:
    """Change an admin's password where it still is the one with `present_hash`; say whether it was."""
    changed = Admin.update(password_hash=password_hash, password_changed_at=at)
    return bool(changed.where(Admin.id == admin_id, Admin.password_hash == present_hash).execute())


def has_password_from(email: str, first: int, last: int) -> bool:
    """Say whether the password of the admin with this address was set between `first` and `last`, both included."""
    return bool(Admin.select().where(Admin.email == email, Admin.password_changed_at.between(first, last)).exists())


def delete_admin(admin_id: str) -> None:
    """Delete an admin, and their sessions with them."""
    Admin.delete().where(Admin.id == admin_id).execute()


# Set-up links


def is_there_a_setup_link(now: int) -> bool:
    """Say whether there is a set-up link that has not expired."""
    return bool(SetupLink.select().where(SetupLink.expires_at > now).exists())


def is_setup_link(token_hash: str, now: int) -> bool:
    """Say whether there is a set-up link with this hash that has not expired."""
    return bool(SetupLink.select().where(SetupLink.token_hash == token_hash, SetupLink.expires_at > now).exists())


def insert_setup_link(token_hash: str, created_at: int, expires_at: int) -> None:
    """Add a set-up link."""
    SetupLink.create(token_hash=token_hash, created_at=created_at, expires_at=expires_at)


def use_up_setup_link(token_hash: str, now: int) -> bool:
    """Delete a set-up link that has not expired; say whether it was there."""
    return bool(SetupLink.delete().where(SetupLink.token_hash == token_hash, SetupLink.expires_at > now).execute())


def delete_setup_links() -> None:
    """Delete all set-up links."""
    SetupLink.delete().execute()


# Sessions


def insert_session(admin_id: str, *, token_hash: str, client: str, user_agent: str, created_at: int, expires_at: int) -> None:
    """Add a session of an admin, which counts as seen when it was created."""
    AdminSession.create(
        token_hash=token_hash,
        admin=admin_id,
        client=client,
        user_agent=user_agent,
        created_at=created_at,
        seen_at=created_at,
        expires_at=expires_at,
    )


def find_sessions(token_hashes: Collection[str], now: int) -> list[AdminSession]:
    """Return the sessions with these hashes that have not expired, with their admins, the one begun last first."""
    query = AdminSession.select(AdminSession, Admin).join(Admin)
    held = query.where(AdminSession.token_hash.in_(list(token_hashes)), AdminSession.expires_at > now)
    return list(held.order_by(AdminSession.created_at.desc()))


def sessions_of(admin_id: str, now: int) -> list[AdminSession]:
    """Return an admin's sessions that have not expired, the one seen last first."""
    return list(_sessions_of(admin_id).where(AdminSession.expires_at > now).order_by(AdminSession.seen_at.desc()))


def set_session_seen(token_hash: str, at: int) -> None:
    """Note when a session was used last."""
    AdminSession.update(seen_at=at).where(AdminSession.token_hash == token_hash).execute()


def set_notice(token_hash: str, notice: str | None) -> None:
    """Set what the next page of a session has to tell."""
    AdminSession.update(notice=notice).where(AdminSession.token_hash == token_hash).execute()


def delete_expired_sessions(now: int) -> None:
    """Delete the sessions that have expired, of all admins."""
    AdminSession.delete().where(AdminSession.expires_at <= now).execute()


def keep_newest_sessions(admin_id: str, most: int) -> None:
    """Delete an admin's sessions but the `most` that were seen last."""
    newest = _sessions_of(admin_id, AdminSession.token_hash).order_by(AdminSession.seen_at.desc(), AdminSession.created_at.desc())
    AdminSession.delete().where(AdminSession.token_hash << newest.limit(-1).offset(most)).execute()


def delete_session(admin_id: str, token_hash: str) -> None:
    """Delete one session of an admin, if it is there."""
    AdminSession.delete().where(AdminSession.admin == admin_id, AdminSession.token_hash == token_hash).execute()


def delete_sessions_of(admin_id: str, but: str | None) -> None:
    """Delete all sessions of an admin but the one with this hash."""
    AdminSession.delete().where(AdminSession.admin == admin_id, AdminSession.token_hash != (but or "")).execute()


def _sessions_of(admin_id: str, *columns: Any) -> ModelSelect[AdminSession]:
    return AdminSession.select(*columns).where(AdminSession.admin == admin_id)


# The audit trail


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
