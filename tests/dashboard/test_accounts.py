"""Set-up, sign-in, sessions, passwords: over HTTP, as a browser does it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conftest import App
from tests.dashboard.visitors import EMAIL, PASSWORD, Visitor, new_admin, read, setup_token, wrong
from tests.support.appliance import ROOT, Appliance, running, wait_until
from tests.support.clock import travelled_to
from uploadkit.auth import admins, passwords
from uploadkit.auth.actors import CommandLine
from uploadkit.core import clock
from uploadkit.core.errors import RateLimited


def signed_in(visitor: Visitor) -> bool:
    return visitor.get("/dashboard/settings", follow=False).status == 200


def test_the_first_visit(fresh: Appliance) -> None:
    note = fresh.data_dir / "first-run.txt"
    found = re.search(rf"{re.escape(fresh.base)}/dashboard/setup#(uks_\S+)", note.read_text())
    assert found, note.read_text()
    visitor = Visitor(fresh)
    assert b"Nobody has set up" in visitor.get("/dashboard/").body
    page = visitor.set_up(found[1])
    assert page.status == 200
    assert EMAIL.encode() in page.body
    assert not note.exists(), "the set-up removes it"
    assert signed_in(visitor)
    again = Visitor(fresh).set_up(found[1], "eve@example.com")
    assert (again.status, b"not valid any more" in again.body) == (401, True)
    fresh.stop()
    secrets = {name: value for name, value in visitor.cookies.items() if "_place" not in name}
    for secret in (found[1], PASSWORD, *secrets.values()):
        assert secret not in fresh.log()
        assert secret.encode() not in b"".join(path.read_bytes() for path in fresh.data_dir.glob("uploadkit.db*"))


def test_init_tells_the_setup_link_once(tmp_path: Path) -> None:
    appliance = Appliance(tmp_path)
    first = json.loads(appliance.run("init", "--json").stdout)
    assert re.fullmatch(rf"{re.escape(appliance.base)}/dashboard/setup#uks_[A-Za-z0-9_-]{{32}}", first["setupUrl"])
    assert json.loads(appliance.run("init", "--json").stdout)["setupUrl"] is None
    off = Appliance(tmp_path / "off", DASHBOARD__ENABLED="false")
    assert json.loads(off.run("init", "--json").stdout)["setupUrl"] is None


def test_a_new_link_ends_the_one_before(fresh: Appliance) -> None:
    earlier, later = setup_token(fresh), setup_token(fresh)
    assert Visitor(fresh).set_up(earlier).status == 401
    assert Visitor(fresh).set_up(later).status == 200


def test_what_is_refused_at_the_set_up_uses_nothing_up(fresh: Appliance) -> None:
    token = setup_token(fresh)
    for given, status, fields in (
        ((token, "nonsense", PASSWORD), 400, ["email"]),
        ((token, EMAIL, "short"), 400, ["password"]),
        ((token, EMAIL, "x" * 201), 400, ["password"]),
        ((token, "nonsense", "short"), 400, ["email", "password"]),
        (("uks_no", "nonsense", "short"), 401, ["token", "email", "password"]),
    ):
        page = Visitor(fresh).set_up(*given)
        assert (page.status, sorted(wrong(page))) == (status, sorted(fields))
        kept = dict(read(page).forms[-1].fields)
        assert (kept["token"], kept["email"], kept["password"]) == (given[0], given[1], "")
    assert Visitor(fresh).set_up(token).status == 200
    page = Visitor(fresh).set_up(setup_token(fresh), EMAIL.upper())
    assert (page.status, list(wrong(page))) == (409, ["email"])


def test_cookies_are_out_of_reach(admin: Visitor) -> None:
    for line in admin.set_cookies:
        assert "HttpOnly" in line
        assert "SameSite=Strict" in line
        assert "Path=/" in line
        assert "Domain" not in line


def test_over_tls_cookies_are_bound_to_the_host(tmp_path: Path) -> None:
    settings = {
        "SERVER__PUBLIC_URL": "https://uploads.example.com",
        "STORAGE__BUNDLED__PUBLIC_ENDPOINT": "https://store.example.com",
        "SERVER__TRUSTED_PROXIES": '["127.0.0.1/32"]',
    }
    with running(tmp_path, **settings) as appliance:
        plain = Visitor(appliance).fetch("GET", "/dashboard/sign-in")
        assert plain.status == 403
        assert b"HTTPS" in plain.body
        page = appliance.fetch("GET", f"{appliance.base}/dashboard/sign-in", headers={"X-Forwarded-Proto": "https"})
        assert page.status == 200
        assert page.headers["Set-Cookie"].startswith("__Host-uploadkit_visitor=")
        assert "; Secure;" in page.headers["Set-Cookie"]
        assert "https://store.example.com" in page.headers["Content-Security-Policy"]


def test_sign_in_and_out(with_admins: Appliance, admin: Visitor) -> None:
    visitor = Visitor(with_admins)
    for email, password in ((EMAIL, "wrong password"), ("nobody@example.com", PASSWORD), ("", ""), (EMAIL, "x" * 5000)):
        page = visitor.sign_in(email, password)
        assert page.status == 401
        assert b"belong together" in page.body
    assert visitor.sign_in(f" {EMAIL.upper()} ").status == 200
    assert signed_in(visitor)
    stolen = dict(visitor.cookies)
    visitor.submit(visitor.get("/dashboard/settings"), "/sign-out")
    assert not signed_in(visitor)
    visitor.cookies = stolen
    assert not signed_in(visitor), "the session itself has ended, not only its cookie"
    assert signed_in(admin)


def test_a_session_is_never_one_that_was_there_before(with_admins: Appliance, admin: Visitor) -> None:
    victim = Visitor(with_admins)
    victim.cookies[victim.cookie("session")] = "chosen-by-somebody-else"
    victim.sign_in()
    first = victim.session
    assert first != admin.session
    assert "chosen-by-somebody-else" not in first
    page = victim.get("/dashboard/setup")
    token = read(page).forms[-1].fields[0][1]
    assert token
    victim.cookies = dict([first.split("=")])
    assert signed_in(victim)


@pytest.mark.parametrize(
    "wanted",
    [
        "//evil.example",
        "https://evil.example/",
        "/\\evil.example",
        "/dashboard/\\evil",
        "/dashboard//evil.example",
        "/dashboard/%5cevil",
        "/f/x",
        "javascript:alert(1)",
        "/dashboard/\r\nSet-Cookie:x=y",
        "/dashboardevil",
    ],
)
def test_sign_in_leads_nowhere_else(with_admins: Appliance, admin: Visitor, wanted: str) -> None:
    visitor = Visitor(with_admins)
    page = visitor.get("/dashboard/sign-in")
    answer = visitor.submit(page, "/sign-in", follow=False, email=EMAIL, password=PASSWORD, next=wanted)
    assert answer.status == 302
    assert answer.headers["Location"] == "/dashboard/"


def test_sign_in_leads_back_to_the_page_that_was_wanted(with_admins: Appliance, admin: Visitor) -> None:
    visitor = Visitor(with_admins)
    asked = visitor.get("/dashboard/audit?cursor=x", follow=False)
    assert asked.status == 302
    answer = visitor.submit(visitor.get(asked.headers["Location"]), "/sign-in", follow=False, email=EMAIL, password=PASSWORD)
    assert answer.headers["Location"] == "/dashboard/audit?cursor=x"


def test_attempts_are_limited(tmp_path: Path) -> None:
    with running(tmp_path, DASHBOARD__SIGN_INS_PER_MINUTE="3") as appliance:
        visitor = Visitor(appliance)
        statuses = [visitor.sign_in("eve@example.com", "guess number one").status for _ in range(4)]
        assert statuses == [401, 401, 401, 429]
        refused = visitor.sign_in("eve@example.com", "x")
        assert b"Wait" in refused.body
        assert 1 <= int(refused.headers["Retry-After"]) <= 60


def test_guessing_elsewhere_locks_nobody_out(app: App) -> None:
    limits = app.client().application.extensions["uploadkit.rate_limits"]
    limits.note_sign_in("192.0.2.1", EMAIL)
    for number in range(30):
        limits.count_sign_in(f"198.51.100.{number}", EMAIL, 10)
    with pytest.raises(RateLimited):
        limits.count_sign_in("198.51.100.99", EMAIL, 10)
    for _ in range(10):
        limits.count_sign_in("192.0.2.1", f" {EMAIL.upper()} ", 10)
    with pytest.raises(RateLimited):
        limits.count_sign_in("192.0.2.1", EMAIL, 10)


def test_a_password_that_was_just_set_is_taken_from_anywhere(app: App) -> None:
    """Whoever is locked out where nobody knows them has the machine: a new password lets them in, however long others go on guessing."""
    limits = app.client().application.extensions["uploadkit.rate_limits"]
    link = admins.make_setup_link(app.ctx.config, CommandLine()).partition("#")[2]
    with travelled_to(clock.now_ms()) as advance:
        admins.set_up(link, EMAIL, PASSWORD)
        advance(admins.NEW_PASSWORD_MINUTES * 60_000)
        assert not admins.has_new_password(EMAIL)
        for number in range(30):
            limits.count_sign_in(f"198.51.100.{number}", EMAIL, 10)
        with pytest.raises(RateLimited):
            limits.count_sign_in("192.0.2.1", EMAIL, 10)
        admins.reset_password(EMAIL, "a new password")
        assert admins.has_new_password(f" {EMAIL.upper()} ")
        assert not admins.has_new_password("nobody@example.com")
        advance(-60_000)
        assert not admins.has_new_password(EMAIL), "from a clock that was wrong"
        advance(60_000)
        limits.count_sign_in("192.0.2.1", EMAIL, 10, has_new_password=True)


def test_one_who_has_many_networks_guesses_no_more_than_one_who_has_few(app: App) -> None:
    """A /48 of IPv6, which anybody gets, has 65,536 networks: guesses at names that nobody has would keep all others waiting."""
    limits = app.client().application.extensions["uploadkit.rate_limits"]
    for number in range(30):
        limits.count_sign_in(f"2001:db8:0:{number:x}::1", f"{number}@example.com", 10)
    with pytest.raises(RateLimited):
        limits.count_sign_in("2001:db8:0:ffff::1", "another@example.com", 10)
    limits.count_sign_in("2001:db8:1::1", "another@example.com", 10)
    limits.note_sign_in("2001:db8:0:ffff::1", EMAIL)
    assert limits.count_sign_in("2001:db8:0:ffff::1", EMAIL, 10), "from where they have signed in before, neighbours don't count"


def test_a_set_up_that_made_an_admin_lets_them_in(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """The link is used up then: looking at the password once more could be refused for the many others that are looked at."""
    browser = app.client().application.test_client()
    page = browser.get("/dashboard/setup").get_data(as_text=True)
    token = re.search(r'name="form_token" value="([0-9a-f]+)"', page)
    assert token
    monkeypatch.setattr(passwords._slots, "most", 0)
    link = admins.make_setup_link(app.ctx.config, CommandLine()).partition("#")[2]
    fields = {"form_token": token[1], "token": link, "email": EMAIL, "password": PASSWORD}
    assert browser.post("/dashboard/setup", data=fields).status_code == 302
    assert browser.get("/dashboard/settings").status_code == 200


def test_guesses_at_a_set_up_link_and_at_the_present_password_are_limited(tmp_path: Path) -> None:
    with running(tmp_path, DASHBOARD__SIGN_INS_PER_MINUTE="3") as appliance:
        anna = new_admin(appliance)
        page = anna.get("/dashboard/settings")
        statuses = [anna.submit(page, "/password", present=f"guess {number}", password="a new password").status for number in range(4)]
        assert statuses == [400, 400, 400, 429]
        refused = anna.submit(page, "/password", present=PASSWORD, password="a new password")
        assert (refused.status, b"Wait" in refused.body) == (429, True)
        assert 1 <= int(refused.headers["Retry-After"]) <= 60
        assert Visitor(appliance).sign_in().status == 200, "that is counted by itself"
        eve = Visitor(appliance)
        assert [eve.set_up(f"uks_{number}", "eve@example.com").status for number in range(4)][1:] == [401, 429, 429]


@pytest.mark.parametrize("path", ["/dashboard/sign-in", "/dashboard/setup"])
def test_asking_for_the_head_of_a_page_is_no_attempt(tmp_path: Path, path: str) -> None:
    """Any web page may have its visitor's browser ask so, and no token comes along: it must not use up what the visitor's network has."""
    with running(tmp_path, DASHBOARD__SIGN_INS_PER_MINUTE="3") as appliance:
        for _ in range(10):
            head = appliance.fetch(
                "HEAD", appliance.base + path, headers={"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
            )
            assert head.status == 200
        new_admin(appliance)
        assert Visitor(appliance).sign_in().status == 200


def test_a_flood_of_sign_ins_leaves_room_for_everything_else(with_admins: Appliance, admin: Visitor) -> None:
    visitor = Visitor(with_admins)
    page = visitor.get("/dashboard/sign-in")

    def guess(number: int) -> tuple[int, str | None]:
        answer = visitor.submit(page, "/sign-in", email=f"{number}@example.com", password="a wrong password")
        return answer.status, answer.headers.get("Retry-After")

    with ThreadPoolExecutor(32) as pool:
        flood = [pool.submit(guess, number) for number in range(96)]
        for _ in range(5):
            assert with_admins.fetch("GET", f"{with_admins.base}/healthz").status == 200
            assert with_admins.call("GET", "/files").status == 200
        answers = {answer.result() for answer in flood}
    assert answers == {(401, None), (429, "2")}


def test_another_admin_sessions_and_passwords(fresh: Appliance) -> None:
    anna = new_admin(fresh)
    made = anna.post("/dashboard/settings/admins")
    token = re.search(rb"setup#(uks_[A-Za-z0-9_-]+)", made.body)
    assert token
    assert b"setup#uks_" not in anna.get("/dashboard/settings").body, "shown once"
    ben = Visitor(fresh)
    assert ben.set_up(token[1].decode(), "ben@example.com").status == 200
    elsewhere = Visitor(fresh)
    elsewhere.sign_in("ben@example.com")
    page = ben.get("/dashboard/settings")
    refused = ben.submit(page, "/password", present="not this one", password="short")
    assert (refused.status, list(wrong(refused))) == (400, ["present", "password"])
    assert ben.submit(page, "/password", present=PASSWORD, password="another password").status == 200
    assert signed_in(ben)
    assert not signed_in(elsewhere)
    assert elsewhere.sign_in("ben@example.com", PASSWORD).status == 401
    assert elsewhere.sign_in("ben@example.com", "another password").status == 200
    action = next(f.action for f in read(ben.get("/dashboard/settings")).forms if f.action.endswith("/end"))
    ben.post(action)
    assert not signed_in(elsewhere)
    refused = fresh.run("admin", "reset-password")
    assert (refused.returncode, "several admins" in refused.stderr) == (1, True)
    remove = [f.action for f in read(anna.get("/dashboard/settings")).forms if f.action.endswith("/remove")]
    assert b"removed" in anna.post(remove[1]).body
    assert not signed_in(ben)
    last = anna.post(remove[0])
    assert (last.status, b"last admin" in last.body) == (409, True)
    trail = anna.get("/dashboard/audit").body.decode()
    assert "ben@example.com" in trail
    assert EMAIL in trail


def test_reset_password(fresh: Appliance) -> None:
    anna = new_admin(fresh)
    done = subprocess.run(
        [sys.executable, str(ROOT / "app.py"), "admin", "reset-password"],
        env=fresh.environment, input="a new password\n", text=True, capture_output=True, timeout=60, cwd=fresh.home, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    wait_until(lambda: not signed_in(anna), what="the session to end")
    assert anna.sign_in(EMAIL, PASSWORD).status == 401
    assert anna.sign_in(EMAIL, "a new password").status == 200


def test_a_dashboard_that_is_switched_off(tmp_path: Path) -> None:
    with running(tmp_path, DASHBOARD__ENABLED="false") as appliance:
        visitor = Visitor(appliance)
        assert visitor.get("/dashboard/sign-in").status == 404
        assert visitor.get("/").status == 200
        assert "dashboard" not in (appliance.data_dir / "first-run.txt").read_text()
