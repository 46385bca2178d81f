"""Sign-ins of admins: a random token in a cookie, of which the database keeps the SHA-256, until it expires or is ended.

A session is made anew at each sign-in, so nobody can be brought to use one that somebody else knows.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
from collections.abc import Sequence

from peewee import OperationalError

from uploadkit.config import Config
from uploadkit.core import clock
from uploadkit.db.connection import NOTE_SECONDS, write
from uploadkit.db.models import Admin, AdminSession

log = logging.getLogger(__name__)

MOST_OF_AN_ADMIN = 100
_SEEN_EVERY_MS = 60_000
_LONGEST_USER_AGENT = 300


def hash_token(token: str) -> str:
    """Return what the database keeps of a token. SHA-256 is enough: it is 256 random bits, not a password."""
    return hashlib.sha256(token.encode()).hexdigest()


def begin(config: Config, admin: Admin, client: str, user_agent: str) -> str:
    """Begin a session of `admin` for a browser at the address `client`, in the caller's write transaction; return its token.

    Of more than `MOST_OF_AN_ADMIN`, those that were used the longest ago end.
    """
    token, now = secrets.token_urlsafe(32), clock.now_ms()
    AdminSession.delete().where(AdminSession.expires_at <= now).execute()
    mine = AdminSession.select(AdminSession.token_hash).where(AdminSession.admin == admin)
    beyond = mine.order_by(AdminSession.seen_at.desc(), AdminSession.created_at.desc()).limit(-1).offset(MOST_OF_AN_ADMIN - 1)
    AdminSession.delete().where(AdminSession.token_hash << beyond).execute()
    AdminSession.create(
        token_hash=hash_token(token),
        admin=admin,
        client=client,
        user_agent=user_agent[:_LONGEST_USER_AGENT],
        created_at=now,
        seen_at=now,
        expires_at=now + config.dashboard.session_hours * 3600_000,
    )
    return token


def find(tokens: Sequence[str]) -> dict[str, AdminSession]:
    """Return the sessions behind the cookies of one request by their tokens, with their admins, the one begun last first.

    There may be cookies that somebody else has planted; those that belong to no session, or to one that has ended, are left out.
    """
    if not tokens:
        return {}
    now, token_of = clock.now_ms(), {hash_token(token): token for token in tokens}
    query = AdminSession.select(AdminSession, Admin).join(Admin)
    held = query.where(AdminSession.token_hash.in_(list(token_of)), AdminSession.expires_at > now)
    found = {token_of[session.token_hash]: session for session in held.order_by(AdminSession.created_at.desc())}
    for session in found.values():
        if now - session.seen_at >= _SEEN_EVERY_MS:
            _note_use(session, now)
    return found


def _note_use(session: AdminSession, now: int) -> None:
    """Keep `seen_at` to the minute. A locked database or a full disk is no reason to turn an admin away."""
    try:
        with write(wait_seconds=NOTE_SECONDS):
            AdminSession.update(seen_at=now).where(AdminSession.token_hash == session.token_hash).execute()
    except OperationalError as error:
        log.warning("when an admin's session was used could not be written: %s", error)


def list_sessions(admin_id: str) -> list[AdminSession]:
    """Return an admin's sessions, the one seen last first."""
    mine = AdminSession.select().where(AdminSession.admin == admin_id, AdminSession.expires_at > clock.now_ms())
    return list(mine.order_by(AdminSession.seen_at.desc()))


def end(admin_id: str, token_hash: str) -> None:
    """End one session of an admin; one that is not there any more is no mistake."""
    with write():
        AdminSession.delete().where(AdminSession.admin == admin_id, AdminSession.token_hash == token_hash).execute()


def end_all(admin_id: str, but: str | None = None) -> None:
    """End all sessions of an admin `but` the one with this token hash, in the caller's write transaction."""
    AdminSession.delete().where(AdminSession.admin == admin_id, AdminSession.token_hash != (but or "")).execute()


def leave_notice(session: AdminSession, text: str) -> None:
    """Have the next page of a session tell `text`."""
    with write():
        AdminSession.update(notice=text).where(AdminSession.token_hash == session.token_hash).execute()


def take_notice(session: AdminSession) -> str | None:
    """Return what there is to tell, this once."""
    if session.notice is None:
        return None
    with write():
        AdminSession.update(notice=None).where(AdminSession.token_hash == session.token_hash).execute()
    return session.notice
