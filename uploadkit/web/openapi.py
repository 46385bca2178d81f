"""What the OpenAPI document says of each endpoint beyond its schemas: which failures it can answer, with an example of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic.alias_generators import to_camel

from uploadkit.core.errors import (
    Forbidden,
    HttpsRequired,
    IdempotencyConflict,
    InternalServerError,
    PayloadTooLarge,
    RateLimited,
    Unauthorized,
    UnsupportedMediaType,
    UploadKitError,
    ValidationFailed,
)
from uploadkit.schemas.base import Answer, rendered
from uploadkit.schemas.errors import INVALID, error

DESCRIPTION = (
    "File uploads by presigned URL. Every call needs an API key in `x-api-key`; every failure has the shape of `ErrorAnswer`; "
    "lists are paged by `cursor`; times are UTC."
)
SDK_DESCRIPTION = (
    "What the official JavaScript packages call when their base URL is `…/sdk`. Everything else is in the documented API, `/api/v1`."
)
SECURITY_SCHEMES: dict[str, Any] = {
    "apiKey": {"type": "apiKey", "in": "header", "name": "x-api-key"},
    "bearer": {"type": "http", "scheme": "bearer"},
}
_ALWAYS: tuple[type[UploadKitError], ...] = (ValidationFailed, Unauthorized, Forbidden, HttpsRequired, RateLimited, InternalServerError)
_WITH_BODY: tuple[type[UploadKitError], ...] = (UnsupportedMediaType, PayloadTooLarge)


def operation_id(*, name: str, **_: str) -> str:
    """Return an operation's id in the document: its function's name, in camelCase as everything there. For flask-openapi3."""
    return to_camel(name)


def answers(
    answer: type[Answer],
    *failures: type[UploadKitError],
    status: int = 200,
    body: bool = False,
    error_of: Callable[[UploadKitError], tuple[Answer, int]] = error,
) -> dict[str, Any]:
    """Return flask-openapi3's `responses` for an endpoint: `answer` at `status`, the `failures` it names, and those of all endpoints.

    `body` adds what a wrong or overlong JSON body brings about. `error_of` says how a surface tells of a failure, and with which status.
    """
    by_status: dict[int, dict[type[UploadKitError], Answer]] = {}
    for kind in (*failures, *_ALWAYS, *(_WITH_BODY if body else ())):
        example, code = error_of(_example(kind))
        by_status.setdefault(code, {})[kind] = example
    responses: dict[int, Any] = {status: answer}
    return {"responses": responses | {code: _answer(kinds) for code, kinds in sorted(by_status.items())}}


def _answer(answers: Mapping[type[UploadKitError], Answer]) -> dict[str, Any]:
    examples = {kind: rendered(answer) for kind, answer in answers.items()}
    shape = type(next(iter(answers.values())))
    by_code = {example["error"]["code"]: {"value": example} for example in examples.values()}
    return {
        "description": " ".join(f"`{example['error']['code']}`: {kind.__doc__}" for kind, example in examples.items()),
        "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{shape.__name__}"}, "examples": by_code}},
    }


def _example(kind: type[UploadKitError]) -> UploadKitError:
    return INVALID if kind is ValidationFailed else kind((kind.__doc__ or "").rstrip("."))


_IDEMPOTENCY_KEY: dict[str, Any] = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "A random UUID, say. For 24 hours, the same key with the same body answers what the first request made.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]([ -~]*[!-~])?$"},
    "example": "5d2f5d0c-7a0f-4d5c-9d57-0a3f3c0e6b1e",
}


def with_idempotency_keys(document: dict[str, Any]) -> dict[str, Any]:
    """Return `document` with the header Idempotency-Key where an operation answers IDEMPOTENCY_CONFLICT.

    As a header model of flask-openapi3 it would cost each request 150 µs.
    """
    for path in document["paths"].values():
        for operation in path.values():
            examples = operation["responses"].get("409", {}).get("content", {}).get("application/json", {}).get("examples", {})
            if IdempotencyConflict.code in examples and _IDEMPOTENCY_KEY not in operation.get("parameters", []):
                operation.setdefault("parameters", []).append(_IDEMPOTENCY_KEY)
    return document


def with_examples(document: dict[str, Any]) -> dict[str, Any]:
    """Return `document` with an example in every JSON body that has none yet, put together from its schema's own examples."""
    schemas = document["components"]["schemas"]
    for path in document["paths"].values():
        for operation in path.values():
            for place in (operation.get("requestBody", {}), *operation["responses"].values()):
                for content in place.get("content", {}).values():
                    if not content.keys() & {"example", "examples"}:
                        content["example"] = _example_of(content["schema"], schemas)
    return document


def _example_of(schema: dict[str, Any], schemas: dict[str, Any]) -> Any:
    if "$ref" in schema:
        return _example_of(schemas[schema["$ref"].rpartition("/")[2]], schemas)
    if "examples" in schema:
        return schema["examples"][0]
    for fixed in ("const", "default"):
        if fixed in schema:
            return schema[fixed]
    if "enum" in schema:
        return schema["enum"][0]
    for choice in ("anyOf", "oneOf", "allOf"):
        if choice in schema and "properties" not in schema:  # beside those it only says which go together
            return _example_of(schema[choice][0], schemas)
    match schema.get("type"):
        case "object":
            needed = schema.get("oneOf", [{}])[0].get("required", [])  # of several ways to fill it in, by the first
            parts = schema.get("properties", {}).items()
            return {name: _example_of(_without_default(part) if name in needed else part, schemas) for name, part in parts}
        case "array":
            return [_example_of(schema["items"], schemas)]
        case "integer" | "number":
            return schema.get("minimum", schema.get("exclusiveMinimum", 0) + 1)
        case "boolean":
            return True
        case _:
            return "…"


def _without_default(schema: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in schema.items() if name != "default"}
