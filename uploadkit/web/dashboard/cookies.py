"""The dashboard's cookies: the session, the visitor before it, and the project that was open last."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from werkzeug.wrappers import Response as AnyResponse

from uploadkit.web.requests import context


def open_session(token: str, answer: AnyResponse) -> AnyResponse:
    """Give the browser its session; the cookie from before it has done its work."""
    set_cookie(answer, "session", token, context().config.dashboard.session_hours * 3600)
    answer.delete_cookie(cookie_name("visitor"), **_cookie_settings())
    return answer


def close_session(answer: AnyResponse) -> AnyResponse:
    """Take the session's cookie away, and where it was last."""
    for name in ("session", "place"):
        answer.delete_cookie(cookie_name(name), **_cookie_settings())
    return answer


def set_cookie(answer: AnyResponse, name: str, value: str, seconds: int) -> None:
    """Set one of the dashboard's cookies for so many seconds."""
    answer.set_cookie(cookie_name(name), value, max_age=seconds, **_cookie_settings())


def _cookie_settings() -> dict[str, Any]:
    return {"path": "/", "httponly": True, "samesite": "Strict", "secure": by_tls()}


def cookie_name(name: str) -> str:
    """The name of a cookie: over TLS bound to the host; without, it has the port in it, because cookies know no ports."""
    if by_tls():
        return f"__Host-uploadkit_{name}"
    port = urlsplit(context().config.server.base_url).port
    return f"uploadkit_{name}_{port}" if port else f"uploadkit_{name}"


def by_tls() -> bool:
    """Return whether browsers reach this appliance by HTTPS."""
    return context().config.server.base_url.startswith("https://")
