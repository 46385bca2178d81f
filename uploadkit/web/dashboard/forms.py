"""Forms → the same request objects as JSON makes (`schemas/`), so that a page refuses what the API refuses.

Errors use the names that the fields have in the page: the templates know their labels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from flask import Response, after_this_request, request
from pydantic import BaseModel, ValidationError

from uploadkit.core.errors import StorageUnavailable, UploadKitError, ValidationFailed
from uploadkit.db.paging import Page
from uploadkit.schemas.base import message_of

Body = TypeVar("Body", bound=BaseModel)
Item = TypeVar("Item")
MOST_ON_A_PAGE = 20
_NO_WORDS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Listing(Generic[Item]):
    """A page of a list; an empty one with what was refused, where the address asks for what can't be."""

    page: Page[Item]
    refused: UploadKitError | None = None

    @property
    def status(self) -> int:
        """Return the HTTP status of a page that shows this."""
        return self.refused.status if self.refused else 200


def text(name: str) -> str:
    """Return a field without the spaces around it; "" when it was not sent."""
    return request.form.get(name, "").strip()


def lines(name: str) -> list[str]:
    """Return the entries of a field that takes several, by comma, space or line."""
    return request.form.get(name, "").replace(",", " ").split()


def number(name: str) -> int | str | None:
    """Return a whole number, None for an empty field, and anything else as it was typed: the schema refuses it."""
    written = text(name)
    is_number = written.isascii() and written.removeprefix("-").isdigit() and len(written) < 17
    return int(written) if is_number else written or None


def validated(schema: type[Body], values: Mapping[str, Any], words: Mapping[str, str] = _NO_WORDS) -> Body:
    """Return `values`, by the names that Python has for the fields, as `schema`.

    `words` says by field what it takes, where the schema would speak of JSON. Raises ValidationFailed: details by field.
    """
    try:
        return schema.model_validate(values, by_name=True)
    except ValidationError as error:
        details: dict[str, list[str]] = {}
        for finding in error.errors(include_url=False):
            steps = finding["loc"]
            name = ".".join(step for step in steps if isinstance(step, str))
            # Of several entries in one field, the one that is meant.
            entry = f"“{finding['input']}” " if isinstance(steps[-1], int) else ""
            details.setdefault(name, []).append(entry + words.get(name, message_of(finding)))
        raise ValidationFailed("What was given can't be taken as it is", details=details) from None


def listed(find: Callable[[str | None], Page[Item]]) -> Listing[Item]:
    """Return the page of a list that the address asks for; `find` is called with where it begins."""
    try:
        return Listing(find(request.args.get("cursor") or None))
    except StorageUnavailable as failure:  # the page is still good for asking for less
        after_this_request(partial(_with_retry_after, failure))
        return Listing(Page([], None), failure)
    except ValidationFailed as failure:
        if "cursor" in (failure.details or {}):
            failure = ValidationFailed("This list has no such page", "Its address was changed or cut off. Begin with the newest")
        return Listing(Page([], None), failure)


def _with_retry_after(failure: UploadKitError, answer: Response) -> Response:
    answer.headers["Retry-After"] = str(failure.retry_after_seconds)
    return answer
