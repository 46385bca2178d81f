"""Locks by a file: one holder at a time, and none after its end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from uploadkit.core import file_locks
from uploadkit.core.errors import Conflict


def test_one_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "work.lock"
    with file_locks.held(path, "Another one works"):
        with pytest.raises(Conflict) as refused, file_locks.held(path, "Another one works"):
            pass
        assert refused.value.message == "Another one works"
        assert "Wait for its end" in (refused.value.suggestion or "")
    with file_locks.held(path, "Another one works"):
        pass


def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "work.lock"
    program = (
        "import sys; from pathlib import Path; from uploadkit.core import file_locks\n"
        "with file_locks.held(Path(sys.argv[1]), 'x'): print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", program, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(Conflict), file_locks.held(path, "Another one works"):
            pass
        holder.kill()
    with file_locks.held(path, "Another one works"):
        pass
