"""However many projects and sessions there are, a page stays as large as somebody reads."""

from __future__ import annotations

import re

import pytest
from flask.testing import FlaskClient

from tests.conftest import App
from tests.dashboard.visitors import EMAIL, PASSWORD
from tests.support.clock import travelled_to
from uploadkit.auth import admins, sessions
from uploadkit.auth.actors import CommandLine
from uploadkit.core import clock
from uploadkit.core.ids import new_id
from uploadkit.db.connection import write
from uploadkit.db.models import AdminSession, Project

PROJECTS = 230


def entered(app: App) -> FlaskClient:
    """A browser in which an admin is signed in."""
    browser = app.client()
    found = re.search(r'name="form_token" value="([0-9a-f]+)"', browser.get("/dashboard/setup").get_data(as_text=True))
    assert found
    link = admins.make_setup_link(app.ctx.config, CommandLine()).partition("#")[2]
    fields = {"form_token": found[1], "token": link, "email": EMAIL, "password": PASSWORD}
    assert browser.post("/dashboard/setup", data=fields).status_code == 302
    return browser


@pytest.fixture
def crowded(app: App) -> FlaskClient:
    now = clock.now_ms()
    with write():
        for number in range(PROJECTS):
            name = f"Project number {number}"
            Project.create(id=new_id(), name=name, slug=f"n-{number}", tier="pro", created_at=now + number, updated_at=now)
    return entered(app)


def test_no_page_lists_all_projects(crowded: FlaskClient) -> None:
    here = "/dashboard/p/default/live"
    of_a_project = ("overview", "files", "keys", "file-routes", "webhooks", "logs", "usage", "settings")
    of_all = ("projects", "usage", "audit", "storage", "backups", "settings")
    for path in (*(f"{here}/{name}" for name in of_a_project), *(f"/dashboard/{name}" for name in of_all), f"{here}/files/nothing"):
        page = crowded.get(path).get_data(as_text=True)
        assert page.count("Project number") <= 50 + 20 + 20, path
        assert "Project number 229" in page, "the newest are there"
        assert "All projects" in page


def test_the_csv_of_all_projects_has_all(crowded: FlaskClient) -> None:
    lines = crowded.get("/dashboard/usage.csv").get_data(as_text=True).splitlines()
    assert len(lines) == 1 + 12 * (PROJECTS + 1)
    assert len({line.partition(",")[0] for line in lines}) == PROJECTS + 2


def test_an_admin_has_no_more_sessions_than_somebody_can_look_through(app: App) -> None:
    entered(app)
    admin = admins.find_by_email(EMAIL)
    with travelled_to(clock.now_ms()) as advance:
        for _ in range(sessions.MOST_OF_AN_ADMIN + 5):
            advance(1000)
            token = admins.begin_session(app.ctx.config, admin, "127.0.0.1", "")
        assert AdminSession.select().count() == sessions.MOST_OF_AN_ADMIN
        assert sessions.find([token])
