"""How the browser module is made one file of its source."""

from __future__ import annotations

import re
from pathlib import Path

from uploadkit.core import packaged_files
from uploadkit.web.static_modules import joined

FACE = packaged_files.STATIC / "uploadkit.js"
FACE_OF_THREE = """/**
 * What it is.
 */

import { a } from "./parts/a.js";
import { b, c } from "./parts/b.js";

export { c };
export const d = a + b;
"""


def test_each_module_stands_once_before_what_imports_it(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "face.js").write_text(FACE_OF_THREE)
    (tmp_path / "parts/a.js").write_text('/** @import { T } from "../face.js" */\nimport { b } from "./b.js";\n\nexport const a = b;\n')
    (tmp_path / "parts/b.js").write_text("export const b = 1;\nexport async function c() {}\nconst own = 2;\n")
    lines = [line for line in joined(tmp_path / "face.js").splitlines() if line]
    assert lines == [
        "/**",
        " * What it is.",
        " */",
        "// --- parts/b.js",
        "const b = 1;",
        "async function c() {}",
        "const own = 2;",
        "// --- parts/a.js",
        "const a = b;",
        "// --- face.js",
        "export { c };",
        "export const d = a + b;",
    ]


def test_ours_has_all_modules_and_the_exports_of_its_face() -> None:
    text = joined(FACE)
    assert set(re.findall(r"(?m)^// --- (\S+)$", text)) == {
        "uploadkit.js",
        *(f"uploadkit/{path.name}" for path in (packaged_files.STATIC / "uploadkit").iterdir()),
    }
    assert re.findall(r"(?m)^export (?:\{ (\w+) \};|function (\w+))", text) == [("UploadError", ""), ("", "createUploader")]
    assert text.count("\nexport") == 2
    assert not re.search(r"(?m)^\s*import\b|@import\b|\bfrom \"\./|import\(", text.split("*/", 1)[1])


def test_no_two_modules_have_the_same_name_at_their_top() -> None:
    names = re.findall(r"(?m)^(?:export )?(?:async )?(?:function|class|const|let|var) (\w+)", joined(FACE))
    assert len(names) > 50
    assert sorted(names) == sorted(set(names))


def test_what_looks_like_code_in_a_page_of_ours_is_not_changed() -> None:
    sources = "".join(path.read_text() for path in [FACE, *sorted((packaged_files.STATIC / "uploadkit").iterdir())])
    code = re.sub(r"(?m)^(import .*|/\*\* @import .*)\n", "", sources).replace("export ", "")
    lines = sorted(line for line in code.splitlines() if line.strip())
    assert lines == sorted(
        line for line in joined(FACE).replace("export ", "").splitlines() if line.strip() and not line.startswith("// --- ")
    )


def test_the_plugin_needs_no_more_than_the_public_names() -> None:
    """Pages keep each file for ten minutes: after an upgrade an old one has to fit a new one."""
    imports = re.findall(r"(?m)^import .*", (packaged_files.STATIC / "uploadkit-uppy.js").read_text())
    assert imports == ['import { createUploader, UploadError } from "./uploadkit.js";']
