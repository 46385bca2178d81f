"""`/f/{key}`: where a file's URL leads. Redirects to the store; the bytes never pass through here (storage.md section 4)."""

from __future__ import annotations

from flask import Blueprint, Response, request

from uploadkit import files
from uploadkit.web import context

links = Blueprint("links", __name__)


@links.get("/f/<path:key>")
def read_file(key: str) -> Response:
    """Redirect to a presigned URL of the file."""
    ctx = context()
    url = files.read_url(ctx, key, "HEAD" if request.method == "HEAD" else "GET")
    answer = Response(status=302, headers={"Location": url}, mimetype="text/plain")
    # The redirect must not outlive the signature it carries, nor a deletion by much.
    answer.headers["Cache-Control"] = f"public, max-age={min(300, ctx.config.storage.presign_expires_seconds // 2)}"
    answer.headers["Access-Control-Allow-Origin"] = "*"
    return answer
