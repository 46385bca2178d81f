"""After a full run with everything that can go wrong, no secret stands anywhere but where it must: not in a log, an answer, a page, an
error, the output of a command, or the database.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.appliance import JPEG, Answer, Appliance, free_port, running
from tests.support.stores import OtherStore, byos_settings

pytestmark = pytest.mark.long

KEPT_ON_PURPOSE = {"first-run.txt"}  # readable by its owner alone, until it is deleted


class Recording(Appliance):
    """An appliance of which every answer and every command's output is kept."""

    heard: list[bytes]

    def fetch(self, *arguments: object, **more: object) -> Answer:
        answer = super().fetch(*arguments, **more)  # type: ignore[arg-type]
        self.heard.append(answer.body + repr(dict(answer.headers)).encode())
        return answer

    def run(self, *arguments: str, **environment: str) -> object:  # type: ignore[override]
        done = super().run(*arguments, **environment)
        self.heard.append((done.stdout + done.stderr).encode())
        return done


@pytest.fixture
def recorded(tmp_path: Path, other_store: OtherStore) -> Iterator[Recording]:
    bucket = other_store.bucket("secrets-are-kept")
    appliance = Recording(tmp_path, **byos_settings(bucket.address), SERVER__LOG_FORMAT="json", HOUSEKEEPING__INTERVAL_SECONDS="1")
    appliance.heard = []
    try:
        yield appliance.start()  # type: ignore[misc]
    finally:
        if appliance.process and appliance.process.poll() is None:
            appliance.stop()


def everything(appliance: Recording) -> set[str]:
    """Use the appliance as owner, admin and outsider, rightly and wrongly; return the plaintexts of the keys that this made."""
    made = {appliance.key}
    file = appliance.upload()
    private = appliance.call("POST", "/projects", {"name": "P"}).json
    issued = appliance.call("POST", f"/projects/{private['id']}/keys", {"name": "k"}, headers={"Idempotency-Key": "x"})
    made.add(issued.json["key"])
    appliance.heard.remove(issued.body + repr(dict(issued.headers)).encode())  # the one answer that shows it
    made.add(rendered := appliance.new_key("--test"))
    appliance.heard = [heard for heard in appliance.heard if heard.strip() != rendered.encode() and rendered.encode() not in heard]
    for key in ("uk_live_" + secrets.token_urlsafe(24), "nonsense", appliance.key + "x"):
        made.add(key)
        assert appliance.call("GET", "/files", key=key).status == 401
        appliance.fetch("GET", f"{appliance.base}/api/v1/files?api_key={key}", headers={"Authorization": f"Bearer {key}"})
    appliance.call("POST", "/upload/request", {"fileName": 1})
    appliance.call("POST", "/upload/request", b"{")
    slot = appliance.request(10).json
    appliance.put(slot, JPEG)
    appliance.complete(slot)
    body = {"fileName": "b", "fileSize": 11 * 1024**2, "contentType": "video/mp4", "routeSlug": "default"}
    begun = appliance.call("POST", "/upload/multipart/init", body).json
    appliance.call("POST", "/upload/multipart/complete", {"fileId": begun["fileId"], "uploadId": begun["uploadId"]})
    appliance.call("POST", f"/files/{file['key']}/link", {})
    appliance.call("DELETE", f"/files/{file['key']}")
    appliance.call("DELETE", f"/projects/{private['id']}")
    for path in ("/", "/docs", "/readyz", "/healthz", "/f/x", "/api/v1/openapi.json", "/nowhere"):
        appliance.fetch("GET", f"{appliance.base}{path}", headers={"Accept": "text/html"})
    for command in (
        ["keys", "list"],
        ["projects", "list"],
        ["config", "show"],
        ["config", "show", "--json"],
        ["doctor"],
        ["reconcile"],
        ["init"],
    ):
        appliance.run(*command)
    # The same secret, and a store that is not there, does not know it, or gives nonsense for an answer.
    nobody = f"http://127.0.0.1:{free_port()}"
    for wrong in (
        {"BYOS__ENDPOINT": nobody},
        {"BYOS__ACCESS_KEY_ID": "AKIDWRONG"},
        {"BYOS__ENDPOINT": appliance.base},
        {"BYOS__REGION": ""},
    ):
        for command in (["doctor", "--json"], ["reconcile"]):
            appliance.run(*command, **{f"UPLOADKIT_STORAGE__{name}": value for name, value in wrong.items()})
    appliance.run("serve", UPLOADKIT_SERVER__PORT="none")
    return made


def test_no_secret_stands_anywhere(recorded: Recording, other_store: OtherStore) -> None:
    secret = other_store.address.secret_access_key
    plaintexts = everything(recorded)
    recorded.stop()
    places = {"log": recorded.log().encode()} | {f"answer or output {n}": heard for n, heard in enumerate(recorded.heard)}
    for path in recorded.home.rglob("*"):
        if path.is_file() and path.name not in KEPT_ON_PURPOSE:
            places[str(path.relative_to(recorded.home))] = path.read_bytes()
    assert {"serve.log", "data/uploadkit.db"} <= set(places)
    assert len(recorded.heard) > 40
    for value in (secret, *plaintexts):
        found = [place for place, content in places.items() if value.encode() in content or json.dumps(value)[1:-1].encode() in content]
        assert not found, f"a secret that begins with {value[:10]} stands in {found}"


def test_a_key_in_a_bundled_appliance_is_in_no_log(tmp_path: Path) -> None:
    with running(tmp_path) as appliance:
        appliance.upload()
        appliance.call("GET", "/files")
        known = json.loads((appliance.data_dir / "store-credentials.json").read_text())
        logged = appliance.log() + (appliance.data_dir / "store.log").read_text(errors="replace")
    hidden = [appliance.key, *(value for name, value in known.items() if name != "access_key_id")]
    assert len(hidden) > 3
    assert not [value[:6] for value in hidden if value in logged]
