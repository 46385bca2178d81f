"""Going through the pages of a list at the store, with an end even where the store always says that there is more."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from uploadkit.core.errors import StorageUnavailable
from uploadkit.objectstore.boto import NOT_S3_SUGGESTION, understood

_MOST_EMPTY = 100


class Walk:
    """Bounds a walk: at most `most_pages`, none twice, and not more than a hundred empty ones in a row."""

    def __init__(self, most_pages: int) -> None:
        self._left, self._empty = most_pages, 0
        self._seen: set[int] = set()

    def onwards(self, page: Mapping[str, Any], markers: Mapping[str, str], holds: Hashable | None) -> dict[str, Any] | None:
        """Return the parameters that ask for the next page; None after the last.

        `markers` names, by parameter, where the page tells their values; `holds` stands for what the page has in it, None when it is empty.
        Raises StorageUnavailable when the list goes in circles, or does not end.
        """
        if not page.get("IsTruncated"):
            return None
        with understood():
            asks_for = {parameter: page[name] for parameter, name in markers.items()}
        self._left -= 1
        self._empty = self._empty + 1 if holds is None else 0
        marks = {hash(("asks", *asks_for.values()))} | (set() if holds is None else {hash(("holds", holds))})
        if self._left <= 0 or self._empty > _MOST_EMPTY or marks & self._seen:
            raise StorageUnavailable("The object store's list goes in circles, or does not end", NOT_S3_SUGGESTION)
        self._seen |= marks
        return asks_for
