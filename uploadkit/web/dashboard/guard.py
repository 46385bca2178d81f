"""Who gets in: sessions in cookies, and the token of every form.

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
from functools import partial
from itertools import islice
from typing import Any

from flask import Blueprint, Response, g, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from uploadkit.auth import admins, sessions
from uploadkit.auth.callers import Caller
from uploadkit.core.errors import Forbidden, UploadKitError
from uploadkit.projects import service as projects
from uploadkit.schemas.errors import ErrorAnswer
from uploadkit.web import authentication
from uploadkit.web.dashboard.cookies import cookie_name, set_cookie
from uploadkit.web.dashboard.navigation import PAGES_OF_A_PROJECT, PAGES_OF_THE_APPLIANCE, place, url_with
from uploadkit.web.dashboard.notices import take_notice
from uploadkit.web.dashboard.own_pages import opened_elsewhere, require_no_other_page_around, require_own_page
from uploadkit.web.dashboard.policy import policy
from uploadkit.web.requests import context, json_answer

dashboard = Blueprint("dashboard", __name__, url_prefix="/dashboard")
project = Blueprint("project", __name__, url_prefix="/p/<slug>/<any(live, test):environment>")
_OPEN = {"dashboard.set_up", "dashboard.sign_in"}
_FOR_SCRIPTS = {"dashboard.project.upload_rules", "dashboard.project.act_on_upload"}
_VISITOR_SECONDS = 3600
# On every page: of more projects than these, the list of all of them has pages.
_MOST_IN_MENU = 50
# As `secrets.token_urlsafe(32)` writes them. Browsers keep at most 180 cookies of a site, and none of theirs may crowd ours out.
_SECRET = re.compile(r"[A-Za-z0-9_-]{43}")
_MOST_COOKIES = 200
_FORM_TOKEN_LENGTH = 64
# Forms are read whole, before anything else is looked at; and before anybody has signed in, only passwords are sent.
_MOST_BYTES_OF_NOBODY = 16 * 1024


@dashboard.before_request
def _let_in() -> AnyResponse | None:
    """Find the session, hold a form against it, and send whoever has none to sign in."""
    authentication.refuse_plain_http(request, context().config.server)
    require_no_other_page_around()
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
        require_own_page()
        _require_form_token(sent)
    return None


def _sent(name: str) -> list[str]:
    """Every cookie of this name that may be one of ours, however many others there are."""
    sent = (value for value in request.cookies.getlist(cookie_name(name)) if _SECRET.fullmatch(value))
    return list(islice(dict.fromkeys(sent), _MOST_COOKIES))


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


@project.after_request
def _note_place(answer: Response) -> Response:
    if "project" in g and request.cookies.get(cookie_name("place")) != (here := f"{g.project.slug}/{g.environment}"):
        set_cookie(answer, "place", here, context().config.dashboard.session_hours * 3600)
    return answer


@dashboard.after_request
def _guard(answer: Response) -> Response:
    answer.headers["Cache-Control"] = "no-store"
    answer.headers["Content-Security-Policy"] = policy(context())
    # With no-referrer, browsers would say that our own forms come from nowhere (Origin: null).
    answer.headers["Referrer-Policy"] = "same-origin"
    # A page that has opened this one, from another port or sub-domain, keeps no hand on it: it can't lead it elsewhere or count its frames.
    answer.headers["Cross-Origin-Opener-Policy"] = answer.headers["Cross-Origin-Resource-Policy"] = "same-origin"
    if g.get("new_visitor"):
        set_cookie(answer, "visitor", g.form_secret, _VISITOR_SECONDS)
    return answer


@dashboard.errorhandler(UploadKitError)
def _tell(failure: UploadKitError) -> tuple[str | Response, int, dict[str, str]]:
    headers = retry_after(failure)
    if request.endpoint in _FOR_SCRIPTS:
        return json_answer(ErrorAnswer.of(failure)), failure.status, headers
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
        "pages_of_a_project": PAGES_OF_A_PROJECT,
        "pages_of_the_appliance": PAGES_OF_THE_APPLIANCE,
        "first_page": PAGES_OF_A_PROJECT[0][0],
        "test_hours": -(-context().config.housekeeping.test_file_ttl_seconds // 3600),
    }


def caller() -> Caller:
    """Return the signed-in admin as they act in this page's project and environment."""
    return admins.caller_for(context().config, g.admin, g.project, g.environment)


def administrator() -> Caller:
    """Return the signed-in admin as they change projects, keys and file routes, which have no environment."""
    return admins.caller_for(context().config, g.admin, g.project, "live")


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


def fingerprint(token_hash: str) -> str:
    """Return a name for a session that may stand in a page: from it nobody gets back to what the database keeps."""
    return hashlib.sha256(token_hash.encode()).hexdigest()[:16]
