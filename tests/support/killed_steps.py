"""A command line that is killed at its first step that changes a file, at its second, and so on until it ends by itself.

`python -m tests.support.killed_steps FOLDER EXECUTABLE ARGUMENT…` runs it in FOLDER's copies FOLDER-1, FOLDER-2 …, in each as the
executable file of that name there. Prints how many copies there are; the last one was not killed.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

from uploadkit.cli.main import main
from uploadkit.core import packaged_files

CHANGES = {"os.rename", "os.link", "os.remove", "os.chmod", "os.chown", "sqlite3.connect"}
MOST = 200
KILLED = 99


def killed_before(step: int) -> None:
    """Have this process end at once before it changes a file for this often."""
    left = [step]

    def look(event: str, arguments: tuple[Any, ...]) -> None:
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if event in CHANGES or writes:
            left[0] -= 1
            if not left[0]:
                os._exit(KILLED)

    sys.addaudithook(look)


def run() -> None:
    """See above."""
    folder, name, *arguments = sys.argv[1:]
    for step in range(1, MOST):
        home = Path(f"{folder}-{step}")
        shutil.copytree(folder, home, symlinks=True)
        child = os.fork()
        if not child:
            packaged_files.EXECUTABLE = home / name  # type: ignore[misc]
            os.environ["UPLOADKIT_DATA__DIR"] = str(home / "data")
            os.chdir(home)
            killed_before(step)
            main(arguments)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert status in (0, KILLED), f"step {step}: exit code {status}"
        if not status:
            os.write(1, f"\n{step}\n".encode())
            return
    raise AssertionError(f"no end after {MOST} steps")


if __name__ == "__main__":
    run()
