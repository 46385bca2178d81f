"""The JSDoc types of our modules, held against the code by TypeScript's own compiler."""

from __future__ import annotations

from pathlib import Path

from tests.browser.packages import npm_packages, run

__all__ = ["npm_packages"]


def test_the_types_are_right(npm_packages: Path) -> None:
    run("tsc", "--project", ".")
