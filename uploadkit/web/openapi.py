"""What the OpenAPI document says of each endpoint beyond its schemas: which failures it can answer, with an example of each."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from uploadkit.errors import (
    Forbidden,
    HttpsRequired,
    InternalServerError,
    PayloadTooLarge,
    RateLimited,
    Unauthorized,
    UnsupportedMediaType,
    UploadKitError,
    ValidationFailed,
)
from uploadkit.web.shapes import ErrorAnswer

__all__ = ["ErrorAnswer", "answers"]

DESCRIPTION = (
    "File uploads by presigned URL. Every call needs an API key in `x-api-key`; every failure has the shape of `ErrorAnswer`; "
    "lists are paged by `cursor`; times are UTC."
)
SECURITY_SCHEMES: dict[str, Any] = {
    "apiKey": {"type": "apiKey", "in": "header", "name": "x-api-key"},
    "bearer": {"type": "http", "scheme": "bearer"},
}
_ALWAYS: tuple[type[UploadKitError], ...] = (ValidationFailed, Unauthorized, Forbidden, HttpsRequired, RateLimited, InternalServerError)
_WITH_BODY: tuple[type[UploadKitError], ...] = (UnsupportedMediaType, PayloadTooLarge)


def answers(shape: type[BaseModel], *failures: type[UploadKitError], status: int = 200, body: bool = False) -> dict[str, Any]:
    """Return flask-openapi3's `responses` for an endpoint: `shape` at `status`, the `failures` it names, and those of all endpoints.

    `body` adds what a wrong or overlong JSON body brings about.
    """
    by_status: dict[int, list[type[UploadKitError]]] = {}
    for failure in (*failures, *_ALWAYS, *(_WITH_BODY if body else ())):
        found = by_status.setdefault(failure.status, [])
        if failure not in found:
            found.append(failure)
    responses: dict[int, Any] = {status: shape}
    return {"responses": responses | {code: _answer(kinds) for code, kinds in sorted(by_status.items())}}


def _answer(kinds: list[type[UploadKitError]]) -> dict[str, Any]:
    return {
        "description": " ".join(f"`{kind.code}`: {kind.__doc__}" for kind in kinds),
        "content": {
            "application/json": {
                "schema": {"$ref": f"#/components/schemas/{ErrorAnswer.__name__}"},
                "examples": {kind.code: {"value": {"error": _example(kind)}} for kind in kinds},
            }
        },
    }


def _example(kind: type[UploadKitError]) -> dict[str, Any]:
    example: dict[str, Any] = {"code": kind.code, "message": (kind.__doc__ or "").rstrip(".")}
    if kind.default_suggestion:
        example["suggestion"] = kind.default_suggestion
    if kind is ValidationFailed:
        example |= {"message": "fileName is required", "details": {"fileName": ["is required"]}}
    return example
