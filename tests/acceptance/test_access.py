"""Who may do what: every endpoint as owner, another project's key, a test key, a revoked key, and with no key."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.appliance import JPEG, Answer, Appliance
from uploadkit.core.sizes import MIB

pytestmark = pytest.mark.long

NEW_FILE = {"fileName": "a.jpg", "fileSize": 14, "contentType": "image/jpeg", "routeSlug": "default"}


class Owned:
    """One of each thing that a live key of the first project owns."""

    def __init__(self, appliance: Appliance) -> None:
        self.file = appliance.upload(JPEG)
        self.slot = appliance.request(len(JPEG)).json
        appliance.put(self.slot, JPEG)
        self.multipart = appliance.call("POST", "/upload/multipart/init", NEW_FILE | {"fileSize": 11 * MIB}).json
        self.ids = {"fileId": self.multipart["fileId"], "uploadId": self.multipart["uploadId"]}
        self.part_ids = self.ids | {"parts": [{"partNumber": 1, "etag": "x"}]}
        self.token_id = appliance.call("POST", "/upload-tokens", {"routeSlug": "default"}).json["id"]


# name → (call made of what the owner has, the owner's status, everybody else's status and code)
Call = Callable[[Owned], tuple[str, str, Any]]
ENDPOINTS: dict[str, tuple[Call, int, tuple[int, str] | None]] = {
    "request": (lambda o: ("POST", "/upload/request", NEW_FILE), 200, None),
    "complete": (lambda o: ("POST", "/upload/complete", {"fileId": o.slot["fileId"]}), 200, (404, "UPLOAD_NOT_FOUND")),
    "multipart init": (lambda o: ("POST", "/upload/multipart/init", NEW_FILE | {"fileSize": 11 * MIB}), 200, None),
    "multipart parts": (lambda o: ("POST", "/upload/multipart/parts", o.ids), 200, (404, "UPLOAD_NOT_FOUND")),
    "multipart complete": (lambda o: ("POST", "/upload/multipart/complete", o.ids), 422, (404, "UPLOAD_NOT_FOUND")),
    "multipart abort": (lambda o: ("POST", "/upload/multipart/abort", o.ids), 200, (404, "UPLOAD_NOT_FOUND")),
    "get": (lambda o: ("GET", f"/files/{o.file['key']}", None), 200, (404, "NOT_FOUND")),
    "get by id": (lambda o: ("GET", f"/files/by-id/{o.file['id']}", None), 200, (404, "NOT_FOUND")),
    "update": (lambda o: ("PATCH", f"/files/{o.file['key']}", {"metadata": {}}), 200, (404, "NOT_FOUND")),
    "delete": (lambda o: ("DELETE", f"/files/{o.file['key']}", None), 200, (404, "NOT_FOUND")),
    "delete many": (lambda o: ("DELETE", "/files", {"keys": [o.file["key"]]}), 200, (404, "NOT_FOUND")),
    "link": (lambda o: ("POST", f"/files/{o.file['key']}/link", {}), 200, (404, "NOT_FOUND")),
    "list": (lambda o: ("GET", "/files?limit=100", None), 200, None),
    "search": (lambda o: ("GET", "/files?limit=100&search=photo", None), 200, None),
    "logs": (lambda o: ("GET", "/logs?limit=100", None), 200, None),
    "usage": (lambda o: ("GET", "/usage", None), 200, None),
    "usage history": (lambda o: ("GET", "/usage/history", None), 200, None),
    "upload token": (lambda o: ("POST", "/upload-tokens", {"routeSlug": "default"}), 201, None),
    "revoke upload token": (lambda o: ("DELETE", f"/upload-tokens/{o.token_id}", None), 200, (404, "NOT_FOUND")),
}


@pytest.fixture(scope="session")
def revoked_key(appliance: Appliance) -> str:
    key = appliance.new_key()
    assert appliance.call("GET", "/files", key=key).status == 200
    key_id = next(k["id"] for k in json.loads(appliance.run("keys", "list", "--json").stdout) if key.endswith(k["maskedKey"][-6:]))
    assert appliance.run("keys", "revoke", key_id).returncode == 0
    return key


@pytest.mark.parametrize("name", ENDPOINTS)
def test_each_endpoint_as_everybody(appliance: Appliance, outsider_key: str, test_key: str, revoked_key: str, name: str) -> None:
    """An account key of another project is a outsider to files, too: it acts on its own project."""
    call, owners_status, others = ENDPOINTS[name]
    owned = Owned(appliance)
    method, path, body = call(owned)
    for key in (outsider_key, appliance.new_key("--project", "other", "--access", "account"), test_key):
        answer = appliance.call(method, path, body, key=key)
        if others:
            assert (answer.status, answer.code) == others
            unknown = appliance.call(method, *_elsewhere(owned, path, body), key=key)
            assert _shape(unknown) == _shape(answer), "a outsider must not learn that it exists"
        else:
            assert answer.status == owners_status
            assert owned.file["id"].encode() not in answer.body
    for key, why in (
        ("", "needs an API key"),
        (revoked_key, "unknown or revoked"),
        ("uk_live_" + "x" * 32, "unknown or revoked"),
        ("nonsense", "malformed"),
    ):
        answer = appliance.call(method, path, body, key=key)
        assert (answer.status, answer.code) == (401, "UNAUTHORIZED")
        assert why in answer.json["error"]["message"]
    assert appliance.call(method, path, body).status == owners_status


SDK_ENDPOINTS: dict[str, tuple[Call, int, tuple[int, str] | None]] = {
    "request": (lambda o: ("POST", "/upload/request", NEW_FILE), 200, None),
    "complete": (lambda o: ("POST", "/upload/complete", {"fileId": o.slot["fileId"]}), 200, (404, "NOT_FOUND")),
    "multipart init": (lambda o: ("POST", "/upload/multipart/init", NEW_FILE | {"fileSize": 11 * MIB}), 200, None),
    "multipart complete": (lambda o: ("POST", "/upload/multipart/complete", o.part_ids), 422, (404, "NOT_FOUND")),
    "get": (lambda o: ("GET", f"/files/{o.file['key']}", None), 200, (404, "NOT_FOUND")),
    "update": (lambda o: ("PATCH", f"/files/{o.file['key']}", {"metadata": {}}), 200, (404, "NOT_FOUND")),
    "delete": (lambda o: ("DELETE", f"/files/{o.file['key']}", None), 200, (404, "NOT_FOUND")),
    "delete many": (lambda o: ("DELETE", "/files", {"keys": [o.file["key"]]}), 200, (404, "NOT_FOUND")),
    "list": (lambda o: ("GET", "/files?limit=100", None), 200, None),
    "own project": (lambda o: ("GET", "/projects/me", None), 200, None),
    "images": (lambda o: ("POST", "/transforms/image", {}), 501, None),
}


@pytest.mark.parametrize("name", SDK_ENDPOINTS)
def test_each_endpoint_of_the_sdk_door_as_everybody(
    appliance: Appliance, outsider_key: str, test_key: str, revoked_key: str, name: str
) -> None:
    call, owners_status, others = SDK_ENDPOINTS[name]
    owned = Owned(appliance)
    method, path, body = call(owned)

    def attempt(key: str, path: str = path, body: Any = body) -> Answer:
        headers = {"Authorization": f"Bearer {key}"} | ({} if body is None else {"Content-Type": "application/json"})
        return appliance.fetch(method, f"{appliance.base}/sdk/api/v1{path}", None if body is None else json.dumps(body).encode(), headers)

    for key in (outsider_key, test_key):
        answer = attempt(key)
        if others:
            assert (answer.status, answer.code) == others
            assert _shape(attempt(key, *_elsewhere(owned, path, body))) == _shape(answer), "a outsider must not learn that it exists"
        else:
            assert answer.status == owners_status
            assert owned.file["id"].encode() not in answer.body
    for key in ("", revoked_key, "uk_live_" + "x" * 32):
        answer = attempt(key)
        assert (answer.status, answer.code, answer.json["error"]["type"]) == (401, "UNAUTHORIZED", "authentication_error")
    assert attempt(appliance.key).status == owners_status


def _elsewhere(owned: Owned, path: str, body: Any) -> tuple[str, Any]:
    """The same call for something that nobody has."""
    for there in (owned.file["id"], owned.slot["fileId"], owned.multipart["fileId"], owned.token_id):
        nowhere = "0" * len(there)
        path = path.replace(there, nowhere)
        body = json.loads(json.dumps(body).replace(there, nowhere))
    return path, body


def _shape(answer: Answer) -> tuple[int, str]:
    message = answer.json["error"]["message"]
    return answer.status, "".join(c for c in message if not (c.isdigit() or c in "abcdef-"))


def test_a_revoked_key_stops_at_once(appliance: Appliance, revoked_key: str) -> None:
    answer = appliance.call("GET", "/files", key=revoked_key)
    assert (answer.status, answer.code) == (401, "UNAUTHORIZED")


def test_bearer_works_too_and_two_different_keys_do_not(appliance: Appliance, test_key: str) -> None:
    bearer = {"Authorization": f"Bearer {appliance.key}"}
    assert appliance.call("GET", "/files", key="", headers=bearer).status == 200
    assert appliance.call("GET", "/files", headers=bearer).status == 200
    assert appliance.call("GET", "/files", key=test_key, headers=bearer).status == 401


FOREIGN = ["gateway-key", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", "ukt_abc", "é", "UK_LIVE_x", ""]
SURFACES = ["/api/v1/files", "/sdk/api/v1/files", "/api/v1/nowhere"]


@pytest.mark.parametrize("path", SURFACES)
@pytest.mark.parametrize("foreign", FOREIGN)
def test_what_is_no_key_of_ours_is_no_attempt_beside_one(appliance: Appliance, path: str, foreign: str) -> None:
    """A gateway in between sends credentials of its own in the same two headers."""
    expected = 404 if path.endswith("nowhere") else 200
    for headers in (
        {"x-api-key": appliance.key, "Authorization": f"Bearer {foreign}".encode()},
        {"x-api-key": appliance.key, "Authorization": f"bearer {foreign}".encode()},
        {"x-api-key": appliance.key, "Authorization": f"Basic {foreign}".encode()},
        {"x-api-key": foreign.encode(), "Authorization": f"Bearer {appliance.key}"},
        {"x-api-key": foreign.encode(), "Authorization": f"Basic {foreign}".encode()},
        {"Authorization": f"Bearer {foreign or '-'}".encode()},
    ):
        answer = appliance.fetch("GET", f"{appliance.base}{path}", headers=headers)
        nothing_sent = not foreign and "x-api-key" in headers
        wanted = expected if appliance.key in str(headers) or (nothing_sent and expected == 404) else 401
        assert answer.status == wanted, (headers, answer.body)


@pytest.mark.parametrize("path", SURFACES)
def test_two_keys_of_ours_are_one_too_many_whether_they_are_right_or_not(appliance: Appliance, test_key: str, path: str) -> None:
    for one, other in ((appliance.key, test_key), (appliance.key, "uk_live_wrong"), ("uk_", appliance.key)):
        headers = {"x-api-key": one, "Authorization": f"Bearer {other}"}
        answer = appliance.fetch("GET", f"{appliance.base}{path}", headers=headers)
        assert answer.status == 401
        assert b"different keys" in answer.body
    assert appliance.call("GET", f"/files?x-api-key={appliance.key}", key="").status == 401


def test_the_sandbox_is_apart(appliance: Appliance, test_key: str) -> None:
    file = appliance.upload(JPEG, key=test_key)
    assert file["environment"] == "test"
    assert file["key"].startswith("test/")
    assert appliance.call("GET", f"/files/{file['key']}", key=test_key).status == 200
    assert appliance.call("GET", f"/files/{file['key']}").status == 404
    assert file["id"] not in {item["id"] for item in appliance.call("GET", "/files?limit=100").json["items"]}
    assert appliance.read(file["url"]).body == JPEG


def test_private_things_are_readable_by_their_owner_only(appliance: Appliance) -> None:
    assert appliance.data_dir.stat().st_mode & 0o777 == 0o700
    loose = [p for p in appliance.data_dir.iterdir() if p.is_file() and p.stat().st_mode & 0o077]
    assert not loose
