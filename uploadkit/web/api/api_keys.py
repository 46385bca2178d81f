"""`/projects/{id}/keys` and `/keys/{id}`: list, make and revoke API keys."""

from __future__ import annotations

from flask import Response, g

from uploadkit.auth import api_keys
from uploadkit.core.errors import Conflict, NotFound, TierLimitExceeded
from uploadkit.schemas.api_keys import KeyBody, KeyListQuery, KeyObject, KeyPage, KeyPath, NewKeyObject
from uploadkit.schemas.base import REVOKED, Revoked
from uploadkit.schemas.projects import ProjectPath
from uploadkit.web.api.blueprint import api
from uploadkit.web.openapi import answers
from uploadkit.web.requests import context, json_answer


@api.get("/projects/<projectId>/keys", **answers(KeyPage, NotFound))
def list_keys(path: ProjectPath, query: KeyListQuery) -> Response:
    """List a project's API keys, masked, newest first: those that are no stronger than the one that asks."""
    page = api_keys.list_keys(g.caller, path.project_id, query.limit, query.cursor, revoked=query.revoked)
    return json_answer(KeyPage.of(page, KeyObject.model_validate))


@api.post("/projects/<projectId>/keys", **answers(NewKeyObject, NotFound, TierLimitExceeded, status=201, body=True))
def create_key(path: ProjectPath, body: KeyBody) -> Response:
    """Make an API key. Its plaintext is in this answer and nowhere else, ever again."""
    issued = api_keys.issue_key(context().config, g.caller, path.project_id, body.name, environment=body.environment, access=body.access)
    return json_answer(NewKeyObject.of(issued), 201)


@api.delete("/keys/<keyId>", **answers(Revoked, NotFound, Conflict))
def revoke_key(path: KeyPath) -> Response:
    """Revoke an API key: the very next request with it is refused."""
    api_keys.revoke_key(g.caller, path.key_id)
    return json_answer(REVOKED)
