"""Options of `routes create` and `routes update` come from the schema of a file route."""

from __future__ import annotations

import click
import pytest

from uploadkit.cli.file_routes import create_route, update_route
from uploadkit.schemas.file_routes import FileRouteBody


@pytest.mark.parametrize("command", [create_route, update_route])
def test_every_field_has_an_option_with_words(command: click.Command) -> None:
    options = {option.name: option for option in command.params if isinstance(option, click.Option)}
    assert options.keys() - {"project", "as_json"} == FileRouteBody.model_fields.keys() - {"slug"}
    assert all(option.help for option in options.values())
    assert {name for name, option in options.items() if option.multiple} == {"allowed_types", "webhook_events", "allowed_origins"}
    assert options["allowed_types"].opts == ["--type"]
    assert options["verify_content"].secondary_opts == ["--no-verify-content"]


@pytest.mark.parametrize(("typed", "value"), [("4MB", "4MB"), ("4096", 4096), ("", ""), ("9" * 17, "9" * 17), ("-1", "-1")])
def test_a_size_is_a_number_or_text(typed: str, value: int | str) -> None:
    with create_route.make_context("create", ["avatars", "--max-file-size", typed]) as context:
        assert context.params["max_file_size"] == value


def test_what_is_not_named_is_not_there() -> None:
    with update_route.make_context("update", ["avatars"]) as context:
        assert {value for name, value in context.params.items() if name in FileRouteBody.model_fields and name != "slug"} == {None, ()}
