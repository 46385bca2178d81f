"""`/upload-tokens`: make and revoke permissions for browsers."""

from __future__ import annotations

from flask import Response, g

from uploadkit.core.errors import NotFound
from uploadkit.files import upload_tokens
from uploadkit.schemas.base import REVOKED, Revoked
from uploadkit.schemas.upload_tokens import UploadTokenBody, UploadTokenObject, UploadTokenPath
from uploadkit.web.api.blueprint import api
from uploadkit.web.openapi import answers
from uploadkit.web.requests import context, json_answer


@api.post("/upload-tokens", **answers(UploadTokenObject, NotFound, status=201, body=True))
def create_upload_token(body: UploadTokenBody) -> Response:
    """Make an upload token. It is in this answer and nowhere else, ever again."""
    issued = upload_tokens.issue_token(
        context().config,
        g.caller,
        body.to_slugs(),
        body.metadata,
        max_files=body.max_files,
        max_bytes=body.max_bytes,
        expires_seconds=body.expires_in,
    )
    return json_answer(UploadTokenObject.of(issued, context().config.server.base_url), 201)


@api.delete("/upload-tokens/<uploadTokenId>", **answers(Revoked, NotFound))
def revoke_upload_token(path: UploadTokenPath) -> Response:
    """Revoke an upload token: the very next request with it is refused."""
    upload_tokens.revoke_token(g.caller, path.upload_token_id)
    return json_answer(REVOKED)
