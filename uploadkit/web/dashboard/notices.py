"""What one page leaves for the next one to show, once."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from flask import g

from uploadkit.auth import sessions
from uploadkit.web.dashboard.own_pages import asked_by_own_page

# With names of what the page is about, which admins make; nobody has so many under way.
_MOST_SHOWN_ONCE = 1000
_shown_once: OrderedDict[tuple[str, str], Any] = OrderedDict()


def leave_notice(text: str) -> None:
    """Have the admin's next page show `text`."""
    sessions.leave_notice(g.session, text)


def take_notice() -> str | None:
    """Return the notice that this page has to show."""
    return sessions.take_notice(g.session) if g.get("session") and asked_by_own_page() else None


def show_once(name: str, value: Any) -> None:
    """Keep `value` for this session's next page that asks for `name`. Only in memory: it may be a key that nobody is to find later.

    The name has what the page is about in it, else another tab shows it for something else.
    """
    _shown_once[g.session.token_hash, name] = value
    if len(_shown_once) > _MOST_SHOWN_ONCE:
        _shown_once.popitem(last=False)


def take_shown_once(name: str) -> Any:
    """Return what was kept for this page, or None: also when it is loaded again. A page of another port can't use it up."""
    if not asked_by_own_page():
        return None
    return _shown_once.pop((g.session.token_hash, name), None)


def forget_shown_once(token_hash: str) -> None:
    """Drop what was kept for a session that ends."""
    for kept in [kept for kept in list(_shown_once) if kept[0] == token_hash]:
        _shown_once.pop(kept, None)
