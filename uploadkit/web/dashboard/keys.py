"""API keys: create, show once, list, revoke."""

from __future__ import annotations

from flask import g, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from uploadkit.auth import api_keys
from uploadkit.core.errors import Forbidden, UploadKitError
from uploadkit.schemas.api_keys import KeyBody
from uploadkit.web.dashboard import forms
from uploadkit.web.dashboard.guard import administrator, project
from uploadkit.web.dashboard.notices import leave_notice, show_once, take_shown_once
from uploadkit.web.requests import context


@project.get("/keys")
def list_keys() -> tuple[str, int]:
    """List the project's active keys, or its revoked ones; a key made just now is shown in full."""
    return _page(None)


def _page(failure: UploadKitError | None) -> tuple[str, int]:
    revoked = "revoked" in request.args
    found = forms.listed(lambda cursor: api_keys.list_keys(administrator(), g.project.id, forms.MOST_ON_A_PAGE, cursor, revoked=revoked))
    page = render_template(
        "dashboard/keys.html",
        page=found.page,
        refused=found.refused,
        revoked=revoked,
        active=api_keys.count_active(g.project.id),
        max_keys=administrator().limits.max_keys,
        issued=take_shown_once(f"key {g.project.id}"),
        failure=failure,
        form=request.form,
    )
    return page, failure.status if failure else found.status


@project.post("/keys")
def create_key() -> Response | tuple[str, int]:
    """Make a key and go where it is shown, this once."""
    try:
        body = forms.validated(KeyBody, {name: forms.text(name) for name in ("name", "environment", "access")})
        issued = api_keys.issue_key(
            context().config, administrator(), g.project.id, body.name, environment=body.environment, access=body.access
        )
    except Forbidden as failure:
        return _page(Forbidden(failure.message, details={"access": ["can't be all projects (account access) with a test key"]}))
    except UploadKitError as failure:
        return _page(failure)
    show_once(f"key {g.project.id}", issued)
    return redirect(url_for(".list_keys"))


@project.post("/keys/<key_id>/revoke")
def revoke_key(key_id: str) -> Response:
    """Revoke a key."""
    key = api_keys.revoke_key(administrator(), key_id)
    leave_notice(f"Revoked {key.masked_key} ({key.name}). The next request with it is answered 401.")
    return redirect(url_for(".list_keys"))
