"""The receivers in docs/webhooks.md, run as they stand: each verifies, refuses what it should, and works once per event."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

import pytest
import urllib3

from tests.support.appliance import ROOT, free_port, wait_until
from uploadkit.webhooks import signatures
from uploadkit.webhooks.signatures import Secrets, new_secret

GUIDE = (ROOT / "docs" / "webhooks.md").read_text()
# Put before the work of the examples: it fails at the first try of the event `fails-once`.
FAILS_ONCE = {
    "python": 'if event["id"] == "fails-once" and not os.path.exists("failed"): open("failed", "w").close(); raise OSError',
    "js": 'if (event.id === "fails-once" && !globalThis.failed) { globalThis.failed = true; throw new Error("once"); }',
    "go": 'if _, err := os.Stat("failed"); event.ID == "fails-once" && err != nil { os.WriteFile("failed", nil, 0o600); panic("once") }',
}
EVENTS = [f"event-{number}" for number in range(60)]


def block(heading: str, language: str) -> str:
    """The code block of this language under this heading."""
    section = GUIDE.partition(f"### {heading}\n")[2].partition("\n#")[0] if language != "go" else GUIDE.partition(f"### {heading}\n")[2]
    found = re.search(rf"```{language}\n(.*?)```", section, re.DOTALL)
    assert found, heading
    return found[1]


def python(*modules: str) -> list[str] | None:
    return [sys.executable] if all(importlib.util.find_spec(module) for module in modules) else None


def program(name: str) -> list[str] | None:
    found = shutil.which(name) or (f"/usr/local/go/bin/{name}" if Path(f"/usr/local/go/bin/{name}").exists() else None)
    return None if found is None else [found]


RECEIVERS = {
    "Flask": ("Python, Flask", "python", "receiver.py", python("flask", "standardwebhooks")),
    "FastAPI": ("Python, FastAPI", "python", "receiver.py", python("fastapi", "uvicorn", "standardwebhooks")),
    "Node": ("Node", "js", "receiver.mjs", program("node")),
    "Go": ("Go", "go", "receiver.go", program("go")),
}


@pytest.mark.parametrize("name", RECEIVERS)
def test_the_receiver_of_the_guide(tmp_path: Path, name: str) -> None:
    heading, language, file_name, command = RECEIVERS[name]
    if command is None:
        pytest.skip(f"{name} is not here")
    source = tmp_path / file_name
    code, count = re.subn(
        r"^([ \t]*)(?=\S.*(#|//) your work$)", rf"\1{FAILS_ONCE[language]}\n\1", block(heading, language), flags=re.MULTILINE
    )
    assert count == 1
    source.write_text(code)
    if name == "Go":
        subprocess.run([*command, "build", "-o", "receiver", file_name], cwd=tmp_path, check=True, env=os.environ | {"GO111MODULE": "off"})
        command = ["./receiver"]
    secrets, port = Secrets(new_secret(), new_secret()), free_port()
    environment = os.environ | {"PORT": str(port), "UPLOADKIT_WEBHOOK_SECRETS": f"{secrets.current} {secrets.next}"}
    # Two files, and ids by their form: what threads write at once may stand on one line.
    outputs = tmp_path / "output", tmp_path / "errors"
    with outputs[0].open("wb") as output, outputs[1].open("wb") as errors:
        arguments = command if name == "Go" else [*command, file_name]
        process = start(arguments, tmp_path, environment, output, errors)
        try:
            talk_to(f"http://127.0.0.1:{port}/hooks/upload", secrets)
        finally:
            process.terminate()
            process.wait(timeout=20)
    reported = Counter(re.findall(r"live onUploadComplete (event-\d+|fails-once)", "\n".join(written.read_text() for written in outputs)))
    assert reported == dict.fromkeys([*EVENTS, "fails-once"], 1), "each event once"


def start(arguments: list[str], folder: Path, environment: dict[str, str], output: IO[bytes], errors: IO[bytes]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(arguments, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=errors)


def talk_to(url: str, secrets: Secrets) -> None:
    with urllib3.PoolManager(retries=False, maxsize=8) as http, ThreadPoolExecutor(8) as pool:

        def post(event_id: str, signing: Secrets = secrets, age_seconds: int = 0, more: bytes = b"") -> int | None:
            at_ms = int((time.time() - age_seconds) * 1000)
            event = {"id": event_id, "event": "onUploadComplete", "environment": "live", "file": {"fileName": event_id}}
            body = json.dumps(event).encode()
            headers = signatures.headers(signing, event_id, "attempt", url, body, at_ms) | {
                "Content-Type": "application/json",
                "Connection": "close",
            }
            try:
                return http.request("POST", url, body=body + more, headers=headers).status
            except urllib3.exceptions.HTTPError:
                return None

        wait_until(lambda: post("foreign", Secrets(new_secret(), new_secret())) == 401, what="the receiver to refuse what others signed")
        assert post("changed", more=b" ") == 401
        assert post("old", age_seconds=400) == 401
        assert post("fails-once") in (500, None)
        assert post("fails-once") == 204, "what failed is done when it comes again"
        for _ in range(2):
            assert set(pool.map(post, [event for event in EVENTS for _ in range(2)])) == {204}
        assert post(EVENTS[0], Secrets(secrets.next, new_secret())) == 204, "after a rotation"


def test_the_guide_names_what_there_is() -> None:
    listed = set(re.findall(r"app\.py webhooks (\w+)", GUIDE))
    help_text = subprocess.run(
        [sys.executable, str(ROOT / "app.py"), "webhooks", "--help"], capture_output=True, text=True, check=True
    ).stdout
    assert listed
    assert all(re.search(rf"^  {name} ", help_text, re.MULTILINE) for name in listed)
