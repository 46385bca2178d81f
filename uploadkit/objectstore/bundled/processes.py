"""Child processes that never outlive the appliance: spawned so that they die with it, written down so that a later start finds them.

It ends only what it started: a process is ours when pid, start time and program all agree with the record, and it works in the
data directory that the record lies in. The record in a *copy* of a data directory names the processes of the original.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from uploadkit.core import cpu_affinity
from uploadkit.core.durable_files import write_private
from uploadkit.objectstore.bundled.engines import Command

STOP_SECONDS = 10
# Run between fork and the real program, in a fresh interpreter: `preexec_fn` may deadlock in a process with threads.
# 1 is PR_SET_PDEATHSIG, 9 is SIGKILL (weed may hang on SIGTERM, and loses nothing acknowledged by SIGKILL). A core would hold keys.
# Untrusted clients can make the store large, and it can be started again: out of memory, the kernel should kill it first.
_DIE_WITH_PARENT = (
    "import ctypes, os, resource, sys\n"
    "ctypes.CDLL(None).prctl(1, 9)\n"
    "resource.setrlimit(resource.RLIMIT_CORE, (0, 0))\n"
    "try: open('/proc/self/oom_score_adj', 'w').write('500')\n"
    "except OSError: pass\n"
    "if os.getppid() != int(sys.argv[1]): sys.exit(1)\n"
    "os.execv(sys.argv[2], sys.argv[2:])\n"
)


@dataclass(frozen=True)
class _Record:
    pid: int
    started_at: float
    program: str


def spawn(command: Command, log: Path, *, stdin: bytes = b"") -> subprocess.Popen[bytes]:
    """Start a child that writes to `log` (appended, 0600), in a process group of its own, so that Ctrl-C doesn't reach it.

    It may use every core. On Linux it dies when the calling *thread* ends: call from one that lasts. `stdin` must be short.
    """
    argv = list(command.argv)
    if sys.platform == "linux":
        argv = [sys.executable, "-I", "-S", "-c", _DIE_WITH_PARENT, str(os.getpid()), *argv]
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        with cpu_affinity.left():
            child = subprocess.Popen(
                argv,
                env=command.environment,
                cwd=command.directory,
                stdin=subprocess.PIPE,
                stdout=descriptor,
                stderr=descriptor,
                umask=0o077,
                process_group=0,
            )
    finally:
        os.close(descriptor)
    assert child.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        child.stdin.write(stdin)
        child.stdin.flush()
    with contextlib.suppress(BrokenPipeError):
        child.stdin.close()
    return child


def stop(child: subprocess.Popen[bytes], seconds: float = STOP_SECONDS) -> None:
    """End `child`: SIGTERM, up to `seconds`, then SIGKILL. Returns when it is gone; may be repeated."""
    child.terminate()
    try:
        child.wait(seconds)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def record(path: Path, children: Sequence[tuple[subprocess.Popen[bytes], Command]]) -> None:
    """Write down which processes are ours, for `end_orphans` after a crash."""
    records = []
    for child, command in children:
        with contextlib.suppress(psutil.NoSuchProcess):
            records.append(asdict(_Record(child.pid, psutil.Process(child.pid).create_time(), command.argv[0])))
    write_private(path, json.dumps(records))


def end_orphans(path: Path) -> int:
    """End the processes that an appliance that was killed left behind, and remove the record. Returns how many there were.

    `path` is the record; what was recorded works in a directory below the record's.
    """
    ended = 0
    for entry in _read_records(path):
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(entry.pid)
            # A pid is soon given to somebody else; the time and the program tell them apart. One second: the clock may be stepped.
            is_recorded = abs(process.create_time() - entry.started_at) < 1 and process.cmdline()[:1] == [entry.program]
            if is_recorded and _works_below(process, path.parent):
                _end(process)
                ended += 1
    path.unlink(missing_ok=True)
    return ended


def _read_records(path: Path) -> list[_Record]:
    try:
        return [_Record(int(entry["pid"]), float(entry["started_at"]), str(entry["program"])) for entry in json.loads(path.read_text())]
    except (OSError, ValueError, TypeError, KeyError):
        # Absent, or cut short: on Linux the children died with their parent anyway.
        return []


def _works_below(process: psutil.Process, directory: Path) -> bool:
    try:
        wanted, working = directory.stat(), Path(process.cwd())
        return any(os.path.samestat(parent.stat(), wanted) for parent in (working, *working.parents))
    except (OSError, psutil.AccessDenied):
        # Its directory was deleted, or isn't ours to look at.
        return False


def _end(process: psutil.Process) -> None:
    process.terminate()
    deadline = time.monotonic() + STOP_SECONDS
    while _is_alive(process):
        if time.monotonic() > deadline:
            process.kill()
        time.sleep(0.05)


def _is_alive(process: psutil.Process) -> bool:
    try:
        # A zombie holds no port and no file once its last thread is gone; its parent, whoever that is, will collect it.
        return process.is_running() and (process.status() != psutil.STATUS_ZOMBIE or process.num_threads() > 1)
    except psutil.NoSuchProcess:
        return False
