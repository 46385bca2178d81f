"""`/f/{key}`: where a file's URL leads. Redirects to the store; the bytes never pass through here."""

from __future__ import annotations

from flask import Blueprint, Response, request

from uploadkit.files.links import SignedLinkRequest, read_url
from uploadkit.web.requests import context
from uploadkit.web.surfaces import allowed_headers

links = Blueprint("links", __name__)


@links.get("/f/<path:key>", provide_automatic_options=False)
def read_file(key: str) -> Response:
    """Redirect to a presigned URL of the file."""
    ctx = context()
    signed = _signed_link()
    url = read_url(ctx, key, "HEAD" if request.method == "HEAD" else "GET", signed, for_script="Origin" in request.headers)
    answer = Response(status=302, headers={"Location": url}, mimetype="text/plain")
    # The redirect must not outlive the signature it carries, nor a deletion by much; one that a link has opened is nobody else's.
    lasting = f"public, max-age={min(300, ctx.config.storage.read_expires_seconds // 2)}"
    answer.headers["Cache-Control"] = lasting if signed is None else "private, no-store"
    return answer


@links.route("/f/<path:key>", methods=["OPTIONS"], provide_automatic_options=False)
def allow_to_read(key: str) -> Response:
    """Answer a preflight request, whatever is there: pages may read, and send what their tracing adds."""
    answer = Response(status=204)
    if asked := allowed_headers("", request.headers.get("Access-Control-Request-Headers", "")):
        answer.headers["Access-Control-Allow-Headers"] = asked
    answer.headers.update({"Access-Control-Allow-Methods": "GET, HEAD", "Access-Control-Max-Age": "86400"})
    return answer


@links.after_request
def _let_pages_read(answer: Response) -> Response:
    """Failures as well. Who sends an Origin is sent to another URL than who sends none, and caches have to know."""
    answer.headers["Access-Control-Allow-Origin"] = "*"
    answer.vary.add("Origin")
    return answer


def _signed_link() -> SignedLinkRequest | None:
    if "signature" not in request.args and "expires" not in request.args:
        return None
    given = request.args
    return SignedLinkRequest(given.get("expires", ""), given.get("signature", ""), download="download" in given)
