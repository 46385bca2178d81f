"""Sign-ins of admins: a random token in a cookie, of which the database keeps the SHA-256, until it expires or is ended.

A session is made anew at each sign-in, so nobody can be brought to use one that somebody else knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from uploadkit.auth import last_use
from uploadkit.auth.queries import sessions as queries
from uploadkit.config import Config
from uploadkit.core import clock, tokens
from uploadkit.db.connection import write
from uploadkit.db.models import Admin, AdminSession

MOST_OF_AN_ADMIN = 100
_LONGEST_USER_AGENT = 300


def begin(config: Config, admin: Admin, client: str, user_agent: str) -> str:
    """Begin a session of `admin` for a browser at the address `client`, in the caller's write transaction; return its token.

    Of more than `MOST_OF_AN_ADMIN`, those that were used the longest ago end.
    """
    token, now = tokens.new_session_token(), clock.now_ms()
    queries.delete_expired_sessions(now)
    queries.keep_newest_sessions(admin.id, MOST_OF_AN_ADMIN - 1)
    queries.insert_session(
        admin.id,
        token_hash=tokens.hashed(token),
        client=client,
        user_agent=user_agent[:_LONGEST_USER_AGENT],
        created_at=now,
        expires_at=now + config.dashboard.session_hours * clock.HOUR_MS,
    )
    return token


def find(cookies: Sequence[str]) -> dict[str, AdminSession]:
    """Return the sessions behind the cookies of one request by their tokens, with their admins, the one begun last first.

    There may be cookies that somebody else has planted; those that belong to no session, or to one that has ended, are left out.
    """
    if not cookies:
        return {}
    now, token_of = clock.now_ms(), {tokens.hashed(token): token for token in cookies}
    found = {token_of[session.token_hash]: session for session in queries.find_sessions(token_of, now)}
    for session in found.values():
        last_use.note("an admin's session", session.seen_at, now, partial(queries.set_session_seen, session.token_hash))
    return found


def list_sessions(admin_id: str) -> list[AdminSession]:
    """Return an admin's sessions, the one seen last first."""
    return queries.sessions_of(admin_id, clock.now_ms())


def end(admin_id: str, token_hash: str) -> None:
    """End one session of an admin; one that is not there any more is no mistake."""
    with write():
        queries.delete_session(admin_id, token_hash)


def end_all(admin_id: str, but: str | None = None) -> None:
    """End all sessions of an admin `but` the one with this token hash, in the caller's write transaction."""
    queries.delete_sessions_of(admin_id, but)


def leave_notice(session: AdminSession, text: str) -> None:
    """Have the next page of a session tell `text`."""
    with write():
        queries.set_notice(session.token_hash, text)


def take_notice(session: AdminSession) -> str | None:
    """Return what there is to tell, this once."""
    if session.notice is None:
        return None
    with write():
        queries.set_notice(session.token_hash, None)
    return session.notice
