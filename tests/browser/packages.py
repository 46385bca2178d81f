"""npm packages for browser tests, installed as their lock file says into an ignored folder. Nothing of them is shipped."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.browsers import lacking

FOLDER = Path(__file__).resolve().parent / "npm"


@pytest.fixture(scope="session")
def npm_packages() -> Path:
    """The folder with `node_modules`, as package-lock.json describes it."""
    installed = FOLDER / "node_modules" / ".package-lock.json"
    with (FOLDER / "package-lock.json").open() as lock_file:
        fcntl.flock(lock_file, fcntl.LOCK_EX)  # test processes beside this one
        if not installed.exists() or installed.stat().st_mtime < (FOLDER / "package-lock.json").stat().st_mtime:
            run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent")
    return FOLDER


def run(program: str, *arguments: str) -> str:
    """Run a program in that folder and return what it says; without it, or without a registry, the test is skipped."""
    found = shutil.which(str(FOLDER / "node_modules" / ".bin" / program)) or shutil.which(program)
    if found is None:
        lacking(f"there is no {program} on PATH (Debian: apt-get install npm)")
    done = subprocess.run(
        [found, *arguments], cwd=FOLDER, capture_output=True, text=True, timeout=170, stdin=subprocess.DEVNULL, check=False
    )
    if done.returncode != 0 and program == "npm":
        lacking(f"npm can't install the packages of the browser tests: {done.stderr[-500:]}")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
