"""Forms → the same request objects as JSON makes (`web/schemas*.py`), so that a page refuses what the API refuses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from flask import request
from pydantic import BaseModel, ValidationError

from uploadkit.errors import ValidationFailed
from uploadkit.web import schemas

Body = TypeVar("Body", bound=BaseModel)
MOST_ON_A_PAGE = 20


def text(name: str) -> str:
    """Return a field without the spaces around it; "" when it was not sent."""
    return request.form.get(name, "").strip()


def lines(name: str) -> list[str]:
    """Return the entries of a field that takes several, by comma, space or line."""
    return request.form.get(name, "").replace(",", " ").split()


def number(name: str) -> int | None:
    """Return a whole number, or None for an empty field. Raises ValidationFailed."""
    written = text(name)
    if not written:
        return None
    if not (written.isascii() and written.isdigit() and len(written) < 17):
        raise ValidationFailed(f"{name.replace('_', ' ')}: write a whole number", details={name: ["must be a whole number"]})
    return int(written)


def validated(schema: type[Body], values: Mapping[str, Any]) -> Body:
    """Return `values`, by the names that Python has for the fields, as `schema`. Raises ValidationFailed."""
    try:
        return schema.model_validate(values, by_name=True)
    except ValidationError as error:
        raise schemas.to_validation_failed(error) from None


def cursor() -> str | None:
    """Return where the asked page of a list begins."""
    return request.args.get("cursor") or None
