"""Settings of the appliance: admins, one's own password and sessions, version."""

from __future__ import annotations

from flask import g, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from uploadkit import __version__
from uploadkit.auth import admins, sessions
from uploadkit.core.errors import UploadKitError
from uploadkit.web import forwarded
from uploadkit.web.dashboard.guard import dashboard, fingerprint, retry_after
from uploadkit.web.dashboard.notices import leave_notice, show_once, take_shown_once
from uploadkit.web.requests import context, rate_limits


@dashboard.get("/settings")
def show_settings() -> str:
    """Show admins, sessions and version; a set-up link made just now is shown, this once."""
    return _page(None)


def _page(failure: UploadKitError | None) -> str:
    return render_template(
        "dashboard/settings.html",
        admins=admins.all_admins(),
        sessions=[(fingerprint(row.token_hash), row) for row in sessions.list_sessions(g.admin.id)],
        setup_url=take_shown_once("setup_url"),
        setup_hours=admins.SETUP_LINK_HOURS,
        shortest_password=admins.SHORTEST_PASSWORD,
        version=__version__,
        config=context().config,
        failure=failure,
    )


@dashboard.post("/settings/password")
def change_password() -> Response | tuple[str, int, dict[str, str]]:
    """Change one's own password; all other sessions end."""
    form = request.form
    config = context().config
    try:
        client = forwarded.client_address(request, config.server)
        rate_limits().count_password_change(client, g.admin.id, config.dashboard.sign_ins_per_minute)
        admins.change_password(g.admin, form.get("present", ""), form.get("password", ""), g.session.token_hash)
    except UploadKitError as failure:
        return _page(failure), failure.status, retry_after(failure)
    leave_notice("Your password has been changed. You are signed out everywhere else.")
    return redirect(url_for(".show_settings"))


@dashboard.post("/settings/sessions/<name>/end")
def end_session(name: str) -> Response:
    """End one of one's own sessions."""
    for row in sessions.list_sessions(g.admin.id):
        if fingerprint(row.token_hash) == name:
            sessions.end(g.admin.id, row.token_hash)
    leave_notice("The session has ended.")
    return redirect(url_for(".show_settings"))


@dashboard.post("/settings/admins")
def invite_admin() -> Response:
    """Make a set-up link for another admin."""
    show_once("setup_url", admins.make_setup_link(context().config, admins.actor(g.admin)))
    return redirect(url_for(".show_settings"))


@dashboard.post("/settings/admins/<admin_id>/remove")
def remove_admin(admin_id: str) -> Response:
    """Remove an admin."""
    admins.remove(g.admin, admin_id)
    leave_notice("The admin has been removed and signed out everywhere.")
    return redirect(url_for(".show_settings"))
