"""No page without a session, no form without its token: for every address that the dashboard has."""

from __future__ import annotations

import re

from tests.appliance import Appliance
from tests.conftest import House
from tests.dashboard.visitors import Visitor

OPEN = {"/dashboard/sign-in", "/dashboard/setup"}


def addresses(house: House) -> list[tuple[str, str]]:
    """Method and path of everything under /dashboard, with something in the place of each variable."""
    rules = [rule for rule in house.door().application.url_map.iter_rules() if rule.rule.startswith("/dashboard")]
    values = {"slug": "default", "environment": "live"}
    filled = [(rule, re.sub(r"<(?:[^:<>]*:)?(\w+)>", lambda match: values.get(match[1], "x"), rule.rule)) for rule in rules]
    return [(method, path) for rule, path in filled for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}]


def test_no_page_without_a_session_and_no_form_without_its_token(house: House, house_of_admins: Appliance, admin: Visitor) -> None:
    found = addresses(house)
    assert len(found) > 40
    stranger = Visitor(house_of_admins)
    stranger.cookies["uploadkit_session"] = "x" * 43
    for method, path in found:
        if path not in OPEN:
            answer = stranger.fetch(method, path, [] if method == "POST" else None)
            assert answer.status == 302, (method, path, answer.status)
            assert answer.headers["Location"].startswith("/dashboard/sign-in"), path
        if method == "POST":
            for fields in ([], [("form_token", "")], [("form_token", "0" * 64)]):
                refused = admin.fetch("POST", path, fields)
                assert (refused.status, b"not belong to your session" in refused.body) == (403, True), path


def test_a_token_of_another_session_does_not_do(house_of_admins: Appliance, admin: Visitor) -> None:
    other = Visitor(house_of_admins)
    other.sign_in()
    refused = other.fetch("POST", "/dashboard/projects", [("form_token", admin.form_token()), ("name", "Forged")])
    assert refused.status == 403
    assert b"Forged" not in admin.get("/dashboard/projects").body


def test_pages_are_guarded_by_headers(admin: Visitor) -> None:
    for path in ("/dashboard/settings", "/dashboard/p/default/live/files", "/dashboard/p/nowhere/live/files", "/dashboard/sign-in"):
        page = admin.get(path, follow=False)
        policy = page.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        assert "style-src 'self';" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert page.headers["Cache-Control"] == "no-store"
        assert page.headers["X-Content-Type-Options"] == "nosniff"


def test_what_is_not_there(admin: Visitor) -> None:
    for path in (
        "/dashboard/p/nowhere/live/files",
        "/dashboard/p/default/live/files/nothing",
        "/dashboard/p/default/live/file-routes/nothing",
    ):
        page = admin.get(path)
        assert page.status == 404
        assert b"<html" in page.body
    assert admin.get("/dashboard/p/default/other/files").status == 404
    assert admin.get("/dashboard/p/default/live/files?cursor=nonsense").status == 400
