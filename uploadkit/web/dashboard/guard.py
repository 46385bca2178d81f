"""Who gets in: sessions in cookies, the token of every form, and the policy under which browsers show a page.

Cookies prove little by themselves: another port, another path, a parent domain or a page without TLS can plant some of the same name. So
each one is tried, and a form has to come from our own pages (`Origin`) with a token that belongs to one of them.

Two blueprints carry all pages: `dashboard`, and within it `project` for what lies in one project and environment. Whatever page is added
to them asks for a session, unless it is named in `_OPEN`, and whatever form for its token.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections import OrderedDict
from functools import cache, partial
from itertools import islice
from typing import Any, NamedTuple
from urllib.parse import unquote, urlencode, urlsplit

from flask import Blueprint, Response, g, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from uploadkit.auth import admins, sessions
from uploadkit.auth.callers import Caller, Environment
from uploadkit.context import Context
from uploadkit.core.errors import Forbidden, NotFound, UploadKitError
from uploadkit.db.models import Project
from uploadkit.projects import service as projects
from uploadkit.web import authentication, context, documented, json_answer

dashboard = Blueprint("dashboard", __name__, url_prefix="/dashboard")
project = Blueprint("project", __name__, url_prefix="/p/<slug>/<any(live, test):environment>")

# The navigation: what a page calls itself, by the endpoint that it leads to.
ROOMS_OF_A_PROJECT = (
    ("show_overview", "Overview"),
    ("list_files", "Files"),
    ("list_keys", "API keys"),
    ("list_file_routes", "File routes"),
    ("list_deliveries", "Webhooks"),
    ("list_logs", "Logs"),
    ("show_usage", "Usage"),
    ("show_project", "Project settings"),
)
ROOMS_OF_THE_APPLIANCE = (
    ("list_projects", "Projects"),
    ("list_usage", "All usage"),
    ("list_audit", "Audit"),
    ("show_storage", "Storage"),
    ("show_settings", "Settings"),
)

_OPEN = {"dashboard.set_up", "dashboard.sign_in"}
_FOR_SCRIPTS = {"dashboard.project.upload_rules", "dashboard.project.act_on_upload"}
_VISITOR_SECONDS = 3600
# On every page: of more projects than these, the list of all of them has pages.
_MOST_IN_MENU = 50
# As `secrets.token_urlsafe(32)` writes them. Browsers keep at most 180 cookies of a site, and none of theirs may crowd ours out.
_SECRET = re.compile(r"[A-Za-z0-9_-]{43}")
_MOST_COOKIES = 200
_FORM_TOKEN_LENGTH = 64
# Only what our own pages have in their addresses; above all no second slash at the beginning and no backslash.
_OWN_PAGE = re.compile(r"/dashboard(/[A-Za-z0-9_.~%-]+)*/?(\?[A-Za-z0-9_.~%&=+/:-]*)?")

# Forms are read whole, before anything else is looked at; and before anybody has signed in, only passwords are sent.
_MOST_BYTES_OF_NOBODY = 16 * 1024

# With names of what the page is about, which admins make; nobody has so many under way.
_MOST_SHOWN_ONCE = 1000
_shown_once: OrderedDict[tuple[str, str], Any] = OrderedDict()


class Place(NamedTuple):
    """Where in the dashboard somebody is: what the navigation leads around in."""

    project: Project
    environment: Environment


@dashboard.before_request
def _let_in() -> AnyResponse | None:
    """Find the session, hold a form against it, and send whoever has none to sign in."""
    authentication.refuse_plain_http(request, context().config.server)
    g.sessions = sessions.find(_sent("session"))
    if not g.sessions:
        request.max_content_length = _MOST_BYTES_OF_NOBODY
    g.form_secrets = list(g.sessions) or _sent("visitor")  # before anybody has signed in, forms belong to a cookie of their own
    sent = _sent_form_token() if request.method not in ("GET", "HEAD") else ""
    # Of several, the one that the form belongs to.
    g.form_secret = next((secret for secret in g.form_secrets if _belongs(sent, secret)), next(iter(g.form_secrets), ""))
    g.session = g.sessions.get(g.form_secret)
    g.admin = g.session.admin if g.session else None
    if g.admin is None and request.endpoint not in _OPEN:
        wanted = request.full_path.rstrip("?") if request.method == "GET" else None
        return redirect(url_for("dashboard.sign_in", next=wanted))
    if request.method not in ("GET", "HEAD"):
        _require_own_page()
        _require_form_token(sent)
    return None


def _sent(name: str) -> list[str]:
    """Every cookie of this name that may be one of ours, however many others there are."""
    sent = (value for value in request.cookies.getlist(_cookie_name(name)) if _SECRET.fullmatch(value))
    return list(islice(dict.fromkeys(sent), _MOST_COOKIES))


def _asked_by_own_page() -> bool:
    """Whether nothing says that another page is behind this request; browsers say so over TLS and on this machine."""
    return request.headers.get("Sec-Fetch-Site", "none") in ("same-origin", "none")


def _require_own_page() -> None:
    """Refuse a form of another page, whatever cookies and tokens that page knows. Old browsers and programs send no Origin.

    Extensions for privacy have it say `null`, as pages with anything to hide do. The browser's own word is beyond both.
    """
    origin, schemes = request.headers.get("Origin"), ("https",) if _by_tls() else ("http", "https")
    own = {f"{scheme}://{request.host}" for scheme in schemes} | {context().config.server.base_url}
    is_hidden = origin == "null" and request.headers.get("Sec-Fetch-Site") == "same-origin"
    if (origin is not None and origin not in own and not is_hidden) or not _asked_by_own_page():
        raise Forbidden(
            "This form was sent by a page of another address",
            "Open the dashboard by one address only. Behind a proxy, set server.public_url, or have the proxy pass Host on as it is. "
            "Without TLS, switch off extensions that hide where a form comes from (Origin, Referer) for this page",
        )


@project.url_value_preprocessor
def _find_project(endpoint: str | None, values: dict[str, Any] | None) -> None:
    """Take project and environment out of the address; the views ask `g`."""
    assert values is not None
    g.slug, g.environment = values.pop("slug"), values.pop("environment")


@project.before_request
def _enter_project() -> None:
    g.project = projects.find_by_id_or_slug(g.slug)


@project.url_defaults
def _stay_in_project(endpoint: str, values: dict[str, Any]) -> None:
    if "slug" in g:
        values.setdefault("slug", g.slug)
        values.setdefault("environment", g.environment)


def place() -> Place | None:
    """Return the project and environment that this page lies in; for a page of the appliance, those that the browser was in last."""
    if "project" in g:
        return Place(g.project, g.environment)
    slug, _, environment = request.cookies.get(_cookie_name("place"), "").rpartition("/")
    try:
        return Place(projects.find_by_id_or_slug(slug), "test" if environment == "test" else "live")
    except NotFound:
        return None


@project.after_request
def _note_place(answer: Response) -> Response:
    if "project" in g and request.cookies.get(_cookie_name("place")) != (here := f"{g.project.slug}/{g.environment}"):
        _set_cookie(answer, "place", here, context().config.dashboard.session_hours * 3600)
    return answer


@dashboard.after_request
def _guard(answer: Response) -> Response:
    answer.headers["Cache-Control"] = "no-store"
    answer.headers["Content-Security-Policy"] = _policy(context())
    # With no-referrer, browsers would say that our own forms come from nowhere (Origin: null).
    answer.headers["Referrer-Policy"] = "same-origin"
    # A page that has opened this one, from another port or sub-domain, keeps no hand on it: it can't lead it elsewhere or count its frames.
    answer.headers["Cross-Origin-Opener-Policy"] = answer.headers["Cross-Origin-Resource-Policy"] = "same-origin"
    if g.get("new_visitor"):
        _set_cookie(answer, "visitor", g.form_secret, _VISITOR_SECONDS)
    return answer


@dashboard.errorhandler(UploadKitError)
def _tell(failure: UploadKitError) -> tuple[str | Response, int, dict[str, str]]:
    headers = retry_after(failure)
    if request.endpoint in _FOR_SCRIPTS:
        return json_answer(documented.error(failure)), failure.status, headers
    template = "dashboard/failure.html" if g.get("admin") else "dashboard/failure_alone.html"
    return render_template(template, failure=failure), failure.status, headers


def retry_after(failure: UploadKitError) -> dict[str, str]:
    """Return the header that says when to try again, where a failure knows it."""
    return {} if failure.retry_after_seconds is None else {"Retry-After": str(failure.retry_after_seconds)}


@dashboard.context_processor
def _in_templates() -> dict[str, Any]:
    return {
        "form_token": form_token,
        "take_notice": take_notice,
        "opened_elsewhere": opened_elsewhere,
        "url_with": url_with,
        "place": place,
        "newest_projects": partial(projects.newest, _MOST_IN_MENU),
        "rooms_of_a_project": ROOMS_OF_A_PROJECT,
        "rooms_of_the_appliance": ROOMS_OF_THE_APPLIANCE,
        "first_room": ROOMS_OF_A_PROJECT[0][0],
        "test_hours": -(-context().config.housekeeping.test_file_ttl_seconds // 3600),
    }


def url_with(**changes: str | None) -> str:
    """Return the address of this page with other arguments; None takes one away.

    What stands behind the question mark is anybody's: none of it is a word to `url_for`, which has several.
    """
    kept: dict[str, Any] = request.args.to_dict() | changes
    assert request.endpoint
    here = url_for(request.endpoint, **(request.view_args or {}))
    wanted = {name: value for name, value in kept.items() if value is not None}
    return f"{here}?{urlencode(wanted)}" if wanted else here


def caller() -> Caller:
    """Return the signed-in admin as they act in this page's project and environment."""
    return admins.caller_for(g.admin, g.project, g.environment)


def administrator() -> Caller:
    """Return the signed-in admin as they change projects, keys and file routes, which have no environment."""
    return admins.caller_for(g.admin, g.project, "live")


def form_token() -> str:
    """Return what the forms of this page have to carry."""
    if not g.form_secret:
        g.form_secret, g.new_visitor = secrets.token_urlsafe(32), True
    return _form_token_of(g.form_secret)


def _form_token_of(secret: str) -> str:
    return hmac.digest(secret.encode(), b"form", "sha256").hex()


def _sent_form_token() -> str:
    sent = request.headers.get("X-Form-Token") or request.form.get("form_token", "")
    return sent if len(sent) == _FORM_TOKEN_LENGTH else ""


def _belongs(sent: str, secret: str) -> bool:
    return hmac.compare_digest(sent.encode(), _form_token_of(secret).encode())


def _require_form_token(sent: str) -> None:
    if not g.form_secret or not _belongs(sent, g.form_secret):
        raise Forbidden(
            "This form does not belong to your session, or the session has ended", "Open the page again and send the form from there"
        )


def open_session(token: str, answer: AnyResponse) -> AnyResponse:
    """Give the browser its session; the cookie from before it has done its work."""
    _set_cookie(answer, "session", token, context().config.dashboard.session_hours * 3600)
    answer.delete_cookie(_cookie_name("visitor"), **_cookie_settings())
    return answer


def close_session(answer: AnyResponse) -> AnyResponse:
    """Take the session's cookie away, and where it was last."""
    for name in ("session", "place"):
        answer.delete_cookie(_cookie_name(name), **_cookie_settings())
    return answer


def own_page(wanted: str | None) -> str:
    """Return `wanted` if it is the address of one of these pages, else the first one."""
    if wanted and _OWN_PAGE.fullmatch(wanted):
        steps = unquote(wanted.partition("?")[0])
        if "\\" not in steps and not {".", ".."} & set(steps.split("/")):  # browsers walk along dots, also along %2e%2e
            return wanted
    return url_for("dashboard.home")


def say(text: str) -> None:
    """Have the admin's next page tell `text`."""
    sessions.leave_notice(g.session, text)


def take_notice() -> str | None:
    """Return what this page has to tell."""
    return sessions.take_notice(g.session) if g.get("session") and _asked_by_own_page() else None


def opened_elsewhere() -> tuple[str, str] | None:
    """Return the address of this page and the appliance's own, where the one is not known to be the other.

    With server.public_url there is nothing to tell: a proxy may say what it likes in Host.
    """
    server, here = context().config.server, f"{request.scheme}://{request.host}".lower()
    return None if server.public_url or here in server.own_origins else (here, server.base_url)


def show_once(name: str, value: Any) -> None:
    """Keep `value` for this session's next page that asks for `name`. Only in memory: it may be a key that nobody is to find later.

    The name has what the page is about in it, else another tab shows it for something else.
    """
    _shown_once[g.session.token_hash, name] = value
    if len(_shown_once) > _MOST_SHOWN_ONCE:
        _shown_once.popitem(last=False)


def take_shown_once(name: str) -> Any:
    """Return what was kept for this page, or None: also when it is loaded again. A page of another port can't use it up."""
    if not _asked_by_own_page():
        return None
    return _shown_once.pop((g.session.token_hash, name), None)


def forget_shown_once(token_hash: str) -> None:
    """Drop what was kept for a session that ends."""
    for kept in [kept for kept in list(_shown_once) if kept[0] == token_hash]:
        _shown_once.pop(kept, None)


def _set_cookie(answer: AnyResponse, name: str, value: str, seconds: int) -> None:
    answer.set_cookie(_cookie_name(name), value, max_age=seconds, **_cookie_settings())


def _cookie_settings() -> dict[str, Any]:
    return {"path": "/", "httponly": True, "samesite": "Strict", "secure": _by_tls()}


def _cookie_name(name: str) -> str:
    """The name of a cookie: over TLS bound to the host; without, it has the port in it, because cookies know no ports."""
    if _by_tls():
        return f"__Host-uploadkit_{name}"
    port = urlsplit(context().config.server.base_url).port
    return f"uploadkit_{name}_{port}" if port else f"uploadkit_{name}"


def _by_tls() -> bool:
    return context().config.server.base_url.startswith("https://")


def _policy(ctx: Context) -> str:
    address = ctx.store.address
    return _policy_for(address.base_url(address.public_endpoint), ctx.config.storage.public_url or "")


@cache
def _policy_for(*addresses: str) -> str:
    """Our own origin, and those that files are read from: `/f/` leads there, and a browser holds both ends against the policy."""
    parts = [urlsplit(address) for address in addresses if address]
    stores = " ".join(dict.fromkeys(f"{part.scheme}://{part.netloc}" for part in parts))
    return (
        f"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data: {stores}; media-src 'self' blob: {stores}; "
        f"frame-src 'self' blob: {stores}; connect-src 'self' {stores}; object-src 'none'; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'none'"
    )


def fingerprint(token_hash: str) -> str:
    """Return a name for a session that may stand in a page: from it nobody gets back to what the database keeps."""
    return hashlib.sha256(token_hash.encode()).hexdigest()[:16]
