"""Addresses under /dashboard that are no page."""

from __future__ import annotations

from flask import current_app, redirect, request, url_for
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response

from uploadkit.core.errors import NotFound
from uploadkit.web.dashboard.guard import dashboard


@dashboard.get("/<path:anything>")
def find_page(anything: str) -> Response:
    """Lead from an address that only forms are sent to, which stays with a form that was refused, to the page above it. Raises NotFound."""
    if _endpoint(request.path, "POST") is None:
        raise NotFound(f"There is no page {request.path}")
    above = request.path
    while above := above.rpartition("/")[0]:
        if _endpoint(above, "GET") not in (None, request.endpoint):
            return redirect(above)
    return redirect(url_for("dashboard.home"))


def _endpoint(path: str, method: str) -> str | None:
    adapter = current_app.create_url_adapter(request)
    assert adapter
    try:
        endpoint: str = adapter.match(path, method=method)[0]
    except HTTPException:
        return None
    return endpoint
