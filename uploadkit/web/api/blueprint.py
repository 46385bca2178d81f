"""The blueprint that the endpoints of `/api/v1` share: every call on it has a caller."""

from __future__ import annotations

from flask import request
from flask_openapi3.blueprint import APIBlueprint

from uploadkit import files
from uploadkit.models import File
from uploadkit.web import auth, context

api = APIBlueprint("api", __name__, url_prefix="/api/v1")


@api.before_request
def _authenticate() -> None:
    auth.authenticate(request, context().config.server)


def url_of(file: File) -> str:
    """Return the lasting URL of a file, for the answers that show one."""
    return files.public_url(context(), file)
