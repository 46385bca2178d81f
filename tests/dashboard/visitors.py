"""Somebody at a browser without scripts: cookies, pages, and forms filled in as they stand in the page."""

from __future__ import annotations

import html
import re
from html.parser import HTMLParser
from http.cookies import SimpleCookie
from urllib.parse import urlencode, urljoin, urlsplit

from tests.support.appliance import Answer, Appliance

EMAIL, PASSWORD = "anna@example.com", "correct horse battery"


class Form:
    """A form of a page: where it goes, and what its fields hold."""

    def __init__(self, action: str, method: str) -> None:
        self.action, self.method = action, method
        self.fields: list[tuple[str, str]] = []


class _Reader(HTMLParser):
    """Collects the forms, links and elements of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self.links: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self._select = ""
        self._area = ""
        self._option: str | None = None
        self._takes_option = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.elements.append((tag, given))
        name, value = given.get("name") or "", given.get("value") or ""
        if tag == "a" and given.get("href"):
            self.links.append(given["href"] or "")
        elif tag == "form":
            self.forms.append(Form(given.get("action") or "", (given.get("method") or "get").lower()))
        elif tag == "input" and name and self.forms:
            if given.get("type") not in ("radio", "checkbox") or "checked" in given:
                self.forms[-1].fields.append((name, value or ("on" if given.get("type") == "checkbox" else "")))
        elif tag == "select":
            self._select = name
        elif tag == "option" and self._select:
            self._option = given.get("value")
            self._takes_option = "selected" in given or self._select not in dict(self.forms[-1].fields)
            if self._takes_option:
                fields = self.forms[-1].fields
                fields[:] = [*(field for field in fields if field[0] != self._select), (self._select, value)]
        elif tag == "textarea" and self.forms:
            self._area = name
            self.forms[-1].fields.append((name, ""))

    def handle_data(self, data: str) -> None:
        if self._select and self._takes_option and self._option is None:  # an option without a value stands for its text
            self.forms[-1].fields[-1] = (self._select, data)
            self._takes_option = False
        if self._area:
            self.forms[-1].fields[-1] = (self._area, data)

    def handle_endtag(self, tag: str) -> None:
        if tag == "select":
            self._select = ""
        if tag == "textarea":
            self._area = ""


def read(page: Answer) -> _Reader:
    reader = _Reader()
    reader.feed(page.body.decode())
    return reader


def wrong(page: Answer) -> dict[str, str]:
    """What a page says at its fields, by their ids: those that were refused."""
    message = dict(re.findall(r'<div class="wrong" id="([\w.]+)-wrong">([^<]*)</div>', page.body.decode()))
    marked = {given["id"] for _, given in read(page).elements if given.get("aria-invalid") == "true"}
    assert set(message) == marked, "each at a field that is there and says that it is wrong"
    return {str(name): html.unescape(text) for name, text in message.items()}


class Visitor:
    """One browser."""

    def __init__(self, appliance: Appliance) -> None:
        self.appliance = appliance
        self.cookies: dict[str, str] = {}
        self.set_cookies: list[str] = []

    def fetch(self, method: str, path: str, fields: list[tuple[str, str]] | None = None, headers: dict[str, str] | None = None) -> Answer:
        sent = {"Accept": "text/html", "Cookie": "; ".join(f"{k}={v}" for k, v in self.cookies.items())} | (headers or {})
        body = None
        if fields is not None:
            body = urlencode(fields).encode()
            sent["Content-Type"] = "application/x-www-form-urlencoded"
        answer = self.appliance.fetch(method, urljoin(self.appliance.base, path), body, sent)
        for line in getattr(answer.headers, "getlist", lambda _: [])("Set-Cookie"):
            self.set_cookies.append(line)
            for name, morsel in SimpleCookie(line).items():
                if morsel.value and morsel["max-age"] != "0":
                    self.cookies[name] = morsel.value
                else:
                    self.cookies.pop(name, None)
        return answer

    def cookie(self, name: str) -> str:
        """What the appliance calls its cookie for `name`."""
        return f"uploadkit_{name}_{self.appliance.port}"

    @property
    def session(self) -> str:
        """The session's cookie as a browser sends it."""
        return f"{self.cookie('session')}={self.cookies[self.cookie('session')]}"

    def get(self, path: str, follow: bool = True) -> Answer:
        return self._followed(self.fetch("GET", path), follow)

    def post(self, path: str, follow: bool = True, **fields: str | list[str]) -> Answer:
        """Send the fields with the token of the session's forms."""
        listed = [(name, one) for name, value in fields.items() for one in ([value] if isinstance(value, str) else value)]
        return self._followed(self.fetch("POST", path, [("form_token", self.form_token()), *listed]), follow)

    def form_token(self) -> str:
        page = self.get("/dashboard/settings")
        found = re.search(rb'name="form_token" value="([0-9a-f]+)"', page.body)
        assert found, page.body
        return found[1].decode()

    def submit(self, page: Answer, action: str, follow: bool = True, **changes: str) -> Answer:
        """Send the form of `page` whose action ends in `action`, with some of its fields filled in otherwise."""
        form = next(f for f in read(page).forms if f.action.endswith(action) and f.method == "post")
        kept = [(name, value) for name, value in form.fields if name not in changes]
        return self._followed(self.fetch("POST", form.action, kept + list(changes.items())), follow)

    def sign_in(self, email: str = EMAIL, password: str = PASSWORD, path: str = "/dashboard/sign-in") -> Answer:
        return self.submit(self.get(path), "/sign-in", email=email, password=password)

    def set_up(self, token: str, email: str = EMAIL, password: str = PASSWORD) -> Answer:
        return self.submit(self.get("/dashboard/setup"), "/setup", token=token, email=email, password=password)

    def _followed(self, answer: Answer, follow: bool) -> Answer:
        for _ in range(5):
            if not follow or answer.status not in (302, 303):
                break
            place = urlsplit(answer.headers["Location"])
            assert not place.netloc, "pages lead nowhere else"
            answer = self.fetch("GET", answer.headers["Location"])
        return answer


def setup_token(appliance: Appliance) -> str:
    """A fresh token, from the command line."""
    made = appliance.run("admin", "setup-link")
    assert made.returncode == 0, made.stderr
    return made.stdout.strip().partition("#")[2]


def new_admin(appliance: Appliance, email: str = EMAIL) -> Visitor:
    """Somebody who has just set themselves up and is signed in."""
    visitor = Visitor(appliance)
    page = visitor.set_up(setup_token(appliance), email)
    assert page.status == 200, page.body
    return visitor
