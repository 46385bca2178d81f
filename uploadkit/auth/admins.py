"""Admins, the people who use the dashboard: made by one-time set-up links, known by address and password (argon2id).

What an admin does in a project is done with account access; the audit trail names them by their address.
"""

from __future__ import annotations

import re

from uploadkit.auth import actors, audit, passwords, sessions
from uploadkit.auth.actors import Actor
from uploadkit.auth.callers import NO_LIMITS, Caller, Environment
from uploadkit.auth.queries import admins as queries
from uploadkit.config import Config, tier_limits
from uploadkit.core import clock, tokens
from uploadkit.core.errors import Conflict, NotFound, Unauthorized, ValidationFailed
from uploadkit.core.packaged_files import PROGRAM
from uploadkit.db.connection import write
from uploadkit.db.models import Admin, Project

SETUP_LINK_HOURS = 24
SHORTEST_PASSWORD = 10
NEW_PASSWORD_MINUTES = 10
_EMAIL = re.compile(r"[^@\s\x00-\x20\x7f-\x9f]{1,64}@[^@\s\x00-\x20\x7f-\x9f]{1,189}")


def actor(admin: Admin) -> actors.Admin:
    """Return an admin as the one who does something."""
    return actors.Admin(admin.email)


def caller_for(config: Config, admin: Admin, project: Project, environment: Environment) -> Caller:
    """Return what an admin may do in a project: everything, and what concerns files in one environment at a time."""
    limits = tier_limits.limits_of(config, project.tier, project.limit_overrides)
    return Caller(actor(admin), project.id, environment, "account", limits)


def everywhere(admin: Admin) -> Caller:
    """Return what an admin may do outside of any project."""
    return Caller(actor(admin), "", "live", "account", NO_LIMITS)


def make_setup_link(config: Config, made_by: Actor) -> str:
    """Return the URL of a new one-time link that makes an admin, good for `SETUP_LINK_HOURS`; links made before end.

    The token stands in the fragment, which no browser sends, so that no log ever sees it.
    """
    token, now = tokens.new_setup_token(), clock.now_ms()
    with write():
        queries.delete_setup_links()
        queries.insert_setup_link(tokens.hashed(token), created_at=now, expires_at=now + SETUP_LINK_HOURS * clock.HOUR_MS)
        audit.record(made_by, "created", "setup_link", "", "")
    return f"{config.server.base_url}/dashboard/setup#{token}"


def first_setup_link(config: Config) -> str | None:
    """Return the URL of a link for the first admin; None when there is an admin, or a link that still holds."""
    if queries.is_there_an_admin() or queries.is_there_a_setup_link(clock.now_ms()):
        return None
    return make_setup_link(config, actors.CommandLine())


def set_up(token: str, email: str, password: str) -> Admin:
    """Make an admin with a link's token, which that uses up.

    Raises Unauthorized (link unknown, used or expired), ValidationFailed (email, password), Conflict (address taken).
    """
    token_hash, email = tokens.hashed(token), email.strip().lower()
    wrong = _wrong_email(email) | _wrong_password(password)
    if not queries.is_setup_link(token_hash, clock.now_ms()):
        raise _no_link(wrong)
    _refuse(wrong)
    password_hash = passwords.hash_password(password)
    now = clock.now_ms()
    with write():
        if queries.is_admin(email):
            words = {"email": ["is that of an admin already: sign in, or give another one"]}
            raise Conflict("There is an admin with this address already", details=words)
        if not queries.use_up_setup_link(token_hash, now):
            raise _no_link({})
        admin = queries.insert_admin(email, password_hash, now)
        audit.record(actor(admin), "created", "admin", admin.id, "", {"email": email})
    return admin


def _no_link(also: dict[str, list[str]]) -> Unauthorized:
    return Unauthorized(
        "This set-up link is not valid any more, or never was",
        f"'{PROGRAM} admin setup-link' on its machine makes a new one",
        details={"token": ["is not valid any more, or never was"]} | also,
    )


def sign_in(config: Config, email: str, password: str, client: str, user_agent: str, *, is_known: bool = False) -> str:
    """Begin a session for whoever knows address and password; return its token. `is_known`: they did so from this network before.

    Raises Unauthorized, without saying what was wrong, and RateLimited when too many passwords are being looked at.
    """
    admin = queries.find_admin_by_email(email.strip().lower())
    if not passwords.matches(admin.password_hash if admin else None, password, is_known=is_known) or admin is None:
        raise Unauthorized("E-mail address and password don't belong together", f"'{PROGRAM} admin reset-password' sets a new one")
    return begin_session(config, admin, client, user_agent)


def begin_session(config: Config, admin: Admin, client: str, user_agent: str) -> str:
    """Begin a session of an admin whose password was just looked at or chosen; return its token.

    Raises Unauthorized when the password is another one by now, or the admin has been removed.
    """
    with write():
        if queries.password_hash_of(admin.id) != admin.password_hash:
            raise Unauthorized("The password has just been changed", "Sign in with the new one")
        token = sessions.begin(config, admin, client, user_agent)
        audit.record(actor(admin), "signed_in", "admin", admin.id, "")
    return token


def has_new_password(email: str) -> bool:
    """Say whether an admin has had a password for `NEW_PASSWORD_MINUTES` at most."""
    now = clock.now_ms()
    # Until `now`: not for years, after the clock was put back.
    return queries.has_password_from(email.strip().lower(), now - NEW_PASSWORD_MINUTES * 60_000 + 1, now)


def change_password(admin: Admin, present: str, wanted: str, session_hash: str) -> None:
    """Change an admin's own password; all their other sessions end, and so does a set-up link that is still open.

    Raises ValidationFailed, Unauthorized (the password was changed by somebody else in this moment), RateLimited.
    """
    wrong = {} if passwords.matches(admin.password_hash, present, is_known=True) else {"present": ["is another one"]}
    _refuse(wrong | _wrong_password(wanted))
    _set_password(admin, wanted, actor(admin), session_hash)


def reset_password(email: str, wanted: str) -> Admin:
    """Set an admin's password from the command line; all their sessions end, and a set-up link that is still open.

    Raises NotFound, ValidationFailed.
    """
    admin = find_by_email(email)
    _refuse(_wrong_password(wanted))
    _set_password(admin, wanted, actors.CommandLine(), None)
    return admin


def _set_password(admin: Admin, wanted: str, changed_by: Actor, session_hash: str | None) -> None:
    password_hash, now = passwords.hash_password(wanted), clock.now_ms()
    with write():
        # Hashing took a while, and the owner's reset must not be undone.
        if not queries.change_password(admin.id, admin.password_hash, password_hash, now):
            raise Unauthorized("The password has just been changed", "Sign in with the new one")
        queries.delete_setup_links()  # whoever was in this account may have made one to come back with
        sessions.end_all(admin.id, but=session_hash)
        audit.record(changed_by, "changed", "admin", admin.id, "", {"password": "changed", "email": admin.email})


def find_by_email(email: str | None) -> Admin:
    """Return the admin with this address; without one, the only admin there is. Raises NotFound, Conflict (there are several)."""
    found = [admin for admin in all_admins() if email is None or admin.email == email.strip().lower()]
    if not found:
        raise NotFound(
            f"There is no admin {email!r}" if email else "There is no admin yet", f"'{PROGRAM} admin setup-link' makes a link to add one"
        )
    if len(found) > 1:
        raise Conflict("There are several admins", f"Name one of them: {', '.join(admin.email for admin in found)}")
    return found[0]


def all_admins() -> list[Admin]:
    """Return all admins, the oldest first."""
    return queries.all_admins()


def are_there_any() -> bool:
    """Say whether anybody has set up the dashboard."""
    return queries.is_there_an_admin()


def remove(removed_by: Admin, admin_id: str) -> None:
    """Remove an admin with all their sessions, and a set-up link that is still open: they may have made it.

    Raises NotFound, Conflict (the last one), Unauthorized (who removes has been removed).
    """
    with write():
        admin = queries.find_admin(admin_id)
        if admin is None:
            raise NotFound("There is no such admin")
        if queries.count_admins() == 1:
            raise Conflict("The last admin stays", "Add another one first")
        audit.record(actor(removed_by), "deleted", "admin", admin.id, "", {"email": admin.email})
        queries.delete_setup_links()
        queries.delete_admin(admin.id)


def _wrong_email(email: str) -> dict[str, list[str]]:
    return {} if _EMAIL.fullmatch(email) else {"email": ['must be an address such as "anna@example.com"']}


def _wrong_password(password: str) -> dict[str, list[str]]:
    fits = SHORTEST_PASSWORD <= len(password) <= passwords.LONGEST
    return {} if fits else {"password": [f"must have {SHORTEST_PASSWORD} to {passwords.LONGEST} characters; a few words in a row are good"]}


def _refuse(wrong: dict[str, list[str]]) -> None:
    """Raise ValidationFailed with all that is wrong at once."""
    if wrong:
        raise ValidationFailed(". ".join(f"The {name} {words[0]}" for name, words in wrong.items()), details=wrong)
