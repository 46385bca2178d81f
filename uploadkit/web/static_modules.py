"""`/uploadkit.js` and `/uploadkit-uppy.js`: our ES modules, for pages of any origin. docs/clients.md says what they do."""

from __future__ import annotations

from flask import Blueprint, Response, current_app, send_from_directory

modules = Blueprint("modules", __name__)

# An upgraded appliance reaches pages within so long; asking whether there is a new one costs no bytes (ETag).
_MAX_AGE_SECONDS = 600


@modules.get("/uploadkit.js", defaults={"name": "uploadkit.js"})
@modules.get("/uploadkit-uppy.js", defaults={"name": "uploadkit-uppy.js"})
def serve_module(name: str) -> Response:
    """Answer a module as browsers import it, also into pages that are isolated from other origins (COEP)."""
    assert current_app.static_folder is not None
    answer = send_from_directory(current_app.static_folder, name, mimetype="text/javascript", max_age=_MAX_AGE_SECONDS)
    answer.headers["Cache-Control"] = f"public, max-age={_MAX_AGE_SECONDS}"
    answer.headers["Access-Control-Allow-Origin"] = "*"
    answer.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    return answer
