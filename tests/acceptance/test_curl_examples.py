"""README's first upload and those of docs/api.md, run as they stand, with names that people have; and with a wrong key."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.appliance import JPEG, ROOT, Appliance

NAMES = (
    "photo.jpg",
    "photo[1].jpg",
    "scan [draft].jpg",
    "a{b}.jpg",
    "a[1-3].jpg",
    'He said "hi".jpg',
    "back\\slash.jpg",
    "a\\u0041.jpg",
    "it's $HOME `date`; 100%.jpg",
    "Größe 日本 🎉.jpg",
)

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        shutil.which("curl") is None or shutil.which("python3") is None, reason="no curl or no python3 program: there is nothing to run"
    ),
]


def blocks(path: str) -> list[str]:
    """The shell blocks of a document."""
    return re.findall(r"^```(?:sh|bash)\n(.*?)^```", (ROOT / path).read_text(), re.DOTALL | re.MULTILINE)


def block(path: str, begins: str) -> str:
    return next(found for found in blocks(path) if begins in found)


def run(folder: Path, appliance: Appliance, script: str, name: str, key: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a script as a person would paste it, in a folder of their own, about the file `name`."""
    script = script.replace("http://127.0.0.1:8080", appliance.base)
    script = re.sub(r"^FILE=.*$", lambda _: f"FILE={shlex.quote(name)}", script, flags=re.MULTILINE)
    environment = appliance.environment | {"UPLOADKIT_API_KEY": key or appliance.key, "LC_ALL": "C.UTF-8"}
    shell = shutil.which("bash") if "<(" in script else "/bin/sh"
    assert shell
    return subprocess.run([shell, "-c", script], cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


README = ("README.md", ("FILE=photo.jpg",))
SINGLE = ("docs/api.md", ("API=http", "SLOT=$(call", 'curl -gsS --fail-with-body -T "$FILE"', "DONE=$(call"))


def script_of(example: tuple[str, tuple[str, ...]]) -> str:
    path, begins = example
    return "".join(block(path, text) for text in begins)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("example", [README, SINGLE], ids=["README", "api.md"])
def test_the_first_upload(appliance: Appliance, tmp_path: Path, example: tuple[str, tuple[str, ...]], name: str) -> None:
    content = JPEG + name.encode()
    (tmp_path / name).write_bytes(content)
    for other in ("ab.jpg", "a1.jpg", "a2.jpg", "a3.jpg"):  # what curl would take instead
        (tmp_path / other).write_bytes(b"another")
    ran = run(tmp_path, appliance, script_of(example) + ('printf %s "$DONE"' if example == SINGLE else ""), name)
    assert (ran.returncode, ran.stderr) == (0, "")
    file = json.loads(ran.stdout)
    assert (file["fileName"], file["status"]) == (name, "UPLOADED")
    assert appliance.read(file["url"]).body == content


@pytest.mark.parametrize("name", ["photo.jpg", 'a[1] "{b}".jpg'])
def test_a_browser_by_curl(appliance: Appliance, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(JPEG + b"of a page")
    ran = run(tmp_path, appliance, block("docs/api.md", "API=http") + block("docs/api.md", "ENDPOINT=$("), name)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert json.dumps(name)[1:-1] in ran.stdout
    assert '"revoked":true' in ran.stdout.replace(" ", "")


def test_in_parts_by_curl(appliance: Appliance, tmp_path: Path) -> None:
    if shutil.which("bash") is None:
        pytest.skip("no bash program")
    name = 'holiday {2026} [1] "x".mp4'
    content = bytes(range(256)) * 45_000
    (tmp_path / name).write_bytes(content)
    ran = run(tmp_path, appliance, block("docs/api.md", "API=http") + block("docs/api.md", "FILE=video.mp4"), name)
    assert (ran.returncode, ran.stderr) == (0, "")
    file = json.loads(ran.stdout)
    assert file["fileName"] == name
    assert appliance.read(file["url"]).body == content


@pytest.mark.parametrize("example", [README, SINGLE], ids=["README", "api.md"])
def test_a_wrong_key_is_told_loudly(appliance: Appliance, tmp_path: Path, example: tuple[str, tuple[str, ...]]) -> None:
    (tmp_path / "photo.jpg").write_bytes(JPEG)
    key = appliance.key[:-1] + ("x" if appliance.key[-1] != "x" else "y")
    ran = run(tmp_path, appliance, script_of(example), "photo.jpg", key)
    assert ran.returncode != 0
    assert "UNAUTHORIZED" in ran.stderr, "what the appliance says of it"
    assert "401" in ran.stderr
    assert key not in ran.stdout + ran.stderr
