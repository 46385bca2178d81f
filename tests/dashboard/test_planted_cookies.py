"""Cookies of our name that somebody else has planted: from another port, a parent domain, another path, a page without TLS.

Browsers send all of them in one header, and nothing says whose they are; those with a longer path come first.
"""

from __future__ import annotations

import re
import secrets

import pytest

from tests.dashboard.visitors import EMAIL, PASSWORD, Visitor, read
from tests.support.appliance import Answer, Appliance

PAGE = {"Accept": "text/html"}


def ask(visitor: Visitor, *cookies: str, method: str = "GET", path: str = "/dashboard/settings", **more: object) -> Answer:
    """A request with these cookies in this order; `body` and `headers` as they are."""
    headers = PAGE | {"Cookie": "; ".join(cookies)} | dict(more.get("headers") or {})  # type: ignore[call-overload]
    return visitor.appliance.fetch(method, f"{visitor.appliance.base}{path}", more.get("body"), headers)


def planted(visitor: Visitor, name: str = "session", count: int = 1) -> list[str]:
    return [f"{visitor.cookie(name)}={secrets.token_urlsafe(32)}" for _ in range(count)]


@pytest.mark.parametrize("count", [1, 8, 179])
def test_a_planted_session_signs_nobody_out(admin: Visitor, count: int) -> None:
    others = planted(admin, count=count)
    for cookies in ([*others, admin.session], [admin.session, *others], [*others[: count // 2], admin.session, *others[count // 2 :]]):
        assert ask(admin, *cookies).status == 200
        page = ask(admin, *cookies)
        token = dict(read(page).forms[-1].fields)["form_token"]
        saved = ask(admin, *cookies, method="POST", path="/dashboard/settings/password", body=f"form_token={token}&present=x&password=x",
                    headers={"Content-Type": "application/x-www-form-urlencoded"})  # fmt: skip
        assert saved.status == 400, "the form was taken; what stands in it is wrong"


@pytest.mark.parametrize("value", ["", "x", "x" * 43, "é" * 43, '"quoted"', "x" * 4000, "a=b", "%00"])
def test_whatever_is_planted(admin: Visitor, value: str) -> None:
    name = admin.cookie("session")
    assert ask(admin, f"{name}={value}", admin.session).status == 200
    assert ask(admin, f"{name}={value}", "; =; a", f"{name}", admin.session).status == 200


def test_what_no_cookie_of_ours_can_be_crowds_none_out(admin: Visitor) -> None:
    name = admin.cookie("session")
    assert ask(admin, *(f"{name}={number}" for number in range(1000)), admin.session).status == 200


def test_no_more_are_tried_than_a_browser_keeps(admin: Visitor) -> None:
    assert ask(admin, *planted(admin, count=250), admin.session).status == 302


def test_a_header_full_of_cookies_says_what_to_do(admin: Visitor) -> None:
    refused = ask(admin, *(f"a{number}={'x' * 4000}" for number in range(20)), admin.session)
    assert refused.status == 431
    assert b"cookies" in refused.body


def test_thousands_of_cookies_are_not_taken_apart(admin: Visitor) -> None:
    refused = ask(admin, *(f"a{number}=b" for number in range(3000)), admin.session)
    assert refused.status == 431
    assert b"cookies" in refused.body


def test_signing_in_with_planted_cookies_begins_a_session_of_ones_own(with_admins: Appliance, admin: Visitor) -> None:
    visitor = Visitor(with_admins)
    others = planted(visitor) + planted(visitor, "visitor")
    page = ask(visitor, *others, path="/dashboard/sign-in")
    token = dict(read(page).forms[-1].fields)["form_token"]
    known = Visitor(with_admins)
    for cookies, status in ((others, 302), ([*planted(visitor, "visitor", 5), *others], 302), (planted(visitor, "visitor"), 403)):
        body = f"form_token={token}&email={EMAIL}&password={PASSWORD.replace(' ', '+')}"
        answer = ask(visitor, *cookies, method="POST", path="/dashboard/sign-in", body=body,
                     headers={"Content-Type": "application/x-www-form-urlencoded"})  # fmt: skip
        assert answer.status == status, answer.body
        if status == 302:
            made = re.search(rf"{visitor.cookie('session')}=([^;]+)", answer.headers["Set-Cookie"])
            assert made, answer.headers
            assert made[0] not in cookies
            assert ask(known, *others, made[0]).status == 200
            assert ask(known, *others).status == 302, "the planted ones have become nothing"


def test_signing_out_leaves_no_session_to_come_back_to(with_admins: Appliance, admin: Visitor) -> None:
    one, two = Visitor(with_admins), Visitor(with_admins)
    one.sign_in()
    two.sign_in()
    both = [one.session, two.session]
    page = ask(one, *both)
    token = dict(read(page).forms[-1].fields)["form_token"]
    left = ask(one, *both, method="POST", path="/dashboard/sign-out", body=f"form_token={token}",
               headers={"Content-Type": "application/x-www-form-urlencoded"})  # fmt: skip
    assert left.status == 302
    assert [ask(one, cookie).status for cookie in both] == [302, 302]


def test_of_two_sessions_the_form_says_which_is_meant(with_admins: Appliance, admin: Visitor) -> None:
    one, two = Visitor(with_admins), Visitor(with_admins)
    one.sign_in()
    two.sign_in()
    for visitor in (one, two):
        for cookies in ([one.session, two.session], [two.session, one.session]):
            body = f"form_token={visitor.form_token()}&present=x&password=x"
            answer = ask(one, *cookies, method="POST", path="/dashboard/settings/password", body=body,
                         headers={"Content-Type": "application/x-www-form-urlencoded"})  # fmt: skip
            assert answer.status == 400, "taken, and looked at"


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "null"},
        {"Origin": "null", "Sec-Fetch-Site": "none"},
        {"Origin": "null", "Sec-Fetch-Site": "same-site"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "https://evil.example"},
        {"Origin": ""},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
def test_a_page_that_has_planted_all_it_needs_sends_no_form(with_admins: Appliance, admin: Visitor, headers: dict[str, str]) -> None:
    """Somebody else's visitor cookie with its form token would sign the victim in as somebody else."""
    evil = Visitor(with_admins)
    token = dict(read(evil.get("/dashboard/sign-in")).forms[-1].fields)["form_token"]
    body = f"form_token={token}&email={EMAIL}&password={PASSWORD.replace(' ', '+')}"
    cookie = f"{evil.cookie('visitor')}={evil.cookies[evil.cookie('visitor')]}"
    sent = {"Content-Type": "application/x-www-form-urlencoded"}
    refused = ask(evil, cookie, method="POST", path="/dashboard/sign-in", body=body, headers=sent | headers)
    assert (refused.status, b"another address" in refused.body) == (403, True)
    # Also where an extension for privacy hides the Origin: no page can write the other one.
    for origin in (with_admins.base, "null"):
        own = sent | {"Origin": origin, "Sec-Fetch-Site": "same-origin"}
        assert ask(evil, cookie, method="POST", path="/dashboard/sign-in", body=body, headers=own).status == 302


def test_a_page_of_another_port_uses_up_nothing_that_is_shown_once(with_admins: Appliance, admin: Visitor) -> None:
    visitor = Visitor(with_admins)
    visitor.sign_in()
    visitor.post("/dashboard/settings/admins", follow=False)
    for site in ("same-site", "cross-site"):
        assert b"setup#uks_" not in ask(visitor, visitor.session, headers={"Sec-Fetch-Site": site}).body
    assert b"setup#uks_" in ask(visitor, visitor.session, headers={"Sec-Fetch-Site": "same-origin"}).body
    assert b"setup#uks_" not in ask(visitor, visitor.session).body


def test_two_appliances_on_one_host_have_cookies_of_their_own(admin: Visitor) -> None:
    assert str(admin.appliance.port) in admin.session.partition("=")[0]
