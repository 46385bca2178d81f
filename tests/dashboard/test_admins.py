"""Admins and their sessions as services, with the clock held."""

from __future__ import annotations

import pytest

from tests.conftest import House
from uploadkit import admin_sessions, admins, clock
from uploadkit.errors import Unauthorized
from uploadkit.models import AdminSession

HOUR_MS = 3600_000


def token_of(url: str) -> str:
    return url.partition("#")[2]


def test_links_and_sessions_expire(house: House) -> None:
    config = house.ctx.config
    with clock.travelled_to(clock.now_ms()) as advance:
        url = admins.make_setup_link(config, "cli")
        advance(24 * HOUR_MS)
        with pytest.raises(Unauthorized):
            admins.set_up(token_of(url), "anna@example.com", "long enough it is")
        url = admins.first_setup_link(config)
        assert url, "the old one does not hold any more"
        assert admins.first_setup_link(config) is None
        admins.set_up(token_of(url), "anna@example.com", "long enough it is")
        assert admins.first_setup_link(config) is None
        token = admins.sign_in(config, "anna@example.com", "long enough it is", "127.0.0.1", "x" * 1000)
        session = admin_sessions.find(token)
        assert session
        assert session.admin.email == "anna@example.com"
        advance(12 * HOUR_MS)
        assert admin_sessions.find(token) is None
        admins.sign_in(config, "anna@example.com", "long enough it is", "127.0.0.1", "")
        assert AdminSession.select().count() == 1, "those that have expired are cleared away"


def test_a_notice_is_told_once(house: House) -> None:
    config = house.ctx.config
    url = admins.make_setup_link(config, "cli")
    admins.set_up(token_of(url), "anna@example.com", "long enough it is")
    token = admins.sign_in(config, "anna@example.com", "long enough it is", "127.0.0.1", "")
    session = admin_sessions.find(token)
    assert session
    admin_sessions.leave_notice(session, "Done")
    found = admin_sessions.find(token)
    assert found
    assert admin_sessions.take_notice(found) == "Done"
    found = admin_sessions.find(token)
    assert found
    assert admin_sessions.take_notice(found) is None
