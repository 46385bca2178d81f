"""Promises about errors: each code is documented, is produced by a test, and says what to do where a developer can act."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.support.appliance import ROOT
from tests.support.error_codes import CODES, kinds
from uploadkit.core import errors

# What happened says it all: there is no other call that would help.
SELF_EXPLANATORY = {"METHOD_NOT_ALLOWED"}


def test_codes_and_statuses_are_one_to_one() -> None:
    assert len(CODES) == len([kind for kind in kinds() if kind.__module__ == errors.__name__])
    for code, kind in CODES.items():
        assert re.fullmatch(r"[A-Z]+(_[A-Z]+)*", code)
        assert 400 <= kind.status < 600
        assert kind.__doc__, code


@pytest.mark.parametrize("code", sorted(CODES))
def test_each_code_is_documented_with_its_status(code: str) -> None:
    assert f"| `{code}` | {CODES[code].status} |" in (ROOT / "docs" / "api.md").read_text()


def test_the_documentation_knows_no_other_codes() -> None:
    assert set(re.findall(r"^\| `([A-Z_]+)` \| \d{3} \|", (ROOT / "docs" / "api.md").read_text(), re.MULTILINE)) == set(CODES)


@pytest.mark.parametrize("code", sorted(CODES))
def test_each_code_is_produced_by_a_test(code: str) -> None:
    tests = [path for path in (ROOT / "tests").rglob("test_*.py") if path != Path(__file__).resolve()]
    assert [path.name for path in tests if f'"{code}"' in path.read_text()], code


@pytest.mark.parametrize("code", sorted(CODES))
def test_each_code_says_what_to_do(code: str) -> None:
    """Either always, or wherever it is raised in the product."""
    kind = CODES[code]
    if kind.default_suggestion or code in SELF_EXPLANATORY:
        return
    constructed = [
        node
        for path in (ROOT / "uploadkit").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == kind.__name__
    ]
    assert any(len(node.args) > 1 or any(k.arg == "suggestion" for k in node.keywords) for node in constructed), code
