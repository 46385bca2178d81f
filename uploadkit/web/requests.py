"""What views ask for: the body as JSON, the appliance, the limits; and how they answer."""

from __future__ import annotations

from typing import Any

import orjson
from flask import Request, Response
from flask.globals import app_ctx
from pydantic import BaseModel

from uploadkit.context import Context
from uploadkit.coordination.rate_limits import RateLimits
from uploadkit.core.errors import (
    UnsupportedMediaType,
    ValidationFailed,
)
from uploadkit.core.values import nested_at_most
from uploadkit.schemas.base import rendered

# Far more than any field of ours needs; orjson reads deeper than it writes.
MOST_LEVELS = 50
# Objects, arrays and what is separated by commas, wherever they stand: a list of 10,000 parts has 30,000 beside its metadata.
MOST_VALUES = 50_000


class JsonRequest(Request):
    """A request whose body is a JSON object or refused, whoever asks for it."""

    def get_json(self, force: bool = False, silent: bool = False, cache: bool = True) -> Any:
        """Return the body as a dict. Raises UnsupportedMediaType, ValidationFailed."""
        if self.mimetype != "application/json":
            raise UnsupportedMediaType(f"The Content-Type {self.mimetype or '(none)'!r} is not application/json")
        if (coding := self.headers.get("Content-Encoding", "identity").strip().lower()) not in ("", "identity"):
            raise UnsupportedMediaType(f"The Content-Encoding {coding!r} is not read here", "Send the body as it is, not compressed")
        written = self.get_data(cache=cache)
        if sum(map(written.count, (b"[", b"{", b","))) > MOST_VALUES:  # reading a megabyte of empty lists takes half a second
            words = f"must not have more than {MOST_VALUES} values"
            raise ValidationFailed(f"The body {words}", details={"body": [words]})
        try:
            body = orjson.loads(written)
        except orjson.JSONDecodeError as error:
            raise ValidationFailed(f"The body is not valid JSON: {error}", details={"body": ["is not valid JSON"]}) from None
        if not isinstance(body, dict):
            raise ValidationFailed("The body must be a JSON object", details={"body": ["must be an object"]})
        if not nested_at_most(body, MOST_LEVELS):
            words = f"must not be nested deeper than {MOST_LEVELS} levels"
            raise ValidationFailed(f"The body {words}", details={"body": [words]})
        return body


def context() -> Context:
    """Return the appliance that this request goes to."""
    ctx: Context = app_ctx.app.extensions["uploadkit"]
    return ctx


def json_answer(body: BaseModel | dict[str, Any], status: int = 200) -> Response:
    """Return `body` as a JSON answer."""
    return Response(orjson.dumps(body, rendered), status, mimetype="application/json")


def rate_limits() -> RateLimits:
    """Return the rate limits that this request is counted by."""
    limits: RateLimits = app_ctx.app.extensions["uploadkit.rate_limits"]
    return limits
