"""Which addresses are this dashboard's own, and whether one of its pages asked."""

from __future__ import annotations

import re
from urllib.parse import unquote

from flask import request, url_for

from uploadkit.core.errors import Forbidden
from uploadkit.web.dashboard.cookies import by_tls
from uploadkit.web.requests import context

# Only what our own pages have in their addresses; above all no second slash at the beginning and no backslash.
_OWN_PAGE = re.compile(r"/dashboard(/[A-Za-z0-9_.~%-]+)*/?(\?[A-Za-z0-9_.~%&=+/:-]*)?")


def asked_by_own_page() -> bool:
    """Whether nothing says that another page is behind this request; browsers say so over TLS and on this machine."""
    return request.headers.get("Sec-Fetch-Site", "none") in ("same-origin", "none")


def require_no_other_page_around() -> None:
    """Refuse what another page has asked for by itself, not by leading its visitor here: as a frame, a picture, a script, by fetch.

    Browsers let it read none of that, but how long it takes would tell it what there is: pages of another port or sub-domain send the
    session's cookie along.
    """
    if not asked_by_own_page() and request.headers.get("Sec-Fetch-Dest", "document") != "document":
        raise Forbidden("Pages of another address can't have this in them", "Open it in a tab of its own")


def require_own_page() -> None:
    """Refuse a form of another page, whatever cookies and tokens that page knows. Old browsers and programs send no Origin.

    Extensions for privacy have it say `null`, as pages with anything to hide do. The browser's own word is beyond both.
    """
    origin, schemes = request.headers.get("Origin"), ("https",) if by_tls() else ("http", "https")
    own = {f"{scheme}://{request.host}" for scheme in schemes} | {context().config.server.base_url}
    is_hidden = origin == "null" and request.headers.get("Sec-Fetch-Site") == "same-origin"
    if (origin is not None and origin not in own and not is_hidden) or not asked_by_own_page():
        raise Forbidden(
            "This form was sent by a page of another address",
            "Open the dashboard by one address only. Behind a proxy, set server.public_url, or have the proxy pass Host on as it is. "
            "Without TLS, switch off extensions that hide where a form comes from (Origin, Referer) for this page",
        )


def own_page(wanted: str | None) -> str:
    """Return `wanted` if it is the address of one of these pages, else the first one."""
    if wanted and _OWN_PAGE.fullmatch(wanted):
        steps = unquote(wanted.partition("?")[0])
        if "\\" not in steps and not {".", ".."} & set(steps.split("/")):  # browsers walk along dots, also along %2e%2e
            return wanted
    return url_for("dashboard.home")


def opened_elsewhere() -> tuple[str, str] | None:
    """Return the address of this page and the appliance's own, where the one is not known to be the other.

    With server.public_url there is nothing to tell: a proxy may say what it likes in Host.
    """
    server, here = context().config.server, f"{request.scheme}://{request.host}".lower()
    return None if server.public_url or here in server.own_origins else (here, server.base_url)
