"""Pages of a list by an opaque keyset cursor, newest first.

The cursor holds the last row's place in the order, not a row count: what is added or deleted between two requests makes no row
appear twice or never, also under equal timestamps, and the hundredth page costs what the first one does.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from peewee import Field, Model, ModelSelect, Tuple

from uploadkit.core.errors import ValidationFailed
from uploadkit.db import read_deadline

Item = TypeVar("Item")
Row = TypeVar("Row", bound=Model)


@dataclass(frozen=True)
class Page(Generic[Item]):
    """Some of a list, and where the next page starts (None: this was the last)."""

    items: Sequence[Item]
    next_cursor: str | None


def newest_first(query: ModelSelect[Row], at: Field[Any], row_id: Field[Any], limit: int, cursor: str | None) -> Page[Row]:
    """Return up to `limit` rows of `query` after `cursor`, ordered by `at` (milliseconds) and `row_id` (text), both descending.

    An index on these two, behind whatever `query` filters by equality, keeps every page equally cheap.
    Raises ValidationFailed for a cursor that this API did not make.
    """
    if cursor is not None:
        query = query.where(Tuple(at, row_id) < Tuple(*_read_cursor(cursor)))
    rows = _read(query.order_by(at.desc(), row_id.desc()), limit + 1)
    if len(rows) <= limit:
        return Page(rows, None)
    last = rows[limit - 1]
    return Page(rows[:limit], _make_cursor(getattr(last, at.name), getattr(last, row_id.name)))


def highest_first(query: ModelSelect[Row], place: Any, place_of: Callable[[Row], int], limit: int, cursor: str | None) -> Page[Row]:
    """Return up to `limit` rows of `query` after `cursor`, by one unique integer, descending.

    `place` is that integer's column, `place_of` reads it from a row. Raises ValidationFailed for a cursor that this API did not make.
    """
    if cursor is not None:
        query = query.where(place < _read_cursor(cursor)[0])
    rows = _read(query.order_by(place.desc()), limit + 1)
    return Page(rows[:limit], after(place_of(rows[limit - 1])) if len(rows) > limit else None)


def after(place: int) -> str:
    """Return the cursor of what stands below `place` in a list of `highest_first`."""
    return _make_cursor(place, "")


def _read(query: ModelSelect[Row], most: int) -> list[Row]:
    with read_deadline.reported():
        return list(query.limit(most))


def _make_cursor(at_ms: int, row_id: str) -> str:
    return base64.urlsafe_b64encode(json.dumps([at_ms, row_id]).encode()).decode().rstrip("=")


def _read_cursor(cursor: str) -> tuple[int, str]:
    try:
        at, row_id = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
        if type(at) is not int or not isinstance(row_id, str) or not -(2**63) <= at < 2**63:
            raise ValueError
        row_id.encode()  # JSON lets half a surrogate pair through, SQLite does not
    except (ValueError, TypeError, RecursionError, binascii.Error):
        raise ValidationFailed(
            "The cursor is not one that this API gave out",
            "Pass nextCursor of the page before, unchanged",
            details={"cursor": ["is not valid"]},
        ) from None
    return at, row_id
