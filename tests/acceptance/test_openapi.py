"""The OpenAPI document is the truth: the server keeps to it, and the copy in docs/ is the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.appliance import ROOT, Appliance, running

pytestmark = pytest.mark.long

SURFACES = {"/api/v1": ROOT / "docs" / "openapi.json", "/sdk/api/v1": ROOT / "docs" / "openapi-sdk.json"}
CREDENTIALS = {"/api/v1": "x-api-key: ", "/sdk/api/v1": "Authorization: Bearer "}


@pytest.fixture(scope="module")
def open_appliance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    """An appliance without limits, which schemathesis may leave in any state."""
    limits = ("REQUESTS_PER_MINUTE", "MAX_KEYS", "MAX_FILE_SIZE", "MAX_STORAGE", "MAX_UPLOADS_PER_MONTH")
    settings = {f"TIERS__PRO__{limit}": "" for limit in limits}
    with running(tmp_path_factory.mktemp("openapi"), **settings) as appliance:
        yield appliance


@pytest.fixture(scope="module", params=SURFACES)
def surface(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def document(open_appliance: Appliance, surface: str) -> dict[str, Any]:
    answer = open_appliance.fetch("GET", f"{open_appliance.base}{surface}/openapi.json")
    assert answer.status == 200
    return dict(answer.json)


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def test_the_copy_in_docs_is_the_servers_document(surface: str, document: dict[str, Any]) -> None:
    """`make openapi` writes the copies anew. To the byte: who reads a change of the API reads what changed, and not another order."""
    copy, text = SURFACES[surface], json.dumps(document, indent=1, ensure_ascii=False) + "\n"
    if os.environ.get("UPDATE_OPENAPI"):
        copy.write_text(text, encoding="utf-8")
    kept = copy.read_text(encoding="utf-8")
    assert json.loads(kept) == document
    assert kept == text, "the order differs"


def test_every_operation_is_described(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    ids = [operation["operationId"] for _, operation in operations(document)]
    assert len(ids) == len(set(ids))
    for name, operation in operations(document):
        assert operation["summary"], name
        assert operation["security"], name
        assert {"400", "401", "403", "429", "500"} <= operation["responses"].keys(), name
        assert [status for status in operation["responses"] if status.startswith("2")], name
        for place in (operation.get("requestBody"), *operation["responses"].values()):
            for content in (place or {}).get("content", {}).values():
                assert content.keys() & {"example", "examples"}, name


def test_the_document_and_the_page_need_nothing_from_elsewhere(open_appliance: Appliance) -> None:
    page = open_appliance.fetch("GET", f"{open_appliance.base}/docs")
    assert page.status == 200
    assert b"://" not in page.body
    for asset in ("css/swagger-ui.css", "js/swagger-ui-bundle.js"):
        assert open_appliance.fetch("GET", f"{open_appliance.base}/docs/assets/{asset}").status == 200
    assert open_appliance.fetch("GET", f"{open_appliance.base}/docs/assets/../plugins.py").status == 404


@pytest.mark.timeout(900)  # some two minutes alone; the machine may be busy with much else
def test_the_server_keeps_to_its_document(open_appliance: Appliance, surface: str, tmp_path: Path) -> None:
    """schemathesis, all checks; `FUZZ_EXAMPLES` (make fuzz) for more than the bounded run of the suite."""
    examples = os.environ.get("FUZZ_EXAMPLES", "15")
    command = [
        str(Path(sys.executable).with_name("schemathesis")),
        "--config-file",
        str(ROOT / "schemathesis.toml"),
        "run",
        f"{open_appliance.base}{surface}/openapi.json",
        "-H",
        f"{CREDENTIALS[surface]}{open_appliance.key}",
        "--checks=all",
        # A key may hold slashes: PATCH /files/by-id/x is PATCH /files/{key} for the key "by-id/x", so 404, not 405 (test_http.py has 405).
        "--exclude-checks=unsupported_method",
        f"--max-examples={examples}",
        "--generation-deterministic",
        "--no-color",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    (tmp_path / "schemathesis.txt").write_text(done.stdout)
    assert done.returncode == 0, done.stdout[-60_000:] + done.stderr[-2_000:]
    assert "Traceback" not in open_appliance.log()
