"""`/projects/{id}/keys` and `/keys/{id}`: list, make and revoke API keys."""

from __future__ import annotations

from flask import Response, g

from uploadkit.auth import api_keys
from uploadkit.core.errors import Conflict, NotFound, TierLimitExceeded
from uploadkit.schemas import file_routes as schemas_admin
from uploadkit.schemas import projects as shapes_admin
from uploadkit.schemas import uploads as documented
from uploadkit.web.api.blueprint import api
from uploadkit.web.openapi import answers
from uploadkit.web.requests import context, json_answer


@api.get("/projects/<projectId>/keys", **answers(shapes_admin.KeyPage, NotFound))
def list_keys(path: schemas_admin.ProjectPath, query: schemas_admin.KeyListQuery) -> Response:
    """List a project's API keys, masked, newest first: those that are no stronger than the one that asks."""
    page = api_keys.list_keys(g.caller, path.project_id, query.limit, query.cursor, revoked=query.revoked)
    return json_answer(documented.page_of(page, documented.api_key))


@api.post("/projects/<projectId>/keys", **answers(shapes_admin.NewKeyObject, NotFound, TierLimitExceeded, status=201, body=True))
def create_key(path: schemas_admin.ProjectPath, body: schemas_admin.KeyBody) -> Response:
    """Make an API key. Its plaintext is in this answer and nowhere else, ever again."""
    issued = api_keys.issue_key(context().config, g.caller, path.project_id, body.name, environment=body.environment, access=body.access)
    return json_answer(documented.issued_key(issued), 201)


@api.delete("/keys/<keyId>", **answers(shapes_admin.Revoked, NotFound, Conflict))
def revoke_key(path: schemas_admin.KeyPath) -> Response:
    """Revoke an API key: the very next request with it is refused."""
    api_keys.revoke_key(g.caller, path.key_id)
    return json_answer({"revoked": True})
