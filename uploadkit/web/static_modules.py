"""`/uploadkit.js` and `/uploadkit-uppy.js`: our ES modules, for pages of any origin. docs/clients.md says what they do.

The source of `uploadkit.js` is a face, `static/uploadkit.js`, and its modules in `static/uploadkit/`. Pages get them as one file: one
request, nothing that could be of another version, and a file to copy (docs/decisions/0046-one-file-of-many-modules.md).
"""

from __future__ import annotations

import hashlib
import re
from functools import cache
from pathlib import Path

from flask import Blueprint, Response, request

from uploadkit.core import packaged_files

modules = Blueprint("modules", __name__)

# An upgraded appliance reaches pages within so long; asking whether there is a new one costs no bytes (ETag).
_MAX_AGE_SECONDS = 600
_IMPORT = re.compile(r'^import \{ [\w, ]+ \} from "(\./[\w/-]+\.js)";\n', re.MULTILINE)
_IMPORTED_TYPES = re.compile(r"^/\*\* @import .* \*/\n", re.MULTILINE)
_EXPORT = re.compile(r"^export (?=async function |function |class |const )", re.MULTILINE)


@modules.get("/uploadkit.js")
def serve_module() -> Response:
    """Answer the module, all of it in one file."""
    return _answer(*_joined())


@modules.get("/uploadkit-uppy.js")
def serve_uppy_plugin() -> Response:
    """Answer the plugin for Uppy, which imports `/uploadkit.js`."""
    return _answer(*_plugin())


def joined(face: Path) -> str:
    """Return a module and all that it imports as one module with its exports.

    The imported ones stand before what imports them, each once, under a line that names its file. They may import by
    `import { a, b } from "./file.js";`, in one line, and no two may have the same name at their top level.
    """
    face = face.resolve()
    comment, code = face.read_text().split("*/\n", 1)
    parts: dict[Path, str] = {}
    _add_imported(face.parent, code, parts)
    texts = (f"// --- {path.relative_to(face.parent)}\n{text}" for path, text in parts.items())
    return f"{comment}*/\n\n{''.join(texts)}// --- {face.name}\n{_without_imports(code)}"


def _add_imported(folder: Path, code: str, parts: dict[Path, str]) -> None:
    for found in _IMPORT.finditer(code):
        path = (folder / found[1]).resolve()
        if path not in parts:
            text = path.read_text()
            _add_imported(path.parent, text, parts)
            parts[path] = _EXPORT.sub("", _without_imports(text)) + "\n"


def _without_imports(code: str) -> str:
    return _IMPORTED_TYPES.sub("", _IMPORT.sub("", code))


@cache
def _joined() -> tuple[bytes, str]:
    return _with_tag(joined(packaged_files.STATIC / "uploadkit.js").encode())


@cache
def _plugin() -> tuple[bytes, str]:
    return _with_tag((packaged_files.STATIC / "uploadkit-uppy.js").read_bytes())


def _with_tag(content: bytes) -> tuple[bytes, str]:
    return content, hashlib.sha256(content).hexdigest()[:32]


def _answer(content: bytes, tag: str) -> Response:
    """Answer a module as browsers import it, also into pages that are isolated from other origins (COEP)."""
    answer = Response(content, mimetype="text/javascript")
    answer.set_etag(tag)
    answer.headers["Cache-Control"] = f"public, max-age={_MAX_AGE_SECONDS}"
    answer.headers["Access-Control-Allow-Origin"] = "*"
    answer.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    answer.make_conditional(request)
    return answer
