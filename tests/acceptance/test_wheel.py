"""The wheel alone, in an environment of its own and a folder of its own, is the whole appliance."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.appliance import JPEG, ROOT, Appliance, started

# As a fresh clone has it: nothing that a build or a test left.
_SOURCES = ("uploadkit", "templates", "static", "app.py", "config.toml", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of the sources."""
    sources, built = tmp_path_factory.mktemp("sources"), tmp_path_factory.mktemp("built")
    for name in _SOURCES:
        path = ROOT / name
        if path.is_dir():
            shutil.copytree(path, sources / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(path, sources)
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        str(built),
        str(sources),
    ]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    (found,) = built.glob("uploadkit-*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    """The appliance as `pip install` gives it, in an empty folder."""
    environment = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    of_it = Path(sysconfig.get_path("purelib", vars={"base": str(environment)}))
    # What it depends on is what these tests run with; a .pth file of that folder, such as an editable install's, is not read.
    (of_it / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip = [sys.executable, "-m", "pip", "--python", str(environment), "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--no-deps", "--no-index", "--ignore-installed", str(wheel)], check=True)
    appliance = Appliance(tmp_path_factory.mktemp("home"))
    appliance.program = [str(environment / "bin/uploadkit")]
    del appliance.environment["UPLOADKIT_DATA__DIR"]
    with started(appliance):
        yield appliance


def test_the_wheel_holds_what_the_checkout_holds(wheel: Path) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    shipped = {f"{folder}/{path.relative_to(ROOT / folder)}" for folder in ("templates", "static") for path in (ROOT / folder).rglob("*.*")}
    assert {f"uploadkit/_shipped/{name}" for name in shipped} <= inside
    assert "uploadkit/_shipped/config.toml" in inside
    code = {str(path.relative_to(ROOT)) for path in (ROOT / "uploadkit").rglob("*") if path.suffix in (".py", ".sql")}
    assert code == {name for name in inside if name.endswith((".py", ".sql"))}


def test_it_needs_nothing_that_its_lock_lacks() -> None:
    locked = {name.lower().replace("_", "-") for name in re.findall(r"(?m)^([\w.-]+)==", (ROOT / "requirements.lock").read_text())}
    of_module = importlib.metadata.packages_distributions()
    trees = [ast.parse(path.read_text()) for path in (ROOT / "uploadkit").rglob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    imported = {name.name.partition(".")[0] for node in nodes if isinstance(node, ast.Import) for name in node.names}
    imported |= {node.module.partition(".")[0] for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    others = imported - sys.stdlib_module_names - {"uploadkit", "_typeshed"}
    assert {"flask", "boto3", "psutil"} <= others
    assert [name for name in sorted(others) if not {owner.lower().replace("_", "-") for owner in of_module[name]} & locked] == []


def test_it_takes_a_file_and_shows_it(installed: Appliance) -> None:
    done = installed.upload(JPEG * 100)
    assert installed.read(done["url"]).body == JPEG * 100
    assert (installed.home / "data/uploadkit.db").is_file(), "data/ is in the folder that it was started in"


def test_its_pages_are_whole(installed: Appliance) -> None:
    for path in ("/", "/dashboard/sign-in", "/docs"):
        page = installed.fetch("GET", installed.base + path)
        assert page.status == 200, path
        linked = re.findall(r'(?:href|src)="(/[^"#?]+\.(?:css|js|svg))"', page.body.decode())
        assert linked, path
        for url in linked:
            assert installed.fetch("GET", installed.base + url).status == 200, url
    assert installed.fetch("GET", f"{installed.base}/uploadkit.js").status == 200


def test_messages_name_its_command(installed: Appliance) -> None:
    refused = installed.call("GET", "/files", key="")
    assert "'uploadkit keys create'" in refused.json["error"]["suggestion"]
    assert (
        '<code class="text-nowrap">uploadkit admin setup-link</code>'
        in installed.fetch("GET", f"{installed.base}/dashboard/sign-in").body.decode()
    )


def test_its_command_line_works_in_any_folder(installed: Appliance) -> None:
    assert "serve" in installed.run("--help").stdout
    listed = installed.run("keys", "list")
    assert (listed.returncode, "uk_live_" in listed.stdout) == (0, True)
    reference = installed.run("config", "reference").stdout
    assert tomllib.loads(reference) == tomllib.loads((ROOT / "config.toml").read_text())
    (installed.home / "config.toml").write_text('[server]\nthreads = "x"\n')
    refused = installed.run("config", "show")
    (installed.home / "config.toml").unlink()
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: config.toml: server.threads: ")
