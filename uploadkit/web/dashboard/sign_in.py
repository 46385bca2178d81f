"""Set-up, sign-in and sign-out."""

from __future__ import annotations

from flask import g, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from uploadkit.auth import admins, sessions
from uploadkit.core.data_dir import remove_note
from uploadkit.core.errors import NotFound, UploadKitError
from uploadkit.projects import service as projects
from uploadkit.web import forwarded
from uploadkit.web.dashboard.cookies import close_session, open_session
from uploadkit.web.dashboard.guard import dashboard, retry_after
from uploadkit.web.dashboard.navigation import PAGES_OF_A_PROJECT
from uploadkit.web.dashboard.notices import forget_shown_once
from uploadkit.web.dashboard.own_pages import own_page
from uploadkit.web.requests import context, rate_limits

Page = str | tuple[str, int, dict[str, str]] | Response


@dashboard.get("/")
def home() -> Response:
    """Go to the first project's overview."""
    try:
        first = projects.find_by_id_or_slug()
    except NotFound:
        return redirect(url_for("dashboard.list_projects"))
    return redirect(url_for(f"dashboard.project.{PAGES_OF_A_PROJECT[0][0]}", slug=first.slug, environment="live"))


@dashboard.route("/setup", methods=["GET", "POST"])
def set_up() -> Page:
    """Make an admin with the token of a set-up link, which stands in the fragment: a script puts it into the form."""
    if request.method != "POST":  # HEAD as well: it brings no token of a form
        return render_template("dashboard/setup.html", form={}, failure=None)
    form = request.form
    try:
        config = context().config
        rate_limits().count_set_up(forwarded.client_address(request, config.server), config.dashboard.sign_ins_per_minute)
        admin = admins.set_up(form.get("token", "").strip(), form.get("email", ""), form.get("password", ""))
    except UploadKitError as failure:
        return render_template("dashboard/setup.html", form=form, failure=failure), failure.status, retry_after(failure)
    remove_note(context().config.data_dir)
    return _enter(admins.begin_session(config, admin, *_browser()), admin.email, url_for("dashboard.home"))


@dashboard.route("/sign-in", methods=["GET", "POST"])
def sign_in() -> Page:
    """Begin a session."""
    form, wanted = request.form, own_page(request.values.get("next"))
    if request.method != "POST":
        values = {"wanted": wanted, "nobody_yet": not admins.are_there_any()}
        return redirect(wanted) if g.admin else render_template("dashboard/sign_in.html", form={}, failure=None, **values)
    try:
        return _enter(_signed_in(form.get("email", ""), form.get("password", "")), form.get("email", ""), wanted)
    except UploadKitError as failure:
        page = render_template("dashboard/sign_in.html", form=form, failure=failure, wanted=wanted, nobody_yet=False)
        return page, failure.status, retry_after(failure)


@dashboard.post("/sign-out")
def sign_out() -> Response:
    """End this session, and any other one that this browser has: nothing may be left to come back to."""
    _end_sessions()
    return close_session(redirect(url_for("dashboard.sign_in")))


def _signed_in(email: str, password: str) -> str:
    """The token of a new session. Raises Unauthorized, RateLimited."""
    config = context().config
    client, user_agent = _browser()
    most, is_new = config.dashboard.sign_ins_per_minute, admins.has_new_password(email)
    is_known = rate_limits().count_sign_in(client, email, most, has_new_password=is_new)
    return admins.sign_in(config, email, password, client, user_agent, is_known=is_known)


def _browser() -> tuple[str, str]:
    """Where this request comes from, and by which program."""
    return forwarded.client_address(request, context().config.server), request.user_agent.string


def _enter(token: str, email: str, wanted: str) -> Response:
    rate_limits().note_sign_in(_browser()[0], email)
    _end_sessions()
    return open_session(token, redirect(wanted))


def _end_sessions() -> None:
    for session in g.sessions.values():
        sessions.end(session.admin_id, session.token_hash)
        forget_shown_once(session.token_hash)
