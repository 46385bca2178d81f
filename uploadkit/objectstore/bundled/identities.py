"""S3 identities and settings inside SeaweedFS's filer. The appliance makes none there, so what is found is somebody else's.

SeaweedFS takes whatever lies below `/etc/iam` for users of its S3 port, `/etc/seaweedfs/filer.conf` for rules of paths (how long
files live, where nothing may be written) and `/etc/remote` for other stores to read from, at once and after every start. An
appliance from before mutual TLS may have some: any user of the machine could write there.
"""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from uploadkit.core.durable_files import write_private
from uploadkit.objectstore.bundled import processes
from uploadkit.objectstore.bundled.engines import Engine

FOLDERS = ("/etc/iam", "/etc/seaweedfs", "/etc/remote")
LOOK_SECONDS = 10.0
_LISTED_BYTES, _MOST_REPORTED_CHARACTERS = 64 * 1024, 600
_TOTAL = re.compile(r"(?<!\d)\d{1,20} director(?:y|ies), (\d{1,20}) files?$", re.MULTILINE)


class Unknown(Exception):
    """The store could not be asked. `str(error)` says why."""


def find(engine: Engine, base: int, stopping: threading.Event | None = None) -> str | None:
    """Return what somebody else has put there, as trees of names (shortened); None where there is nothing.

    Takes up to `LOOK_SECONDS`, or until `stopping`. Raises Unknown, OSError.
    """
    output = _shell_output(engine, base, "".join(f"fs.tree {folder}\n" for folder in FOLDERS), stopping)
    totals = _TOTAL.findall(output)  # the lines above one, with names, may look like more of them, and hide none
    if len(totals) < len(FOLDERS):
        raise Unknown("weed shell did not list it" + (f": {output[-200:]!r}" if output else ""))
    return output.strip()[:_MOST_REPORTED_CHARACTERS] if any(map(int, totals)) else None


def remove(engine: Engine, base: int) -> None:
    """Delete all of it. Raises OSError; whether it worked, `find` says."""
    _shell_output(engine, base, "".join(f"fs.rm -rf {folder}\n" for folder in FOLDERS), None)


def report_path(data_dir: Path) -> Path:
    """Return the file (JSON lines, 0600) that tells what was found and removed, until somebody has read and deleted it."""
    return data_dir / "store" / "removed-identities"


def report(data_dir: Path, found: str, at_ms: int) -> None:
    """Write down that `found` was there, so that `doctor` tells it until the file is deleted. Raises OSError."""
    path = report_path(data_dir)
    earlier = path.read_text(encoding="utf-8").splitlines()[-9:] if path.exists() else []
    write_private(path, "".join(f"{line}\n" for line in [*earlier, json.dumps({"atMs": at_ms, "names": found})]))


def _shell_output(engine: Engine, base: int, commands: str, stopping: threading.Event | None) -> str:
    shell = engine.shell(base)
    assert shell is not None
    with tempfile.TemporaryDirectory(prefix="uploadkit-") as folder:
        output = Path(folder, "output")
        child = processes.spawn(shell, output, stdin=commands.encode())
        try:
            _wait(child, stopping)
        finally:
            processes.stop(child, 0.1)
        with output.open("rb") as file:
            file.seek(max(0, output.stat().st_size - _LISTED_BYTES))
            return file.read().decode(errors="replace")


def _wait(child: subprocess.Popen[bytes], stopping: threading.Event | None) -> None:
    deadline = time.monotonic() + LOOK_SECONDS
    while child.poll() is None:
        if time.monotonic() > deadline:
            raise Unknown(f"weed shell did not end within {LOOK_SECONDS:.0f} s")
        if (stopping or threading.Event()).wait(0.02):
            raise Unknown("the store is being stopped")
