"""camelCase is how names are written on the wire: it stands in `schemas/` and in the webhook's payload alone (CONTRIBUTING.md)."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import uploadkit

ROOT = Path(uploadkit.__file__).parent
OF_THE_WIRE = ("schemas/", "webhooks/payload.py", "client/")
A_CAMEL_CASE_WORD = re.compile(r"[a-z]+[a-z0-9]*(?:[A-Z][a-z0-9]*)+")
EXCEPTIONS = {
    "core/values.py": {"anyOf": "JSON Schema's"},
    "db/models/projects.py": {"onUploadComplete": "an event's name, as rows keep it"},
    "objectstore/bundled/engines.py": {"disableHttp": "SeaweedFS's"},
    "objectstore/bundled/identities.py": {"atMs": "in a file of the bundled store's own, which earlier versions wrote"},
    "objectstore/bundled/s3_gate.py": {"uploadId": "S3's", "partNumber": "S3's"},
    "objectstore/doctor/examination.py": {"uploadId": "S3's", "partNumber": "S3's"},
    "objectstore/factory.py": {"publicEndpoint": "in a file by which a command finds the running appliance, of whichever version"},
    "objectstore/store.py": {"uploadId": "S3's", "partNumber": "S3's"},
    "observability/logging.py": {"taskName": "Python's"},
    "projects/file_routes.py": {"webhookUrl": "an error names the field that is wrong as it was sent"},
    "web/api/blueprint.py": {"apiKey": "OpenAPI's"},
    "web/dashboard/filters.py": dict.fromkeys(("iPhone", "iPad", "iOS", "iPadOS", "macOS"), "a system's own name"),
    "web/openapi.py": dict.fromkeys(
        ("apiKey", "minLength", "maxLength", "requestBody", "anyOf", "oneOf", "allOf", "exclusiveMinimum"), "OpenAPI's"
    ),
}


def words_in(source: str) -> Iterator[str]:
    """Every text of a module that is one word in camelCase: a key of JSON, or what looks like one."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and A_CAMEL_CASE_WORD.fullmatch(node.value):
            yield node.value


def test_camel_case_stands_in_the_schemas_alone() -> None:
    found: dict[str, set[str]] = {}
    for path in sorted(ROOT.rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        if not name.startswith(OF_THE_WIRE):
            found[name] = set(words_in(path.read_text(encoding="utf-8")))
    assert {name: words for name, words in found.items() if words} == {name: set(words) for name, words in EXCEPTIONS.items()}


def test_what_would_be_found() -> None:
    source = 'answer = {"fileId": file.id, "size": 1}\nname = body["fileName"]\ndetail = f"{row} is not camelCase"\nhead = "x-api-key"'
    assert set(words_in(source)) == {"fileId", "fileName"}
