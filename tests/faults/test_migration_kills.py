"""A large database that is brought up to date, killed at any moment of it, and started again.

The suite takes a database that migrates in a second or two; MIGRATION_ROWS=200000 and MIGRATION_KILLS=10 take more, and --timeout 900.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.appliance import ROOT, Appliance, running, wait_until
from tests.support.old_databases import OLD, old_database, version_and_rows
from uploadkit.db import migrating

ROWS = int(os.environ.get("MIGRATION_ROWS", "8000"))
KILLS = int(os.environ.get("MIGRATION_KILLS", "4"))


def begin_upgrade(home: Path, data_dir: Path) -> subprocess.Popen[bytes]:
    environment = os.environ | {"UPLOADKIT_DATA__DIR": str(data_dir)}
    return subprocess.Popen([sys.executable, str(ROOT / "app.py"), "init"], env=environment, cwd=home, stdout=subprocess.DEVNULL)


def test_an_upgrade_that_is_killed_loses_nothing_and_the_next_start_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    appliance = Appliance(tmp_path / "home")
    appliance.data_dir.mkdir(mode=0o700)
    path = appliance.data_dir / "uploadkit.db"
    old_database(path, ROWS, monkeypatch)
    backup, partial = path.with_name(f"{path.name}.before-{OLD + 1:04d}"), path.with_name(f"{path.name}.before-{OLD + 1:04d}.partial")
    log = path.with_name(f"{path.name}-wal")
    before, whole = tmp_path / "before", tmp_path / "whole"
    shutil.copytree(appliance.data_dir, before)
    shutil.copytree(before, whole)
    began = time.monotonic()
    assert begin_upgrade(tmp_path, whole).wait(600) == 0
    took_seconds = time.monotonic() - began

    def any_moment() -> bool:
        return time.monotonic() > until

    def in_the_midst() -> bool:
        return log.exists() and log.stat().st_size > ROWS * 20

    moments: list[Callable[[], bool]] = [partial.exists, backup.exists, in_the_midst]
    moments += [any_moment] * (KILLS - len(moments))
    for moment in moments:
        upgrade = begin_upgrade(tmp_path, appliance.data_dir)
        until = time.monotonic() + random.uniform(0.2, 0.9) * took_seconds
        wait_until(lambda moment=moment, upgrade=upgrade: moment() or upgrade.poll() is not None, 600, "the moment to kill it")
        upgrade.send_signal(signal.SIGKILL)
        upgrade.wait(60)
        copy = tmp_path / "looked-at"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(appliance.data_dir, copy)  # looking at it would repair it
        found = version_and_rows(copy / path.name)
        if found[0] != OLD:
            assert moment is any_moment, "quicker than it was before"
            assert found == (len(migrating.migrations()), ROWS, ROWS)
            shutil.rmtree(appliance.data_dir)
            shutil.copytree(before, appliance.data_dir)
            continue
        assert found == (OLD, ROWS, ROWS)
        if backup.exists():
            assert version_and_rows(copy / backup.name) == (OLD, ROWS, ROWS)
    with running(tmp_path / "home") as started:
        assert version_and_rows(path) == (len(migrating.migrations()), ROWS, ROWS)
        assert version_and_rows(backup) == (OLD, ROWS, ROWS)
        assert not partial.exists()
        key = started.new_key("--project", "p")
        listed = started.call("GET", f"/files?search=of%20{ROWS}.", key=key)
        assert [item["fileName"].endswith(f" of {ROWS}.jpg") for item in listed.json["items"]] == [True], listed.body
        assert started.call("GET", "/files?search=x&limit=1", key=key).status == 200
        assert f"after a copy of it as {backup}" in started.log()
        assert f"the database has schema {len(migrating.migrations())} now" in started.log()
