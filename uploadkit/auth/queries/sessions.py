"""Rows of `admin_session`."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from peewee import ModelSelect

from uploadkit.db.models import Admin, AdminSession


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
