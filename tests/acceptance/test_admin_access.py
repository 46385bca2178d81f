"""Who may do what to projects, keys and file routes: every endpoint as everybody, and no way up."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.appliance import Answer, Appliance

pytestmark = pytest.mark.long

UNKNOWN = "00000000-0000-7000-8000-000000000000"
FORBIDDEN, HIDDEN = (403, "FORBIDDEN"), (404, "NOT_FOUND")


class Cast:
    """A project with one key of each kind and one of each thing; and a key of another project."""

    def __init__(self, appliance: Appliance, outsider_key: str) -> None:
        self.appliance = appliance
        self.project: str = make(appliance, "/projects", {"name": "Cast"})["id"]
        self.keys = {"account": appliance.key, "outsider": outsider_key}
        self.ids: dict[str, str] = {}
        for role, body in {
            "owner": {},
            "test": {"environment": "test"},
            "revoked": {},
            "spare": {},
            "spare test": {"environment": "test"},
            "spare account": {"access": "account"},
        }.items():
            made = make(appliance, f"/projects/{self.project}/keys", {"name": role, **body})
            self.keys[role], self.ids[role] = made["key"], made["id"]
        assert appliance.call("DELETE", f"/keys/{self.ids['revoked']}").json == {"revoked": True}
        self.route: str = make(appliance, f"/projects/{self.project}/file-routes", {"slug": "cast"})["id"]

    def call(self, role: str, method: str, path: str, body: Any) -> Answer:
        return self.appliance.call(method, path, body, key=self.keys[role])


def make(appliance: Appliance, path: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = appliance.call("POST", path, body)
    assert answer.status == 201, answer.body
    return dict(answer.json)


@pytest.fixture
def cast(appliance: Appliance, outsider_key: str) -> Cast:
    return Cast(appliance, outsider_key)


# call → what becomes of it for: an account key, the project's own live key, its test key, another project's key.
ENDPOINTS: dict[tuple[str, str], tuple[Any, Any, Any, Any, Any]] = {
    ("GET", "/projects"): (None, 200, FORBIDDEN, FORBIDDEN, FORBIDDEN),
    ("POST", "/projects"): ({"name": "x"}, 201, FORBIDDEN, FORBIDDEN, FORBIDDEN),
    ("GET", "/projects/{project}"): (None, 200, 200, 200, HIDDEN),
    ("PATCH", "/projects/{project}"): ({"name": "x"}, 200, FORBIDDEN, FORBIDDEN, FORBIDDEN),
    ("DELETE", "/projects/{project}"): (None, 200, FORBIDDEN, FORBIDDEN, FORBIDDEN),
    ("GET", "/projects/{project}/keys"): (None, 200, 200, 200, HIDDEN),
    ("POST", "/projects/{project}/keys"): ({"name": "x"}, 201, 201, FORBIDDEN, HIDDEN),
    ("DELETE", "/keys/{key}"): (None, 200, 200, FORBIDDEN, HIDDEN),
    ("GET", "/projects/{project}/file-routes"): (None, 200, 200, 200, HIDDEN),
    ("POST", "/projects/{project}/file-routes"): ({"slug": "x"}, 201, 201, FORBIDDEN, HIDDEN),
    ("GET", "/file-routes/{route}"): (None, 200, 200, 200, HIDDEN),
    ("PATCH", "/file-routes/{route}"): ({"visibility": "private"}, 200, 200, FORBIDDEN, HIDDEN),
    ("DELETE", "/file-routes/{route}"): (None, 200, 200, FORBIDDEN, HIDDEN),
}


@pytest.mark.parametrize(("method", "path"), ENDPOINTS)
def test_each_endpoint_as_everybody(cast: Cast, method: str, path: str) -> None:
    body, *expected = ENDPOINTS[method, path]
    own = path.format(project=cast.project, key=cast.ids["spare"], route=cast.route)
    nowhere = path.format(project=UNKNOWN, key=UNKNOWN, route=UNKNOWN)
    outcomes = dict(zip(("account", "owner", "test", "outsider"), expected, strict=True))
    for role in ("outsider", "test", "owner", "account"):  # those who may change something come last
        answer = cast.call(role, method, own, body)
        if isinstance(outcomes[role], tuple):
            assert (answer.status, answer.code) == outcomes[role], role
            unknown = cast.call(role, method, nowhere, body)
            assert shape(unknown, UNKNOWN) == shape(answer, cast.project, cast.ids["spare"], cast.route), "it must not show that it exists"
        elif answer.status == 409:  # the owner has just made it
            assert (role, method) == ("account", "POST")
        elif (role, method) == ("account", "DELETE") and outcomes["owner"] == 200 and not own.startswith("/keys"):
            assert answer.status == 404, "the owner has just deleted it"
        else:
            assert answer.status == outcomes[role], (role, answer.body)
    for key in (cast.keys["revoked"], "uk_live_" + "x" * 32, ""):
        answer = cast.appliance.call(method, own, body, key=key)
        assert (answer.status, answer.code) == (401, "UNAUTHORIZED")


def shape(answer: Answer, *ids: str) -> tuple[int, str]:
    text = json.dumps(answer.json)
    for known in ids:
        text = text.replace(known, "ID")
    return answer.status, text


# Every call by which somebody could come by a key that is stronger than the one they have.
UPWARDS: dict[str, tuple[str, str, str, Any, tuple[int, str]]] = {
    "make an account key": ("owner", "POST", "/projects/{project}/keys", {"name": "x", "access": "account"}, FORBIDDEN),
    "make one elsewhere": ("owner", "POST", "/projects/{home}/keys", {"name": "x", "access": "account"}, FORBIDDEN),
    "make a project key elsewhere": ("owner", "POST", "/projects/{home}/keys", {"name": "x"}, HIDDEN),
    "make a test account key": (
        "account",
        "POST",
        "/projects/{project}/keys",
        {"name": "x", "access": "account", "environment": "test"},
        FORBIDDEN,
    ),
    "test makes live": ("test", "POST", "/projects/{project}/keys", {"name": "x"}, FORBIDDEN),
    "test makes test": ("test", "POST", "/projects/{project}/keys", {"name": "x", "environment": "test"}, FORBIDDEN),
    "test makes account": ("test", "POST", "/projects/{project}/keys", {"name": "x", "access": "account"}, FORBIDDEN),
    "revoke an account key": ("owner", "DELETE", "/keys/{spare account}", None, HIDDEN),
    "test revokes account": ("test", "DELETE", "/keys/{spare account}", None, FORBIDDEN),
    "test revokes live": ("test", "DELETE", "/keys/{spare}", None, FORBIDDEN),
    "test revokes test": ("test", "DELETE", "/keys/{spare test}", None, FORBIDDEN),
    "see keys elsewhere": ("owner", "GET", "/projects/{home}/keys", None, HIDDEN),
    "raise the own tier": ("owner", "PATCH", "/projects/{project}", {"tier": "enterprise"}, FORBIDDEN),
    "raise the own limits": ("owner", "PATCH", "/projects/{project}", {"limits": {"maxKeys": "unlimited"}}, FORBIDDEN),
}


@pytest.mark.parametrize("name", UPWARDS)
def test_there_is_no_way_up(cast: Cast, name: str) -> None:
    role, method, path, body, outcome = UPWARDS[name]
    home = json.loads(cast.appliance.run("projects", "list", "--json").stdout)[0]["id"]
    answer = cast.call(role, method, path.format(project=cast.project, home=home, **cast.ids), body)
    assert (answer.status, answer.code) == outcome
    assert b"uk_" not in answer.body
    for spare in ("spare", "spare test", "spare account"):
        assert cast.appliance.call("GET", "/files", key=cast.keys[spare]).status == 200


@pytest.mark.parametrize(
    ("role", "seen"),
    [
        ("account", {"owner", "test", "spare", "spare test", "spare account"}),
        ("owner", {"owner", "test", "spare", "spare test"}),
        ("test", {"test", "spare test"}),
    ],
)
def test_nobody_sees_a_stronger_key(cast: Cast, role: str, seen: set[str]) -> None:
    path = f"/projects/{cast.project}/keys"
    assert {key["name"] for key in cast.call(role, "GET", path, None).json["items"]} == seen
    revoked = {key["name"] for key in cast.call(role, "GET", f"{path}?revoked=true", None).json["items"]}
    assert revoked == ({"revoked"} if role != "test" else set())


def test_a_project_key_manages_its_own_projects_keys(cast: Cast) -> None:
    path = f"/projects/{cast.project}/keys"
    made = cast.call("owner", "POST", path, {"name": "CI", "environment": "test"})
    assert made.status == 201
    assert made.json["key"].startswith("uk_test_")
    assert cast.call("owner", "DELETE", f"/keys/{made.json['id']}", None).json == {"revoked": True}
    assert cast.appliance.call("GET", "/files", key=made.json["key"]).status == 401
    assert cast.call("owner", "DELETE", f"/keys/{cast.ids['owner']}", None).json == {"revoked": True}, "also itself"
    assert cast.call("owner", "GET", path, None).status == 401
