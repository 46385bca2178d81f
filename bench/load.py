"""Load over HTTP by `wrk`, one thread and any number of keep-alive connections; the same for us and for others."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

SCRIPT = Path(__file__).with_name("load.lua")


@dataclass(frozen=True)
class Load:
    """What one run came to. `bodies_used` of those that are sent once each were sent, perhaps not all of them answered."""

    per_second: float
    p50_ms: float
    p99_ms: float
    bodies_used: int


def load(url: str, connections: int, seconds: float, headers: Mapping[str, str] | None = None, bodies: Sequence[str] = ()) -> Load:
    """GET `url`, or POST `bodies` to it: one body over and over, several once each. Every answer has to be a success."""
    wrk = shutil.which("wrk")
    if wrk is None:
        raise SystemExit("make bench needs wrk (Debian: apt-get install wrk)")
    named = [part for name, value in (headers or {}).items() for part in ("-H", f"{name}: {value}")]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.writelines(f"{body}\n" for body in bodies)
        file.flush()
        arguments = ["-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "30s", "-s", str(SCRIPT), *named, url]
        done = subprocess.run([wrk, *arguments, *([file.name] if bodies else [])], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    if found["refused"] or found["lost"] or not found["requests"]:
        raise RuntimeError(f"{url}: {found['refused']} answers were errors (429 or 5xx), {found['lost']} were lost, of {found['requests']}")
    return Load(found["requests"] / found["seconds"], found["p50_ms"], found["p99_ms"], min(found["sent"], len(bodies)))
