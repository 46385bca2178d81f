"""Keys for outsiders and for the sandbox, made by the API: three commands would take seconds."""

from __future__ import annotations

import pytest

from tests.support.appliance import Appliance


def new_key(appliance: Appliance, project_id: str, environment: str = "live") -> str:
    made = appliance.call("POST", f"/projects/{project_id}/keys", {"name": "x", "environment": environment})
    assert made.status == 201, made.body
    return str(made.json["key"])


@pytest.fixture(scope="session")
def outsider_key(appliance: Appliance) -> str:
    """A key of another project."""
    return new_key(appliance, appliance.call("POST", "/projects", {"name": "Outsiders"}).json["id"])


@pytest.fixture(scope="session")
def test_key(appliance: Appliance) -> str:
    """A key for the sandbox of the first project."""
    (project,) = (project for project in appliance.call("GET", "/projects?limit=100").json["items"] if project["slug"] == "default")
    return new_key(appliance, project["id"], "test")
