"""File routes on the command line."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import reduce
from typing import Any, Literal, TypeVar, get_args, get_origin

import click
from pydantic import ValidationError
from pydantic.alias_generators import to_camel
from pydantic.fields import FieldInfo

from uploadkit.auth.callers import COMMAND_LINE
from uploadkit.cli.output import as_text, emit, json_option, open_installation, print_table, project_option
from uploadkit.cli.terminal import tell
from uploadkit.projects import file_routes
from uploadkit.projects import service as projects
from uploadkit.schemas.base import DELETED, takes_numbers, to_validation_failed
from uploadkit.schemas.file_routes import FileRouteBody, FileRouteChangesBody, FileRouteObject

Command = TypeVar("Command", bound=Callable[..., Any])


@click.group("routes")
def routes_commands() -> None:
    """Create, list, change and delete file routes, the rules for uploads of one kind."""


_FLAGS = {"allowed_types": "--type", "webhook_events": "--webhook-event", "allowed_origins": "--origin"}
_HELP = {
    "max_file_size": "Largest file, such as 4MB; as large as the tier allows by default.",
    "max_file_count": "Files that a browser may select at once; 1 by default.",
    "allowed_types": "An allowed type, such as 'image/*'; repeat it for more. All by default.",
    "visibility": "Public by default.",
    "webhook_url": "Where events go.",
    "webhook_events": "An event that goes there; repeat it. onUploadComplete by default.",
    "verify_content": "Hold first bytes against the type; on by default.",
    "anonymous_uploads": "Pages of --origin upload without a key; off by default.",
    "allowed_origins": "An origin for anonymous uploads; repeat it for more.",
}


def _rule_options(command: Command) -> Command:
    """The options that are fields of a file route."""
    fields = [(name, field) for name, field in FileRouteBody.model_fields.items() if name != "slug"]
    return reduce(lambda so_far, named: _option(*named)(so_far), reversed(fields), command)


def _number(text: str) -> int | str:
    """What may be a number; what is none, such as 4MB, the schema looks at."""
    return int(text) if re.fullmatch("[0-9]{1,16}", text) else text


def _option(name: str, field: FieldInfo) -> Callable[[Command], Command]:
    flag, kind = _FLAGS.get(name, f"--{name.replace('_', '-')}"), field.annotation
    how: dict[str, Any] = {"help": _HELP.get(name, field.description)}
    if kind is bool:
        flag, how["default"] = f"{flag}/--no-{flag.removeprefix('--')}", None
    elif get_origin(kind) is Literal:
        how["type"] = click.Choice(get_args(kind))
    elif kind is int:
        how["type"] = int
    elif get_origin(kind) is not list and takes_numbers(kind):
        how |= {"type": _number, "metavar": "TEXT"}
    how["multiple"] = get_origin(kind) is list
    return click.option(flag, name, **how)


def _rules(body: type[FileRouteBody], options: dict[str, Any]) -> dict[str, Any]:
    """Columns of a file route from options, read as the API's body is. Raises ValidationFailed."""
    given = {to_camel(name): _given(value) for name, value in options.items() if value not in (None, ())}
    try:
        return body.model_validate(given).to_columns()
    except ValidationError as error:
        raise to_validation_failed(error) from None


def _given(value: Any) -> Any:
    """What stands for a field: an empty text is none, and an empty one among several is none of them."""
    return [one for one in value if one] if isinstance(value, tuple) else None if value == "" else value


@routes_commands.command("create")
@click.argument("slug")
@project_option
@_rule_options
@json_option
@click.pass_context
def create_route(context: click.Context, /, slug: str, project: str | None, as_json: bool, **options: Any) -> None:
    """Create the file route SLUG."""
    loaded = open_installation(context)
    rules = _rules(FileRouteBody, {"slug": slug, **options})
    route = file_routes.create_file_route(loaded, COMMAND_LINE, projects.find_by_id_or_slug(project).id, rules)
    emit(FileRouteObject.of(route, loaded.server.base_url), f"Made file route {route.slug} ({route.id}).", as_json=as_json)


@routes_commands.command("update")
@click.argument("slug")
@project_option
@_rule_options
@json_option
@click.pass_context
def update_route(context: click.Context, /, slug: str, project: str | None, as_json: bool, **options: Any) -> None:
    """Change the file route SLUG for uploads from now on. What is not named stays; an empty value (--webhook-url "") takes one away."""
    loaded = open_installation(context)
    found = file_routes.find_file_route(projects.find_by_id_or_slug(project).id, slug)
    route = file_routes.update_file_route(loaded, COMMAND_LINE, found.id, _rules(FileRouteChangesBody, options))
    emit(FileRouteObject.of(route, loaded.server.base_url), f"Changed file route {route.slug}.", as_json=as_json)


@routes_commands.command("list")
@project_option
@json_option
@click.pass_context
def list_routes(context: click.Context, project: str | None, as_json: bool) -> None:
    """List a project's file routes, oldest first."""
    loaded = open_installation(context)
    found = file_routes.all_file_routes(projects.find_by_id_or_slug(project).id)
    if as_json:
        tell(as_text([FileRouteObject.of(route, loaded.server.base_url) for route in found]))
        return
    print_table(
        ("id", "slug", "largest file", "types", "visibility"),
        [(r.id, r.slug, str(r.max_file_size_bytes or "tier's"), " ".join(r.allowed_types), r.visibility) for r in found],
    )


@routes_commands.command("delete")
@click.argument("slug")
@project_option
@json_option
@click.pass_context
def delete_route(context: click.Context, slug: str, project: str | None, as_json: bool) -> None:
    """Delete the file route SLUG; its files stay."""
    open_installation(context)
    route = file_routes.find_file_route(projects.find_by_id_or_slug(project).id, slug)
    file_routes.delete_file_route(COMMAND_LINE, route.id)
    emit(DELETED, f"Deleted file route {slug}.", as_json=as_json)
