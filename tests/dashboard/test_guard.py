"""No page without a session, no form without its token: for every address that the dashboard has."""

from __future__ import annotations

import re
from urllib.parse import urljoin, urlsplit

from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import App
from tests.dashboard.visitors import Visitor, read
from tests.support.appliance import Appliance
from uploadkit.web.dashboard import own_pages

OPEN = {"/dashboard/sign-in", "/dashboard/setup"}


def addresses(app: App) -> list[tuple[str, str]]:
    """Method and path of everything under /dashboard, with something in the place of each variable."""
    rules = [rule for rule in app.client().application.url_map.iter_rules() if rule.rule.startswith("/dashboard")]
    values = {"slug": "default", "environment": "live"}
    filled = [(rule, re.sub(r"<(?:[^:<>]*:)?(\w+)>", lambda match: values.get(match[1], "x"), rule.rule)) for rule in rules]
    return [(method, path) for rule, path in filled for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}]


def test_no_page_without_a_session_and_no_form_without_its_token(app: App, with_admins: Appliance, admin: Visitor) -> None:
    found = addresses(app)
    assert len(found) > 40
    outsider = Visitor(with_admins)
    outsider.cookies[outsider.cookie("session")] = "x" * 43
    for method, path in found:
        if path not in OPEN:
            answer = outsider.fetch(method, path, [] if method == "POST" else None)
            assert answer.status == 302, (method, path, answer.status)
            assert answer.headers["Location"].startswith("/dashboard/sign-in"), path
        if method == "POST":
            for fields in ([], [("form_token", "")], [("form_token", "0" * 64)]):
                refused = admin.fetch("POST", path, fields)
                assert (refused.status, b"not belong to your session" in refused.body) == (403, True), path


def test_pages_of_other_addresses_have_none_of_it_in_them(app: App, admin: Visitor) -> None:
    """They can't read it, but the time that it takes would tell which projects and files there are."""
    paths = [path for method, path in addresses(app) if method == "GET"]
    for site in ("same-site", "cross-site"):
        for path in paths:
            for kind in ("empty", "iframe", "image"):
                answer = admin.fetch("GET", path, headers={"Sec-Fetch-Site": site, "Sec-Fetch-Dest": kind})
                assert (answer.status, b"Open it in a tab of its own" in answer.body) == (403, True), path
    in_a_tab = {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Dest": "document"}
    assert admin.fetch("GET", "/dashboard/settings", headers=in_a_tab).status == 200, "a link from elsewhere leads here"
    ours = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Dest": "empty"}
    assert admin.fetch("GET", "/dashboard/settings", headers=ours).status == 200


def test_a_token_of_another_session_does_not_do(with_admins: Appliance, admin: Visitor) -> None:
    other = Visitor(with_admins)
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
        assert page.headers["Cross-Origin-Opener-Policy"] == "same-origin"


def test_what_an_address_asks_besides_leads_nowhere_else(app: App, with_admins: Appliance, admin: Visitor) -> None:
    """Words that mean something to Flask, and names of what stands in the path: they are arguments as all others, or none."""
    words = ("endpoint", "slug", "environment", "file_id", "_external", "_scheme", "_anchor", "_method", "self", "values", "cursor", "a")
    paths = [path for method, path in addresses(app) if method == "GET"]
    for number in range(2):
        for path in paths:
            plain = admin.get(path, follow=False)
            for query in (*(f"{word}=javascript" for word in words), "_external=1&_scheme=javascript&_anchor=x"):
                page = admin.get(f"{path}?{query}", follow=False)
                assert page.status == plain.status or (page.status, "cursor") == (400, query[:6]), (path, query, page.status)
                for link in read(page).links:
                    assert link.startswith(("/", "#", "?")) or link in read(plain).links, (path, query, link)
                    assert not link.startswith(("//", "/dashboard/p/javascript")), (path, query, link)
        if not number:  # and with lists of more than one page
            for file in range(21):
                with_admins.upload(b"x", f"{file}.txt", "text/plain")
            assert b"cursor=" in admin.get("/dashboard/p/default/live/files?slug=other&endpoint=x").body


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
    for path in ("/dashboard/nothing", "/dashboard/p/default/live/nothing", "/dashboard/p/default/live/keys/x"):
        page = admin.get(path)
        assert (page.status, b"Sign out" in page.body, b"API" in page.body.partition(b"<main")[2]) == (404, True, False)
    for path, above in {"settings/password": "settings", "p/default/live/keys/x/revoke": "p/default/live/keys", "sign-out": ""}.items():
        assert admin.get(f"/dashboard/{path}", follow=False).headers["Location"] == f"/dashboard/{above}"


ELSEWHERE = [
    "//anna@evil.example/dashboard/",
    "https:evil.example",
    "http:/\\evil.example",
    "/\\/evil.example",
    "\\\\evil.example",
    "/\t/evil.example",
    "\t//evil.example",
    " //evil.example",
    "/dashboard/../f/x",
    "/dashboard/./../f/x",
    "/dashboard/%2e%2e/f/x",
    "/dashboard/.%2E/f/x",
    "/dashboard/%2e%2e%5cf",
    "/dashboard/%5C%5Cevil.example",
    "/dashboard@evil.example",
    "/dashboard.evil.example",
    "/dashboard:80",
    "/dashboard/#//evil.example",
    "/dashboard/\x00",
    "/dashboard/\n",
    "/dashboard/é",
    "dashboard/",
    "data:text/html,x",
    "vbscript:x",
    "JaVaScRiPt:alert(1)//dashboard/",
]


def test_nothing_leads_elsewhere(app: App) -> None:
    with app.client().application.test_request_context():
        for wanted in ELSEWHERE:
            assert own_pages.own_page(wanted) == "/dashboard/", wanted
        for wanted in ("/dashboard/audit?cursor=x", "/dashboard/p/a/live/files/x.y/", "/dashboard/p/a/live/files?search=..%2f"):
            assert own_pages.own_page(wanted) == wanted


pieces = st.sampled_from(
    ["/dashboard", "/", "\\", ".", "..", "%2e", "%2f", "%5c", "//", "evil.example", "@", ":", "?", "#", "a", "\t", "https:"]
)


def test_whatever_is_wanted_it_is_one_of_the_pages(app: App) -> None:
    wsgi = app.client().application

    @given(st.lists(pieces | st.text(max_size=3), max_size=8).map(lambda parts: "/dashboard" * (len(parts) % 2) + "".join(parts)))
    def check(wanted: str) -> None:
        with wsgi.test_request_context():
            there = urlsplit(urljoin("http://own/dashboard/sign-in", own_pages.own_page(wanted).replace("%2e", ".").replace("\\", "/")))
        assert there.netloc == "own"
        assert there.path.startswith("/dashboard")

    check()


def test_pages_of_other_origins_can_not_read_or_send(with_admins: Appliance, admin: Visitor) -> None:
    evil = {"Origin": "https://evil.example"}
    for path in ("/dashboard/settings", "/dashboard/p/default/live/keys", "/dashboard/sign-in"):
        for method in ("GET", "OPTIONS"):
            answer = admin.fetch(method, path, headers=evil)
            assert not [name for name in answer.headers if name.lower().startswith("access-control-")], (method, path)
    for content_type in ("text/plain", "application/json", "multipart/form-data; boundary=x"):
        sent = {"Cookie": admin.session, "Content-Type": content_type, **evil}
        answer = with_admins.fetch("POST", f"{with_admins.base}/dashboard/projects", b'{"name":"Forged"}', sent)
        assert answer.status == 403
    assert admin.get("/dashboard/sign-in?next=//evil.example", follow=False).headers["Location"] == "/dashboard/"
    assert b"Forged" not in admin.get("/dashboard/projects").body


def test_a_page_that_was_opened_under_an_unknown_address_says_so(admin: Visitor) -> None:
    """Such as that of the local network, where server.public_url was not set: uploads from there go elsewhere."""
    reported = "the address of this appliance is set to"
    own = admin.appliance.base.removeprefix("http://")
    for host in (own, own.replace("127.0.0.1", "localhost")):
        assert reported not in admin.fetch("GET", "/dashboard/settings", headers={"Host": host}).body.decode()
    for host in (f"192.168.1.7:{admin.appliance.port}", "127.0.0.1:1"):
        page = admin.fetch("GET", "/dashboard/settings", headers={"Host": host}).body.decode()
        assert f"http://{host}, but {reported} {admin.appliance.base}" in page
