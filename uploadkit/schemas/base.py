"""What all of the contract has in common: how names are written, how lists are paged, what is said of a field that is wrong.

`Input` is what comes in, `Answer` what goes out. An answer says of itself, beside its fields, how it is made of what the services return
(`of`); a field that is not given is not there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Generic, Literal, Self, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from uploadkit.core.errors import ValidationFailed
from uploadkit.db import paging

T = TypeVar("T")
Row = TypeVar("Row")
Json = dict[str, Any]
_MOST_NAMED = 10


class Input(BaseModel):
    """What comes in: camelCase outside, no coercion between JSON types. What is refused here names the field."""

    model_config = ConfigDict(alias_generator=to_camel, strict=True, hide_input_in_errors=True)


class Answer(BaseModel):
    """What goes out: camelCase outside. What is read from rows has the names of their columns.

    Neither its `repr()` nor an error says what is in it: API keys, tokens and signed URLs are.
    """

    model_config = ConfigDict(
        alias_generator=to_camel,
        serialize_by_alias=True,
        populate_by_name=True,
        from_attributes=True,
        extra="forbid",
        hide_input_in_errors=True,
    )

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        return ()


def rendered(answer: BaseModel) -> Json:
    """Return an answer as the JSON object that it is on the wire."""
    return answer.model_dump(exclude_unset=True)


class PageQuery(BaseModel):
    """How lists are paged."""

    limit: Annotated[int, Field(ge=1, le=100)] = 20
    cursor: Annotated[str, Field(max_length=1000)] | None = None


class Page(Answer, Generic[T]):
    """Some of a list, newest first, and the cursor of the next page."""

    items: list[T]
    next_cursor: str | None
    has_more: bool

    @classmethod
    def of(cls, page: paging.Page[Row], item_of: Callable[[Row], T]) -> Self:
        """Return a page of rows, each as `item_of` makes it."""
        return cls(items=[item_of(row) for row in page.items], next_cursor=page.next_cursor, has_more=page.next_cursor is not None)


class Deleted(Answer):
    """It is gone."""

    deleted: Literal[True]


class Revoked(Answer):
    """The API key is refused from now on."""

    revoked: Literal[True]


DELETED, REVOKED = Deleted(deleted=True), Revoked(revoked=True)


def links(parameters: dict[str, str], *operations: str, body: bool = False) -> ConfigDict:
    """Say in the document which operations go on from an answer, and which of its fields they take."""
    taken = {"requestBody" if body else "parameters": {name: f"$response.body#/{field}" for name, field in parameters.items()}}
    found = {"links": {operation: {"operationId": operation, **taken} for operation in operations}}
    return ConfigDict(openapi_extra=found)  # type: ignore[typeddict-unknown-key]


def in_this_order(*names: str) -> ConfigDict:
    """Have the document name the fields in another order than the answer has them."""

    def ordered(schema: Json) -> None:
        schema["properties"] = {name: schema["properties"][name] for name in names}
        schema["required"] = [name for name in names if name in schema["required"]]

    return ConfigDict(json_schema_extra=ordered)


def without_defaults(schema: Json) -> None:
    """Have the document of a PATCH name no default: what is left out stays as it is."""
    for field in schema["properties"].values():
        field.pop("default", None)


def takes_numbers(kind: Any) -> bool:
    """Say whether a number may stand in a field of this type, perhaps among other things."""
    return kind is int or any(map(takes_numbers, get_args(kind)))


def absent(kind: type) -> Any:
    """Return the default of a field that may be left out but not be null; what it is set to is never looked at."""
    return Field(default_factory=kind)


_MESSAGES = {
    "missing": "is required",
    "string_type": "must be a string",
    "int_type": "must be an integer",
    "int_parsing": "must be an integer",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "extra_forbidden": "is not known",
    "list_type": "must be an array",
}


def to_validation_failed(error: ValidationError) -> ValidationFailed:
    """Return pydantic's findings in our own error: each field by its name on the wire, each message with its limit.

    Of very many, the first ones: nobody reads 20,000, and who sends no key should not be answered a megabyte.
    """
    details: dict[str, list[str]] = {}
    for finding in error.errors(include_url=False, include_input=False)[:_MOST_NAMED]:
        name = ".".join(str(part) for part in finding["loc"]) or "body"
        details.setdefault(name, []).append(message_of(finding))
    first = next(iter(details))
    others = len(details) - 1 + max(0, error.error_count() - _MOST_NAMED)
    more = f" (and {others} more)" if others else ""
    return ValidationFailed(f"{first} {details[first][0]}{more}", details=details)


def message_of(finding: Mapping[str, Any]) -> str:
    """Return what pydantic found wrong with a field, as what the field must be."""
    context = finding.get("ctx", {})
    match finding["type"]:
        case "string_too_short" | "string_too_long" as kind:
            bound = f"at least {context['min_length']}" if kind == "string_too_short" else f"at most {context['max_length']}"
            return f"must have {bound} character{'' if bound.endswith(' 1') else 's'}"
        case "too_short" | "too_long" as kind:
            bound = f"at least {context['min_length']}" if kind == "too_short" else f"at most {context['max_length']}"
            return f"must have {bound} item{'' if bound.endswith(' 1') else 's'}"
        case "greater_than":
            return f"must be greater than {context['gt']}"
        case "greater_than_equal":
            return f"must be at least {context['ge']}"
        case "less_than_equal":
            return f"must be at most {context['le']}"
        case "literal_error":
            return f"must be {context['expected']}"
        case "string_pattern_mismatch":
            return "is not of the form that this field has; the API documentation shows it"
        case "value_error":
            return str(finding["msg"]).removeprefix("Value error, ")
        case kind:
            return _MESSAGES.get(kind, str(finding["msg"]))
