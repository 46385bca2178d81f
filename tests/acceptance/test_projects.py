"""Projects over HTTP: make, list, change, delete."""

from __future__ import annotations

import json
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support.appliance import JPEG, Appliance, running, wait_until

GB = 1024**3


def make(appliance: Appliance, **body: Any) -> dict[str, Any]:
    answer = appliance.call("POST", "/projects", {"name": "Photos", **body})
    assert answer.status == 201, answer.body
    return dict(answer.json)


def test_a_new_project(appliance: Appliance) -> None:
    made = make(appliance, name="  Ünïcode & Co  ")
    assert set(made) == {"id", "name", "slug", "tier", "limits", "limitOverrides", "retentionDays", "createdAt", "updatedAt"}
    assert (made["name"], made["tier"], made["retentionDays"]) == ("Ünïcode & Co", "pro", None)
    assert made["slug"].startswith("unicode-co")
    assert set(made["limits"]) == {"requestsPerMinute", "maxKeys", "maxFileSize", "maxStorage", "maxUploadsPerMonth"}
    assert made["limits"]["maxStorage"] == 100 * GB
    assert appliance.call("GET", f"/projects/{made['id']}").json == made
    routes = appliance.call("GET", f"/projects/{made['id']}/file-routes").json["items"]
    assert [(route["slug"], route["maxFileSize"], route["allowedTypes"]) for route in routes] == [("default", None, ["*/*"])]
    assert appliance.call("GET", f"/projects/{made['id']}/keys").json["items"] == []


def test_lists_newest_first_in_pages(appliance: Appliance) -> None:
    made = [make(appliance)["id"] for _ in range(4)]
    seen: list[str] = []
    cursor = ""
    while True:
        page = appliance.call("GET", f"/projects?limit=2{cursor}").json
        seen += [project["id"] for project in page["items"]]
        if not page["hasMore"]:
            assert page["nextCursor"] is None
            break
        cursor = f"&cursor={page['nextCursor']}"
    assert seen[:4] == made[::-1]
    assert len(seen) == len(set(seen))


def test_limits_hold_at_the_next_request(appliance: Appliance) -> None:
    project = make(appliance)
    path = f"/projects/{project['id']}"
    key = appliance.call("POST", f"{path}/keys", {"name": "x"}).json["key"]
    assert appliance.request(1000, key=key).status == 200
    changed = appliance.call("PATCH", path, {"limits": {"maxFileSize": 999, "maxStorage": "1TB", "maxKeys": "unlimited"}}).json
    assert changed["limits"] | {"maxFileSize": 999, "maxStorage": 1024 * GB, "maxKeys": None} == changed["limits"]
    assert changed["limitOverrides"] == {"maxFileSize": 999, "maxStorage": 1024 * GB, "maxKeys": "unlimited"}
    refused = appliance.request(1000, key=key)
    assert (refused.status, refused.code) == (413, "FILE_TOO_LARGE")
    written_back = appliance.call("PATCH", path, {"limits": changed["limitOverrides"]}).json
    assert written_back == changed
    assert (
        appliance.call("PATCH", path, {"limits": {"maxFileSize": None}}).json["limits"]["maxFileSize"] == project["limits"]["maxFileSize"]
    )
    assert appliance.request(1000, key=key).status == 200
    free = appliance.call("PATCH", path, {"tier": "free", "limits": {"maxStorage": None}}).json
    assert (free["limits"]["maxStorage"], free["limits"]["maxKeys"]) == (5 * GB, None), "its own limit outlives the tier"
    assert appliance.request(5 * 1024**2, key=key).code == "FILE_TOO_LARGE"
    own = appliance.call("GET", "/usage", key=key).json
    assert own["limits"] == free["limits"]


def test_what_is_left_out_stays(appliance: Appliance) -> None:
    project = make(appliance)
    path = f"/projects/{project['id']}"
    changed = appliance.call("PATCH", path, {"name": "New", "retentionDays": 30}).json
    assert changed == project | {"name": "New", "retentionDays": 30, "updatedAt": changed["updatedAt"]}
    assert changed["updatedAt"] >= project["updatedAt"]
    assert appliance.call("PATCH", path, {}).json == changed, "nothing was changed, so it was not updated either"
    assert appliance.call("PATCH", path, {"retentionDays": None}).json["retentionDays"] is None


@pytest.mark.parametrize(
    ("method", "body", "field"),
    [
        ("POST", {}, "name"),
        ("POST", {"name": ""}, "name"),
        ("POST", {"name": " \t"}, "name"),
        ("POST", {"name": "a\0b"}, "name"),
        ("POST", {"name": "x" * 101}, "name"),
        ("POST", {"name": 5}, "name"),
        ("POST", {"name": "x", "tier": "gold"}, "tier"),
        ("PATCH", {"name": None}, "name"),
        ("PATCH", {"tier": "gold"}, "tier"),
        ("PATCH", {"tier": None}, "tier"),
        ("PATCH", {"limits": None}, "limits"),
        ("PATCH", {"limits": {"maxKeys": 0}}, "limits.maxKeys"),
        ("PATCH", {"limits": {"maxKeys": 2**53}}, "limits.maxKeys"),
        ("PATCH", {"limits": {"maxKeys": True}}, "limits.maxKeys"),
        ("PATCH", {"limits": {"maxStorage": "lots"}}, "limits.maxStorage"),
        ("PATCH", {"limits": {"maxkeys": 5}}, "limits.maxkeys"),
        ("PATCH", {"retentionDays": 0}, "retentionDays"),
        ("PATCH", {"retentionDays": 36_501}, "retentionDays"),
    ],
)
def test_what_is_refused_names_the_field(appliance: Appliance, method: str, body: dict[str, Any], field: str) -> None:
    path = "/projects" if method == "POST" else f"/projects/{make(appliance)['id']}"
    answer = appliance.call(method, path, body)
    assert (answer.status, answer.code) == (400, "VALIDATION_ERROR")
    assert list(answer.json["error"]["details"]) == [field]


def test_repeated_with_an_idempotency_key(appliance: Appliance) -> None:
    headers = {"Idempotency-Key": "one project please"}
    first = appliance.call("POST", "/projects", {"name": "Once"}, headers=headers)
    again = appliance.call("POST", "/projects", {"name": "Once"}, headers=headers)
    assert (first.status, again.status) == (201, 201)
    assert first.json == again.json
    other = appliance.call("POST", "/projects", {"name": "Twice"}, headers=headers)
    assert (other.status, other.code) == (409, "IDEMPOTENCY_CONFLICT")


def test_deleting(tmp_path: Path) -> None:
    with running(tmp_path, HOUSEKEEPING__INTERVAL_SECONDS="1") as appliance:
        project = make(appliance)
        keys = [appliance.call("POST", f"/projects/{project['id']}/keys", {"name": "x"}).json["key"] for _ in range(2)]
        file = appliance.upload(JPEG, key=keys[0])
        location = appliance.fetch("GET", file["url"]).headers["Location"]
        assert appliance.call("DELETE", f"/projects/{project['id']}").json == {"deleted": True}
        for key in keys:
            assert appliance.call("GET", "/files", key=key).status == 401, "its keys stop working at once"
        again = appliance.call("DELETE", f"/projects/{project['id']}")
        assert (again.status, again.code) == (404, "NOT_FOUND")
        for path in ("", "/keys", "/file-routes"):
            assert appliance.call("GET", f"/projects/{project['id']}{path}").status == 404
        assert project["id"] not in {item["id"] for item in appliance.call("GET", "/projects?limit=100").json["items"]}
        assert make(appliance)["slug"] == project["slug"], "its slug is free again"
        wait_until(lambda: appliance.fetch("GET", file["url"]).status == 404, 20, "the file to be unreadable")
        wait_until(lambda: appliance.fetch("GET", location).status == 404, 20, "the object to go from the store")


def test_the_number_of_projects_is_never_exceeded(tmp_path: Path) -> None:
    with running(tmp_path, LIMITS__MAX_PROJECTS="3", TIERS__PRO__REQUESTS_PER_MINUTE="") as appliance:
        start = threading.Barrier(16)

        def go(_: int) -> str:
            start.wait()
            answer = appliance.call("POST", "/projects", {"name": "x"})
            return "made" if answer.status == 201 else answer.code

        with ThreadPoolExecutor(16) as pool:
            assert Counter(pool.map(go, range(16))) == {"made": 2, "CONFLICT": 14}
        refused = appliance.call("POST", "/projects", {"name": "x"})
        assert "limits.max_projects" in refused.json["error"]["suggestion"]
        spare = appliance.call("GET", "/projects").json["items"][0]["id"]
        appliance.call("DELETE", f"/projects/{spare}")
        assert make(appliance)


def test_the_last_account_key_keeps_its_project(tmp_path: Path) -> None:
    with running(tmp_path, TIERS__PRO__REQUESTS_PER_MINUTE="") as appliance:
        home = json.loads(appliance.run("projects", "list", "--json").stdout)[0]["id"]
        refused = appliance.call("DELETE", f"/projects/{home}")
        assert (refused.status, refused.code) == (409, "CONFLICT")
        assert "account" in refused.json["error"]["suggestion"]
        (first,) = appliance.call("GET", f"/projects/{home}/keys").json["items"]
        assert appliance.call("DELETE", f"/keys/{first['id']}").code == "CONFLICT"
        second = appliance.call("POST", f"/projects/{home}/keys", {"name": "two", "access": "account"}).json
        assert appliance.call("DELETE", f"/projects/{home}").code == "CONFLICT", "both are in the same project"
        assert appliance.call("DELETE", f"/keys/{second['id']}").status == 200
        for _ in range(5):
            other = make(appliance)["id"]
            elsewhere = appliance.call("POST", f"/projects/{other}/keys", {"name": "three", "access": "account"}).json
            both = [(appliance.key, first["id"], home), (elsewhere["key"], elsewhere["id"], other)]
            start = threading.Barrier(4)

            def go(path: str, key: str, start: threading.Barrier = start) -> int:
                start.wait()
                return appliance.call("DELETE", path, key=key).status

            # Two projects with one account key each; both are deleted and both keys revoked at the same moment.
            calls = [(path, key) for key, key_id, project in both for path in (f"/projects/{project}", f"/keys/{key_id}")]
            with ThreadPoolExecutor(4) as pool:
                list(pool.map(go, *zip(*calls, strict=True)))
            left = [(key, key_id, project) for key, key_id, project in both if appliance.call("GET", "/projects", key=key).status == 200]
            assert len(left) == 1, "exactly one account key must be left"
            appliance.key, _, home = left[0]
            (first,) = [k for k in appliance.call("GET", f"/projects/{home}/keys").json["items"] if k["access"] == "account"]
