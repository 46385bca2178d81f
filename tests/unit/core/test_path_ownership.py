"""A data directory that lies where another user of the machine can put another one in its place."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.appliance import ROOT
from tests.support.untrusted_clients import NOBODY, needs_root
from uploadkit import config
from uploadkit.core.path_ownership import who_may_replace
from uploadkit.observability import diagnosis


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder that nobody else can reach (in the system's own for temporary files, where that is as it should be)."""
    made = tmp_path / "place"
    made.mkdir(mode=0o755)
    return made


def test_a_place_of_ones_own_is_none_of_others(place: Path) -> None:
    assert who_may_replace(place / "not" / "yet" / "there") is None
    place.chmod(0o1777)  # as /tmp
    assert who_may_replace(place / "data") is None


def test_a_folder_that_everybody_may_write_to_is_told(place: Path) -> None:
    (place / "data").mkdir()
    place.chmod(0o777)
    assert who_may_replace(place / "data") == f"{place} can be written by everybody"
    (place.parent / "link").symlink_to(place)
    assert who_may_replace(place.parent / "link" / "data") == f"{place} can be written by everybody"


@needs_root
def test_a_folder_or_a_link_of_somebody_else_is_told(place: Path) -> None:
    (place / "data").mkdir()
    link = place.parent / "link"
    link.symlink_to(place / "data")
    os.chown(link, NOBODY, NOBODY, follow_symlinks=False)
    reported = who_may_replace(link)
    assert reported is not None
    assert reported.startswith(f"{link} belongs to the user no")
    os.chown(place, 2**31 - 7, NOBODY)
    assert who_may_replace(place / "data") == f"{place} belongs to the user number {2**31 - 7}"


@needs_root
def test_the_start_and_the_doctor_tell(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    os.chown(place, NOBODY, NOBODY)
    (place / "data").mkdir()
    loaded = config.load(None, {"UPLOADKIT_DATA__DIR": str(place / "data")})
    with caplog.at_level(logging.WARNING):
        diagnosis.warn_of_shared_place(loaded)
    assert "SECURITY: others can replace" in caplog.text
    assert diagnosis._data_dir(loaded).outcome == "warning"
    os.chown(place, 0, 0)
    assert diagnosis._data_dir(loaded).outcome == "ok"


@needs_root
def test_a_folder_that_somebody_has_prepared_is_not_taken(place: Path) -> None:
    """Not by a user without privileges: root is warned, since that is how folders of the host look in many a container."""
    prepared = place / "data"
    prepared.mkdir()
    (prepared / "note").touch()  # not empty, so that its mode would stay as it is
    prepared.chmod(0o777)
    os.chown(prepared, 12345, 12345)
    place.parent.parent.chmod(0o755)
    program = (
        "import os, sys; from pathlib import Path\n"
        "from uploadkit.core import data_dir; from uploadkit.core.errors import ConfigError\n"
        f"os.setgroups([]); os.setresgid({NOBODY},{NOBODY},{NOBODY}); os.setresuid({NOBODY},{NOBODY},{NOBODY})\n"
        "try: data_dir.prepare_data_dir(Path(sys.argv[1]))\n"
        "except ConfigError as error: print(error)\n"
    )
    argv, environment = [sys.executable, "-c", program, prepared.name], {"PYTHONPATH": str(ROOT)}
    message = subprocess.run(argv, cwd=place, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert "belongs to somebody else" in message.stdout + message.stderr, message
