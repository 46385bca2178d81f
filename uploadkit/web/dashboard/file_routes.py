"""File routes: the rules for uploads of one kind, and ready code that uploads by them."""

from __future__ import annotations

from typing import Any, get_origin

from flask import g, redirect, render_template, request, url_for
from pydantic.fields import FieldInfo
from werkzeug.wrappers import Response

from uploadkit.core.errors import DuplicateSlug, UploadKitError
from uploadkit.db.models import FileRoute
from uploadkit.projects import file_routes
from uploadkit.schemas.base import takes_numbers
from uploadkit.schemas.file_routes import FileRouteBody, FileRouteChangesBody
from uploadkit.web.dashboard import filters, forms
from uploadkit.web.dashboard.files import KNOWN_TYPES, TYPE_PATTERN
from uploadkit.web.dashboard.guard import administrator, project
from uploadkit.web.dashboard.notices import leave_notice
from uploadkit.web.requests import context
from uploadkit.webhooks.payload import PUBLIC_EVENTS

_EVENTS = tuple(PUBLIC_EVENTS.values())
# The form has what the schema has, each in the way of its type; these are the exceptions.
_FIELDS = FileRouteBody.model_fields
_TICKED = {"webhook_events"}
_SEPARATORS = {"allowed_origins": "\n"}
_WORDS = {
    "max_file_size": "must be a size such as 4MB; empty for the tier's",
    "max_file_count": "must be a whole number from 1 to 1000",
}


@project.get("/file-routes")
def list_file_routes() -> tuple[str, int]:
    """List the project's file routes."""
    found = forms.listed(lambda cursor: file_routes.list_file_routes(administrator(), g.project.id, forms.MOST_ON_A_PAGE, cursor))
    return render_template("dashboard/file_routes.html", page=found.page, refused=found.refused), found.status


@project.get("/file-routes/new")
def new_file_route() -> str:
    """Show an empty form."""
    return _form(None, file_routes.blank(), None)


@project.post("/file-routes/new")
def create_file_route() -> Response | tuple[str, int]:
    """Make a file route."""
    try:
        body = forms.validated(FileRouteBody, _given(), _WORDS)
        made = file_routes.create_file_route(context().config, administrator(), g.project.id, body.to_columns())
    except UploadKitError as failure:
        return _form(None, file_routes.blank(), failure), failure.status
    leave_notice(f"Created the file route {made.slug}.")
    return redirect(url_for(".show_file_route", route_id=made.id))


@project.get("/file-routes/<route_id>")
def show_file_route(route_id: str) -> str:
    """Show a file route's rules in a form, and code for it."""
    route = file_routes.find_by_id(administrator(), route_id)
    return _form(route, route, None)


@project.post("/file-routes/<route_id>")
def change_file_route(route_id: str) -> Response | tuple[str, int]:
    """Change a file route."""
    try:
        body = forms.validated(FileRouteChangesBody, _given(), _WORDS)
        changed = file_routes.update_file_route(context().config, administrator(), route_id, body.to_columns())
    except UploadKitError as failure:
        route = file_routes.find_by_id(administrator(), route_id)
        return _form(route, route, failure), failure.status
    leave_notice(f"Saved the file route {changed.slug}. It applies to uploads from now on.")
    return redirect(url_for(".show_file_route", route_id=route_id))


@project.post("/file-routes/<route_id>/delete")
def delete_file_route(route_id: str) -> Response:
    """Delete a file route; its files stay."""
    slug = file_routes.find_by_id(administrator(), route_id).slug
    file_routes.delete_file_route(administrator(), route_id)
    leave_notice(f"Deleted the file route {slug}. Its files are still there.")
    return redirect(url_for(".list_file_routes"))


def _form(route: FileRoute | None, values: FileRoute, failure: UploadKitError | None) -> str:
    if isinstance(failure, DuplicateSlug):
        failure = DuplicateSlug(failure.message, details={"slug": ["is that of another file route of this project: choose another one"]})
    return render_template(
        "dashboard/file_route.html",
        route=route,
        fields=_sent() if failure else _kept(values),
        failure=failure,
        events=_EVENTS,
        known_types=KNOWN_TYPES,
        type_pattern=TYPE_PATTERN,
        base_url=context().config.server.base_url,
        short_address=route is not None and file_routes.has_short_address(route),
        first_project=g.project.id == file_routes.first_project_id(),
    )


def _kept(route: FileRoute) -> dict[str, Any]:
    """What is in the row, as the form's fields have it."""
    in_row = {name: getattr(route, name) for name in _FIELDS if name != "max_file_size"}
    joined = {name: _SEPARATORS.get(name, " ").join(in_row[name]) for name in _FIELDS if _is_list(name)}
    empty = {name: "" for name, value in in_row.items() if value is None}
    return in_row | joined | empty | {"max_file_size": filters.size_field(route.max_file_size_bytes)}


def _sent() -> dict[str, Any]:
    """What was typed, so that nobody has to type it again."""
    form = request.form
    ticked = {name: form.getlist(name) for name in _TICKED}
    return form.to_dict() | ticked | {name: name in form for name, field in _FIELDS.items() if field.annotation is bool}


def _given() -> dict[str, Any]:
    """What was typed, as the schema takes it."""
    return {name: _value_of(name, field) for name, field in _FIELDS.items()}


def _value_of(name: str, field: FieldInfo) -> Any:
    if field.annotation is bool:
        return name in request.form
    if name in _TICKED:
        return request.form.getlist(name)
    if _is_list(name):
        return forms.lines(name) or field.get_default()
    if takes_numbers(field.annotation):
        number = forms.number(name)
        return field.default if number is None else number
    return forms.text(name) or (None if field.default is None else "")


def _is_list(name: str) -> bool:
    return get_origin(_FIELDS[name].annotation) is list and name not in _TICKED
