"""Lists, metadata and deletion (api.md sections 5 and 7)."""

from __future__ import annotations

import base64

import pytest

from tests.appliance import JPEG, Appliance


@pytest.fixture
def own_key(appliance: Appliance, request: pytest.FixtureRequest) -> str:
    """A key of a project that is this test's own."""
    name = f"files {request.node.name}"
    appliance.run("projects", "create", name)
    slug = "".join(c if c.isalnum() else "-" for c in name.lower()).strip("-")
    return appliance.new_key("--project", slug)


def test_pages_newest_first(appliance: Appliance, own_key: str) -> None:
    made = [appliance.request(5, f"{n}.jpg", key=own_key).json["fileId"] for n in range(7)]
    seen, cursor, pages = [], "", 0
    while True:
        page = appliance.call("GET", f"/files?limit=3{cursor}", key=own_key).json
        assert set(page) == {"items", "nextCursor", "hasMore"}
        assert page["hasMore"] == (page["nextCursor"] is not None)
        seen += [item["id"] for item in page["items"]]
        pages += 1
        if pages == 1:  # what comes in between belongs to no later page
            appliance.request(5, "late.jpg", key=own_key)
        if not page["hasMore"]:
            break
        cursor = f"&cursor={page['nextCursor']}"
    assert seen == made[::-1]
    assert pages == 3


def test_filters(appliance: Appliance, own_key: str) -> None:
    done = appliance.upload(JPEG, key=own_key)
    pending = appliance.request(5, key=own_key).json

    def ids(query: str) -> list[str]:
        return [item["id"] for item in appliance.call("GET", f"/files?{query}", key=own_key).json["items"]]

    assert ids("status=UPLOADED") == [done["id"]]
    assert ids("status=UPLOADING") == [pending["fileId"]]
    assert ids("routeSlug=default") == [pending["fileId"], done["id"]]
    assert ids("routeSlug=other") == []
    appliance.call("DELETE", f"/files/{done['key']}", key=own_key)
    assert ids("") == [pending["fileId"]]
    assert ids("status=DELETED") == [done["id"]]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=x", "limit"),
        ("status=GONE", "status"),
        ("cursor=nonsense", "cursor"),
        ("cursor=" + base64.urlsafe_b64encode(b'["a", 1]').decode(), "cursor"),
        ("cursor=" + base64.urlsafe_b64encode(b"[" * 500).decode(), "cursor"),
        ("cursor=%00", "cursor"),
        ("cursor=%F0%9F%98%80", "cursor"),
    ],
)
def test_bad_queries_name_the_field(appliance: Appliance, query: str, field: str) -> None:
    answer = appliance.call("GET", f"/files?{query}")
    assert (answer.status, answer.code) == (400, "VALIDATION_ERROR")
    assert list(answer.json["error"]["details"]) == [field]


def test_metadata_merges(appliance: Appliance) -> None:
    file = appliance.upload(JPEG, metadata={"a": 1, "b": 1})
    changed = appliance.call("PATCH", f"/files/{file['key']}", {"metadata": {"b": 2, "ü": "\0"}}).json
    assert changed["metadata"] == {"a": 1, "b": 2, "ü": "\0"}
    assert changed["updatedAt"] >= file["updatedAt"]
    assert appliance.call("GET", f"/files/{file['key']}").json == changed
    grown = appliance.call("PATCH", f"/files/{file['key']}", {"metadata": {"big": "x" * 8180}})
    assert (grown.status, grown.code) == (400, "VALIDATION_ERROR")
    assert appliance.call("GET", f"/files/{file['key']}").json == changed


def test_deleting(appliance: Appliance) -> None:
    file = appliance.upload(JPEG)
    location = appliance.fetch("GET", file["url"]).headers["Location"]
    assert appliance.call("DELETE", f"/files/{file['key']}").json == {"deleted": True}
    again = appliance.call("DELETE", f"/files/{file['key']}")
    assert (again.status, again.code) == (404, "NOT_FOUND")
    assert appliance.call("GET", f"/files/{file['key']}").status == 404
    assert appliance.fetch("GET", file["url"]).status == 404
    from tests.appliance import wait_until

    wait_until(lambda: appliance.fetch("GET", location).status == 404, 10, "the object to go from the store")


def test_head_of_a_files_url(appliance: Appliance) -> None:
    file = appliance.upload(JPEG)
    location = appliance.fetch("HEAD", file["url"]).headers["Location"]
    head = appliance.fetch("HEAD", location)
    assert (head.status, head.headers["Content-Length"]) == (200, str(len(JPEG)))
