"""`/f/{key}`: where a file's URL leads. Redirects to the store; the bytes never pass through here (storage.md section 4)."""

from __future__ import annotations

from flask import Blueprint, Response, request

from uploadkit.links import Claim, read_url
from uploadkit.web import context

links = Blueprint("links", __name__)


@links.get("/f/<path:key>")
def read_file(key: str) -> Response:
    """Redirect to a presigned URL of the file."""
    ctx = context()
    claim = _presented_claim()
    url = read_url(ctx, key, "HEAD" if request.method == "HEAD" else "GET", claim)
    answer = Response(status=302, headers={"Location": url}, mimetype="text/plain")
    # The redirect must not outlive the signature it carries, nor a deletion by much; one that a link has opened is nobody else's.
    lasting = f"public, max-age={min(300, ctx.config.storage.presign_expires_seconds // 2)}"
    answer.headers["Cache-Control"] = lasting if claim is None else "private, no-store"
    answer.headers["Access-Control-Allow-Origin"] = "*"
    return answer


def _presented_claim() -> Claim | None:
    if "signature" not in request.args and "expires" not in request.args:
        return None
    given = request.args
    return Claim(given.get("expires", ""), given.get("signature", ""), download="download" in given)
