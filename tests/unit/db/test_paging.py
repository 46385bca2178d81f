"""Pages by keyset: nothing twice, nothing missed, whatever happens in between."""

from __future__ import annotations

import base64
import json
import random
from typing import Any

import pytest

from tests.conftest import App
from uploadkit.core import clock
from uploadkit.core.errors import ValidationFailed
from uploadkit.core.ids import new_id
from uploadkit.db import paging
from uploadkit.db.connection import write
from uploadkit.db.models import FileRoute


def add(app: App, at_ms: int) -> str:
    with write():
        route_id = new_id()
        FileRoute.create(id=route_id, project=app.project, slug=f"r{route_id}", created_at=at_ms, updated_at=at_ms)
    return route_id


def page(cursor: str | None, limit: int = 3) -> paging.Page[FileRoute]:
    return paging.newest_first(FileRoute.select(), FileRoute.created_at, FileRoute.id, limit, cursor)


def test_rows_come_and_go_between_the_pages(app: App) -> None:
    dice = random.Random(7)
    now = clock.now_ms()
    times = [now + n // 5 for n in range(60)]  # five at a time have the same millisecond
    made = [add(app, at) for at in times]
    doomed = set(dice.sample(made, 15))
    seen: list[str] = []
    cursor: str | None = None
    while True:
        found = page(cursor)
        seen += [route.id for route in found.items]
        cursor = found.next_cursor
        if cursor is None:
            break
        add(app, now + dice.randrange(12))
        if doomed:
            with write():
                FileRoute.delete().where(FileRoute.id == doomed.pop()).execute()
    assert len(seen) == len(set(seen))
    assert {route_id for route_id in made if FileRoute.get_or_none(FileRoute.id == route_id)} <= set(seen)


def test_the_last_page_says_so(app: App) -> None:
    now = clock.now_ms()
    made = [add(app, now + 1 + n) for n in range(5)]
    first = page(None, 3)
    second = page(first.next_cursor, 3)
    assert [route.id for route in [*first.items, *second.items]][:5] == made[::-1]
    assert second.next_cursor is None, "five and `default` are exactly two pages"
    assert page(None, 100).next_cursor is None


def made_of(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode()


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "x",
        "%%%",
        "é",
        made_of([1]),
        made_of(["1", "a"]),
        made_of([1, 2]),
        made_of([True, "a"]),
        made_of([2**63, "a"]),
        made_of([1, "\ud800"]),
    ],
)
def test_a_cursor_of_ones_own_is_refused(app: App, cursor: str) -> None:
    with pytest.raises(ValidationFailed) as refused:
        page(cursor)
    assert list(refused.value.details or {}) == ["cursor"]
