"""Templates, style sheets and scripts as a formatter would leave them: one element, one rule a line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
LONGEST = 140
PAGES = sorted([*(ROOT / "templates").rglob("*.html"), *(ROOT / "examples").rglob("*.html")])
SCRIPTS = sorted((ROOT / "static").rglob("*.js"))
STYLES = sorted([*(ROOT / "static").glob("*.css"), *(ROOT / "examples").rglob("src/*.css")])
# Elements that begin a line of their own. Others stand in running text.
_BLOCK = (
    "div|p|h[1-6]|form|section|main|header|nav|ul|ol|li|dl|dt|dd|table|thead|tbody|tr|th|td|details|fieldset|label|select|option|textarea"
)


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def lines_of(path: Path) -> list[str]:
    return path.read_text().splitlines()


@pytest.mark.parametrize("path", [*PAGES, *STYLES, *SCRIPTS], ids=name_of)
def test_no_line_is_longer_than_a_screen(path: Path) -> None:
    assert [line for line in lines_of(path) if len(line) > LONGEST and "data:image" not in line] == []


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_each_element_has_a_line(path: Path) -> None:
    pairs = re.compile(rf"</(?:{_BLOCK})>\s*<(?:{_BLOCK})\b|[^\s>]\s*<(?:{_BLOCK})\b")
    assert [line for line in lines_of(path) if pairs.search(line.replace("%}", "}"))] == []


@pytest.mark.parametrize("path", STYLES, ids=name_of)
def test_each_rule_has_a_line(path: Path) -> None:
    text = re.sub(r'(?s)/\*.*?\*/|url\("[^"]*"\)', "", path.read_text())
    assert [line for line in text.splitlines() if line.count(";") > 1 or re.search(r"[{}].*[{}]|[{}].*;", line)] == []


def test_there_is_something_to_look_at() -> None:
    assert len(PAGES) > 30
    assert len(STYLES) > 2
