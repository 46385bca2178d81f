"""API keys over HTTP: shown once, masked, counted, revoked at the very next request."""

from __future__ import annotations

import re
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support.appliance import Appliance, running


@pytest.fixture
def path(appliance: Appliance) -> str:
    """The path of the keys of a project that is this test's own."""
    return f"/projects/{appliance.call('POST', '/projects', {'name': 'Keys'}).json['id']}/keys"


def test_the_plaintext_is_shown_once(appliance: Appliance, path: str) -> None:
    made = appliance.call("POST", path, {"name": " CI "}).json
    assert re.fullmatch(r"uk_live_[A-Za-z0-9_-]{32}", made["key"])
    assert made["maskedKey"] == made["key"][:11] + "..." + made["key"][-6:]
    assert (made["name"], made["environment"], made["access"], made["lastUsedAt"], made["revokedAt"]) == (
        "CI",
        "live",
        "project",
        None,
        None,
    )
    listed = appliance.call("GET", path)
    assert listed.json["items"] == [{name: value for name, value in made.items() if name != "key"}]
    assert made["key"].encode() not in listed.body
    assert made["key"] not in appliance.log()
    for file in appliance.data_dir.glob("uploadkit.db*"):
        assert made["key"].encode() not in file.read_bytes()


def test_last_use_is_noted(appliance: Appliance, path: str) -> None:
    made = appliance.call("POST", path, {"name": "x"}).json
    appliance.call("GET", "/files", key=made["key"])
    (listed,) = appliance.call("GET", path).json["items"]
    assert listed["lastUsedAt"] >= made["createdAt"]


def test_a_revoked_key_stops_at_the_next_request(appliance: Appliance, path: str) -> None:
    made = [appliance.call("POST", path, {"name": str(n)}).json for n in range(2)]
    for key in made:
        assert appliance.call("GET", "/files", key=key["key"]).status == 200
    assert appliance.call("DELETE", f"/keys/{made[0]['id']}").json == {"revoked": True}
    assert appliance.call("GET", "/files", key=made[0]["key"]).status == 401
    assert appliance.run("keys", "revoke", made[1]["id"]).returncode == 0, "another process"
    assert appliance.call("GET", "/files", key=made[1]["key"]).status == 401
    assert appliance.call("DELETE", f"/keys/{made[0]['id']}").json == {"revoked": True}, "repeating it changes nothing"
    assert appliance.call("GET", path).json["items"] == []
    revoked = appliance.call("GET", f"{path}?revoked=true").json["items"]
    assert [key["id"] for key in revoked] == [made[1]["id"], made[0]["id"]]
    assert all(key["revokedAt"] >= key["createdAt"] for key in revoked)


def test_pages(appliance: Appliance, path: str) -> None:
    made = [appliance.call("POST", path, {"name": str(n)}).json["id"] for n in range(5)]
    first = appliance.call("GET", f"{path}?limit=3").json
    second = appliance.call("GET", f"{path}?limit=3&cursor={first['nextCursor']}").json
    assert [key["id"] for key in first["items"] + second["items"]] == made[::-1]
    assert (first["hasMore"], second["hasMore"], second["nextCursor"]) == (True, False, None)
    assert appliance.call("GET", f"{path}?cursor=nonsense").code == "VALIDATION_ERROR"
    assert appliance.call("GET", f"{path}?revoked=perhaps").code == "VALIDATION_ERROR"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ({"name": "  "}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"name": "x\n"}, "name"),
        ({"name": "x", "environment": "staging"}, "environment"),
        ({"name": "x", "access": "admin"}, "access"),
    ],
)
def test_what_is_refused_names_the_field(appliance: Appliance, path: str, body: dict[str, Any], field: str) -> None:
    answer = appliance.call("POST", path, body)
    assert (answer.status, answer.code) == (400, "VALIDATION_ERROR")
    assert list(answer.json["error"]["details"]) == [field]


def test_50_threads_at_the_limit(tmp_path: Path) -> None:
    with running(tmp_path, TIERS__PRO__REQUESTS_PER_MINUTE="") as appliance:
        project = appliance.call("POST", "/projects", {"name": "x"}).json
        path = f"/projects/{project['id']}/keys"
        for name in ("one", "two", "three"):
            appliance.call("POST", path, {"name": name})
        start = threading.Barrier(50)

        def go(_: int) -> str:
            start.wait()
            answer = appliance.call("POST", path, {"name": "x"})
            return "made" if answer.status == 201 else answer.code

        with ThreadPoolExecutor(50) as pool:
            assert Counter(pool.map(go, range(50))) == {"made": 7, "TIER_LIMIT_EXCEEDED": 43}
        keys = appliance.call("GET", f"{path}?limit=100").json["items"]
        assert len(keys) == 10
        appliance.call("DELETE", f"/keys/{keys[0]['id']}")
        assert appliance.call("POST", path, {"name": "x"}).status == 201, "a revoked key makes room"
        refused = appliance.call("POST", path, {"name": "x"})
        assert (refused.status, refused.code) == (403, "TIER_LIMIT_EXCEEDED")
        assert "allows 10 active keys" in refused.json["error"]["message"]
        appliance.call("PATCH", f"/projects/{project['id']}", {"tier": "team"})
        assert appliance.call("POST", path, {"name": "x"}).status == 201, "a larger tier holds at once"
