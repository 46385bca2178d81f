"""The JSDoc types of our modules, held against the code by TypeScript's own compiler."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from tests.browser.packages import npm_packages, run
from tests.browser.scaled import module
from tests.support.appliance import ROOT

__all__ = ["npm_packages"]


def test_the_types_are_right(npm_packages: Path) -> None:
    run("tsc", "--project", ".")


def test_the_types_are_right_in_what_pages_get(npm_packages: Path, tmp_path: Path) -> None:
    (tmp_path / "uploadkit.js").write_text(module())
    shutil.copy(ROOT / "static" / "uploadkit-uppy.js", tmp_path)
    settings = json.loads((npm_packages / "tsconfig.json").read_text()) | {"files": ["uploadkit.js", "uploadkit-uppy.js"]}
    (tmp_path / "tsconfig.json").write_text(json.dumps(settings))
    run("tsc", "--project", str(tmp_path))
