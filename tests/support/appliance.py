"""A real appliance in a process of its own, for tests that talk to it over HTTP. Imports nothing of the product."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import urllib3

ROOT = Path(__file__).resolve().parents[2]
JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00"


def free_port() -> int:
    """A port that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def free_port_of_a_store() -> int:
    """A port for a bundled store: nobody listens on it, nor on the others that its engine takes (the nine after it, and port + 10008).

    Beside those that stores without a port of their own choose (10,240 to 20,239, and 10,008 above each), and below those that the system
    gives to outgoing connections: another worker starts such a store at any moment.
    """
    for first in random.sample(range(30_300, 32_700, 10), 100):
        with contextlib.suppress(OSError):
            for port in (*range(first, first + 10), first + 10_008):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
            return first
    raise AssertionError("no ten ports in a row are free")


def wait_until(condition: Callable[[], Any], seconds: float = 60, what: str = "") -> Any:
    """Return the first true value of `condition`; fail when `seconds` pass without."""
    until = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < until, f"waited {seconds} s in vain for {what or condition}"
        time.sleep(0.02)
    return value


@dataclass
class Answer:
    """An HTTP answer, its body read as JSON where it is JSON."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        return str(self.json["error"]["code"])


class Appliance:
    """`python app.py serve` on a data directory of its own, and the calls that tests make to it."""

    def __init__(self, home: Path, surroundings: Mapping[str, str] | None = None, **settings: str) -> None:
        """`surroundings` are further environment variables, `settings` those of UploadKit without their prefix."""
        self.home = home
        home.mkdir(exist_ok=True)
        self.data_dir = home / "data"
        self.log_path = home / "serve.log"
        self.port = free_port()
        self.base = f"http://127.0.0.1:{self.port}"
        self.environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("UPLOADKIT_", "AWS_", "PYTEST_")) and not name.lower().endswith("_proxy")
        } | {
            "UPLOADKIT_DATA__DIR": str(self.data_dir),
            "UPLOADKIT_SERVER__PORT": str(self.port),
            "UPLOADKIT_STORAGE__BUNDLED__PORT": "0",
            "UPLOADKIT_STORAGE__BUNDLED__ENGINE": "seaweedfs",
            "UPLOADKIT_STORAGE__BUNDLED__MAX_DISK_BYTES": "4GB",
            # Tests call faster than people; those of the rate limits set them.
            "UPLOADKIT_TIERS__PRO__REQUESTS_PER_MINUTE": "",
            "UPLOADKIT_RATE_LIMITS__AUTH_FAILURES_PER_MINUTE": "",
            # Several at once on few cores: two that stay on the same one would slow each other down while another idles.
            "UPLOADKIT_SERVER__ONE_CORE": "false",
            "XDG_STATE_HOME": str(home / "state"),
            **{f"UPLOADKIT_{name}": value for name, value in settings.items()},
            **(surroundings or {}),
        }
        self.http: Any = urllib3.PoolManager(maxsize=64, retries=False, timeout=60)
        self.program = [sys.executable, str(ROOT / "app.py")]
        self.process: subprocess.Popen[bytes] | None = None
        self.key = ""

    # The process.

    def start(self) -> Appliance:
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.program, "serve"],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.home,
            )
        wait_until(self._is_up, what="the appliance to answer; its log:\n" + self.log())
        if not self.key:
            self.key = self.first_key()
        return self

    def _is_up(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log()
        with contextlib.suppress(urllib3.exceptions.HTTPError):
            return self.http.request("GET", f"{self.base}/readyz").status == 200
        return False

    def stop(self) -> int:
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(timeout=60)

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(timeout=60)

    def log(self) -> str:
        return self.log_path.read_text() if self.log_path.exists() else ""

    def first_key(self) -> str:
        path = self.data_dir / "first-run.txt"
        wait_until(path.exists, what="the first key, which is told after the appliance answers")
        note = path.read_text()
        found = re.search(r"uk_live_[A-Za-z0-9_-]{32}", note)
        assert found, note
        return found[0]

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run `app.py` with these arguments and this appliance's configuration."""
        return subprocess.run(
            [*self.program, *arguments],
            env=self.environment | environment,
            capture_output=True,
            text=True,
            timeout=170,
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            check=False,
        )

    def new_key(self, *arguments: str) -> str:
        """The plaintext of a new key; `arguments` go to `keys create`."""
        made = self.run("keys", "create", "--name", "test", *arguments)
        assert made.returncode == 0, made.stderr
        return made.stdout.strip()

    # Calls.

    def call(self, method: str, path: str, body: Any = None, *, key: str | None = None, headers: Mapping[str, str] | None = None) -> Answer:
        """Call `/api/v1{path}` with a JSON body; `key` "" sends none, None the first one."""
        sent = dict(headers or {})
        if key != "":
            sent["x-api-key"] = key or self.key
        raw = None
        if body is not None:
            raw = body if isinstance(body, bytes) else json.dumps(body).encode()
            sent.setdefault("Content-Type", "application/json")
        return self.fetch(method, f"{self.base}/api/v1{path}", raw, sent)

    @property
    def project_id(self) -> str:
        """The id of the first project, however many tests have made others."""
        cursor = ""
        while True:
            page = self.call("GET", f"/projects?limit=100{cursor and '&cursor=' + cursor}").json
            for project in page["items"]:
                if project["slug"] == "default":
                    return str(project["id"])
            cursor = page["nextCursor"]
            assert cursor, "the first project is gone"

    def fetch(self, method: str, url: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Answer:
        """Any URL; redirects are not followed."""
        answer = self.http.request(method, url, body=body, headers=dict(headers or {}), redirect=False)
        return Answer(answer.status, answer.headers, answer.data)

    def request(self, size: int = 1000, name: str = "photo.jpg", content_type: str = "image/jpeg", **more: Any) -> Answer:
        key = more.pop("key", None)
        body = {"fileName": name, "fileSize": size, "contentType": content_type, "routeSlug": "default", **more}
        return self.call("POST", "/upload/request", body, key=key)

    def put(self, slot: Mapping[str, Any], content: bytes, content_type: str = "image/jpeg") -> Answer:
        return self.fetch("PUT", slot["uploadUrl"], content, {"Content-Type": content_type})

    def complete(self, slot: Mapping[str, Any], **more: Any) -> Answer:
        key = more.pop("key", None)
        return self.call("POST", "/upload/complete", {"fileId": slot["fileId"], **more}, key=key)

    def upload(self, content: bytes = JPEG * 100, name: str = "photo.jpg", content_type: str = "image/jpeg", **more: Any) -> dict[str, Any]:
        """The whole way of a small file; returns the file object."""
        key = more.get("key")
        answer = self.request(len(content), name, content_type, **more)
        assert answer.status == 200, answer.body
        assert self.put(answer.json, content, content_type).status == 200
        done = self.complete(answer.json, key=key)
        assert done.status == 200, done.body
        return dict(done.json)

    def read(self, url: str) -> Answer:
        """Follow a file's url to the store."""
        redirect = self.fetch("GET", url)
        return self.fetch("GET", redirect.headers["Location"]) if redirect.status == 302 else redirect


@contextlib.contextmanager
def running(
    home: Path, surroundings: Mapping[str, str] | None = None, clients: Callable[[Any], Any] = lambda http: http, **settings: str
) -> Iterator[Appliance]:
    """An appliance that is gone at the end, whatever happens: killed with its store, which takes no second and a half as `stop` does.

    `clients` makes what sends the requests of tests out of a urllib3 pool manager.
    """
    made = Appliance(home, surroundings, **settings)
    made.http = clients(made.http)
    with started(made) as appliance:
        yield appliance


@contextlib.contextmanager
def started(appliance: Appliance) -> Iterator[Appliance]:
    """This appliance, started, and gone at the end."""
    try:
        yield appliance.start()
    finally:
        if appliance.process is not None and appliance.process.poll() is None:
            children = psutil.Process(appliance.process.pid).children(recursive=True)
            appliance.kill()  # before its store, which it would start again
            for child in children:
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()
        appliance.http.clear()
