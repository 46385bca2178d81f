"""The examples, each started as examples/README.md says, and used in Chromium: a small file and one in parts."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import urllib3
from playwright.sync_api import Page, expect

from tests.support.appliance import ROOT, Appliance, free_port, running, wait_until
from tests.support.browsers import Watched, lacking
from uploadkit.webhooks import signatures
from uploadkit.webhooks.signatures import Secrets, new_secret

EXAMPLES = ROOT / "examples"
WEBHOOKS = Secrets(new_secret(), new_secret())


@contextlib.contextmanager
def started(command: list[str], folder: Path, appliance: Appliance) -> Iterator[str]:
    """Run an example with the appliance's address and key in its environment; yield its address."""
    program = shutil.which(command[0])
    if program is None:
        lacking(f"there is no {command[0]} on PATH (Debian: apt-get install nodejs npm)")
    port = free_port()
    environment = os.environ | {"UPLOADKIT_URL": appliance.base, "UPLOADKIT_API_KEY": appliance.key, "PORT": str(port)}
    environment |= {
        "UPLOADKIT_WEBHOOK_SECRETS": f"{WEBHOOKS.current} {WEBHOOKS.next}",
        "PYTHONPATH": str(ROOT),
        "npm_config_ignore_scripts": "true",
    }
    with (folder / "example.log").open("wb") as log:
        process = subprocess.Popen(
            [program, *command[1:]], cwd=folder, env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
        )
        try:
            address = f"http://127.0.0.1:{port}"
            wait_until(lambda: answers(address, process, folder / "example.log"), what="the example to answer", seconds=150)
            yield address
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, 15)
            process.wait(timeout=30)


def answers(address: str, process: subprocess.Popen[bytes], log: Path) -> bool:
    assert process.poll() is None, log.read_text()
    with contextlib.suppress(urllib3.exceptions.HTTPError):
        return urllib3.request("GET", address, retries=False, timeout=5).status == 200
    return False


def copied(name: str, tmp_path: Path) -> Path:
    return Path(shutil.copytree(EXAMPLES / name, tmp_path / name, ignore=shutil.ignore_patterns("node_modules")))


@pytest.fixture
def small_file(tmp_path: Path) -> Path:
    path = tmp_path / "Grüße.txt"
    path.write_text("A note")
    return path


def choose_each(page: Page, *paths: Path) -> None:
    """Upload one file after the other, and see that each is a link that leads to it."""
    page.wait_for_load_state()  # its script has to be there before the file
    for path in paths:
        page.set_input_files("input[type=file]", str(path))
        expect(page.get_by_role("link", name=path.name, exact=True)).to_be_visible(timeout=60_000)


def test_plain_html(page: Page, watched: Watched, appliance: Appliance, tmp_path: Path, small_file: Path, big_file: Path) -> None:
    with started([sys.executable, "serve.py"], copied("plain-html", tmp_path), appliance) as address:
        page.goto(address)
        choose_each(page, small_file, big_file)
        assert watched.errors == []


MANY = {
    "plain-html": [sys.executable, "serve.py"],
    "flask-backend": [sys.executable, "app.py"],
    "react-vite": ["npm", "start"],
}


@pytest.mark.parametrize("name", MANY)
def test_many_files_have_one_upload_token(page: Page, watched: Watched, appliance: Appliance, tmp_path: Path, name: str) -> None:
    files = [tmp_path / f"{number}.txt" for number in range(30)]
    for path in files:
        path.write_text(f"{name} {path.name}")
    with started(MANY[name], copied(name, tmp_path), appliance) as address:
        page.goto(address, wait_until="load")
        if name == "flask-backend":
            page.fill("input[name=user]", "Bo")
            page.get_by_role("button", name="Log in").click()
            page.wait_for_load_state()
        page.set_input_files("input[type=file]", [str(path) for path in files])
        expect(page.get_by_role("link")).to_have_count(30, timeout=60_000)
        assert sum("/upload-endpoint" in asked for asked in watched.requests) == 1
        assert watched.errors == []


def test_plain_html_hands_on_how_long_to_wait(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """An appliance whose key may make so few requests that this test soon has them all."""
    with (
        running(tmp_path_factory.mktemp("limited"), TIERS__PRO__REQUESTS_PER_MINUTE="2") as limited,
        started([sys.executable, "serve.py"], copied("plain-html", tmp_path), limited) as address,
    ):
        answers = [urllib3.request("POST", f"{address}/upload-endpoint", retries=False, timeout=30) for _ in range(4)]
        assert answers[-1].status == 429
        assert 0 < int(answers[-1].headers["Retry-After"]) <= 60


def test_flask_backend(page: Page, watched: Watched, appliance: Appliance, tmp_path: Path, small_file: Path, big_file: Path) -> None:
    with started([sys.executable, "app.py"], copied("flask-backend", tmp_path), appliance) as address:
        page.goto(address)
        page.fill("input[name=user]", "Ann </script> O'Hara")
        page.get_by_role("button", name="Log in").click()
        choose_each(page, small_file, big_file)
        file = appliance.call("GET", "/files").json["items"][0]
        assert (file["fileName"], file["metadata"]) == (big_file.name, {"user": "Ann </script> O'Hara"})
        assert watched.errors == []
        event = json.dumps({"id": "event-1", "event": "onUploadComplete", "file": file}).encode()
        for signing, status in ((WEBHOOKS, 204), (Secrets(new_secret(), new_secret()), 401)):
            headers = signatures.headers(signing, "event-1", "attempt", address, event, int(time.time() * 1000))
            assert appliance.fetch("POST", f"{address}/hooks/upload", event, headers).status == status


def project(appliance: Appliance) -> str:
    return appliance.project_id


def test_node_proxy(page: Page, watched: Watched, appliance: Appliance, tmp_path: Path, small_file: Path, big_file: Path) -> None:
    with started(["node", "server.mjs"], copied("node-proxy", tmp_path), appliance) as address:
        page.goto(address)
        choose_each(page, small_file, big_file)
        assert appliance.call("GET", "/files").json["items"][0]["metadata"] == {"userId": "ann"}
        assert watched.errors == []
        assert appliance.key not in "".join(watched.requests)
        post = partial(urllib3.request, "POST", f"{address}/api/uploadkit/default", retries=False, timeout=30)
        begin = {"action": "request-upload", "fileName": "a.txt", "contentType": "text/plain", "contentLength": 5}
        slot = post(json=begin).json()
        assert slot["headers"] == {"Content-Type": "text/plain"}
        ids = {"fileId": slot["fileId"], "key": slot["key"]}
        assert post(json={"action": "upload-complete", **ids}).json()["error"]["code"] == "UPLOAD_NOT_VERIFIED"
        assert post(json={"action": "upload-abort", **ids}).status == 409, "it may be complete"
        slot = post(json=begin).json()
        for _ in range(2):
            aborted = post(json={"action": "upload-abort", "fileId": slot["fileId"], "key": slot["key"]})
            assert (aborted.status, aborted.json()) == (200, {"aborted": True})
        route = next(
            one for one in appliance.call("GET", f"/projects/{project(appliance)}/file-routes").json["items"] if one["slug"] == "default"
        )
        assert appliance.call("PATCH", f"/file-routes/{route['id']}", {"allowedTypes": ["image/*"]}).status == 200
        try:
            wrong = post(json=begin)
            assert (wrong.status, wrong.json()["error"]["code"]) == (415, "INVALID_FILE_TYPE")
        finally:
            appliance.call("PATCH", f"/file-routes/{route['id']}", {"allowedTypes": ["*/*"]})


def test_react_with_vite(page: Page, watched: Watched, appliance: Appliance, tmp_path: Path, small_file: Path, big_file: Path) -> None:
    with started(["npm", "start"], copied("react-vite", tmp_path), appliance) as address:
        page.goto(address)
        choose_each(page, small_file, big_file)
        assert watched.errors == []
