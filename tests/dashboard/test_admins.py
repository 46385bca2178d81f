"""Admins and their sessions as services, with the clock held."""

from __future__ import annotations

import pytest
from argon2 import PasswordHasher

from tests.conftest import App
from tests.support.clock import travelled_to
from uploadkit.auth import admins, api_keys, passwords, sessions
from uploadkit.auth.actors import CommandLine
from uploadkit.core import clock
from uploadkit.core.clock import HOUR_MS
from uploadkit.core.errors import Unauthorized
from uploadkit.db.models import Admin, AdminSession, ApiKey, Project, SetupLink
from uploadkit.projects import service as projects
from uploadkit.webhooks import secrets as webhook_secrets

PASSWORD = "long enough it is"


def found(token: str) -> AdminSession | None:
    return sessions.find([token]).get(token)


def signed_in(app: App, email: str) -> str:
    """The session of an admin who has just been made."""
    admins.set_up(token_of(admins.make_setup_link(app.ctx.config, CommandLine())), email, PASSWORD)
    return admins.sign_in(app.ctx.config, email, PASSWORD, "127.0.0.1", "")


def admin_of(token: str) -> Admin:
    session = found(token)
    assert session
    return session.admin


def token_of(url: str) -> str:
    return url.partition("#")[2]


def test_links_and_sessions_expire(app: App) -> None:
    config = app.ctx.config
    with travelled_to(clock.now_ms()) as advance:
        url = admins.make_setup_link(config, CommandLine())
        advance(24 * HOUR_MS)
        with pytest.raises(Unauthorized):
            admins.set_up(token_of(url), "anna@example.com", "long enough it is")
        url = admins.first_setup_link(config)
        assert url, "the old one does not hold any more"
        assert admins.first_setup_link(config) is None
        admins.set_up(token_of(url), "anna@example.com", "long enough it is")
        assert admins.first_setup_link(config) is None
        token = admins.sign_in(config, "anna@example.com", "long enough it is", "127.0.0.1", "x" * 1000)
        session = found(token)
        assert session
        assert session.admin.email == "anna@example.com"
        advance(12 * HOUR_MS)
        assert found(token) is None
        admins.sign_in(config, "anna@example.com", "long enough it is", "127.0.0.1", "")
        assert AdminSession.select().count() == 1, "those that have expired are cleared away"


def test_a_notice_is_told_once(app: App) -> None:
    token = signed_in(app, "anna@example.com")
    session = found(token)
    assert session
    sessions.leave_notice(session, "Done")
    session = found(token)
    assert session
    assert sessions.take_notice(session) == "Done"
    session = found(token)
    assert session
    assert sessions.take_notice(session) is None


def test_a_set_up_link_does_not_outlive_the_trust_in_those_who_may_have_it(app: App) -> None:
    """Whoever is removed, or had somebody else in their account, could come back with a link made before."""
    config = app.ctx.config
    anna = admin_of(signed_in(app, "anna@example.com"))
    ben = admin_of(signed_in(app, "ben@example.com"))
    for is_over in (
        lambda: admins.remove(anna, ben.id),
        lambda: admins.change_password(anna, PASSWORD, "another one it is", ""),
        lambda: admins.reset_password("anna@example.com", PASSWORD),
    ):
        link = token_of(admins.make_setup_link(config, CommandLine()))
        is_over()
        with pytest.raises(Unauthorized):
            admins.set_up(link, "eve@example.com", PASSWORD)


def test_whoever_is_removed_does_nothing_more(app: App) -> None:
    """A request that was let in before they were removed, and comes to its change after."""
    config = app.ctx.config
    anna = admin_of(signed_in(app, "anna@example.com"))
    ben = admin_of(signed_in(app, "ben@example.com"))
    signed_in(app, "carla@example.com")
    acting = admins.caller_for(config, ben, app.project, "live")
    admins.remove(anna, ben.id)
    for act in (
        lambda: admins.make_setup_link(config, admins.actor(ben)),
        lambda: admins.remove(ben, anna.id),
        lambda: api_keys.issue_key(config, acting, app.project.id, "Back surface", access="account"),
        lambda: projects.create_project(config, admins.everywhere(ben), "Ben's"),
        lambda: webhook_secrets.rotate_secrets(acting, app.project.id),
    ):
        with pytest.raises(Unauthorized):
            act()
    assert [admin.email for admin in admins.all_admins()] == ["anna@example.com", "carla@example.com"]
    assert not SetupLink.select().exists()
    assert ApiKey.select().count() == 1
    assert Project.select().count() == 1


def test_a_password_that_was_reset_meanwhile_stays(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking at the present password takes its time: the owner's reset in between must not be undone by whoever they lock out."""
    token = signed_in(app, "anna@example.com")
    thief = found(token)
    assert thief
    look = passwords.matches

    def reset_meanwhile(password_hash: str | None, password: str, *, is_known: bool) -> bool:
        was_right = look(password_hash, password, is_known=is_known)
        monkeypatch.setattr(passwords, "matches", look)
        admins.reset_password("anna@example.com", "set by the owner")
        return was_right

    monkeypatch.setattr(passwords, "matches", reset_meanwhile)
    with pytest.raises(Unauthorized):
        admins.change_password(thief.admin, PASSWORD, "chosen by the thief", thief.token_hash)
    assert admins.sign_in(app.ctx.config, "anna@example.com", "set by the owner", "127.0.0.1", "")
    with pytest.raises(Unauthorized):
        admins.sign_in(app.ctx.config, "anna@example.com", "chosen by the thief", "127.0.0.1", "")


@pytest.mark.parametrize(
    ("chosen", "typed"),
    [
        ("pässwörd für alle", "pa\u0308sswo\u0308rd fu\u0308r alle"),
        ("pa\u0308sswo\u0308rd fu\u0308r alle", "pässwörd für alle"),
        ("\uff50assword 12345", "password 12345"),
    ],
)
def test_a_password_is_what_it_reads_like_whatever_keyboard_wrote_it(app: App, chosen: str, typed: str) -> None:
    config = app.ctx.config
    admins.set_up(token_of(admins.make_setup_link(config, CommandLine())), "anna@example.com", chosen)
    assert admins.sign_in(config, "anna@example.com", typed, "127.0.0.1", "")


def test_a_password_kept_by_an_earlier_version_is_still_taken(app: App) -> None:
    as_it_came = "pa\u0308ssword of before"
    admins.set_up(token_of(admins.make_setup_link(app.ctx.config, CommandLine())), "anna@example.com", PASSWORD)
    Admin.update(password_hash=PasswordHasher().hash(as_it_came)).execute()
    assert admins.sign_in(app.ctx.config, "anna@example.com", as_it_came, "127.0.0.1", "")
