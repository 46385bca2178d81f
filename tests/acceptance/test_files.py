"""Lists, metadata and deletion."""

from __future__ import annotations

import base64
import sqlite3
from contextlib import closing
from urllib.parse import urlencode

import pytest

from tests.support.appliance import JPEG, Answer, Appliance, wait_until


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


def test_filters_on_the_wire(appliance: Appliance, own_key: str) -> None:
    first = appliance.request(5, "Grüße 100%.jpg", key=own_key).json["fileId"]

    def made_at(file_id: str) -> str:
        return str(appliance.call("GET", f"/files/by-id/{file_id}", key=own_key).json["createdAt"])

    between = made_at(first)
    wait_until(lambda: made_at(appliance.request(5, "x", "a/x", key=own_key).json["fileId"]) > between, 10, "the clock to move on")
    second = appliance.request(5, "grüsse.mp4", 'video/mp4; codecs="avc1"', key=own_key).json["fileId"]

    def ids(**query: str) -> list[str]:
        page = appliance.call("GET", f"/files?{urlencode(query)}", key=own_key).json
        return [item["id"] for item in page["items"] if not item["fileName"].startswith("x")]

    assert ids(search="GRÜ") == [second, first]
    assert ids(search="100%") == [first]
    assert ids(search="ß") == [first]
    assert ids(contentType="video/*") == ids(contentType="video/mp4") == [second]
    assert ids(contentType="*/*") == [second, first]
    moment = made_at(second)
    assert ids(since=moment) == [second]
    assert ids(until=moment) == [first]
    assert ids(since=moment.replace("Z", "+00:00")) == [second]
    assert ids(since="2020-01-01", until="2100-01-01") == [second, first]
    assert ids(since="0001-01-01T00:00:00+14:00", until="9999-12-31T23:59:59.999999-12:00") == [second, first]
    assert ids(search="gr", contentType="image/jpeg", status="UPLOADING", routeSlug="default", since=between) == [first]


def test_deleting_many(appliance: Appliance, own_key: str, outsider_key: str) -> None:
    done = [appliance.upload(JPEG, key=own_key) for _ in range(3)]
    pending = appliance.request(5, key=own_key).json
    foreign = appliance.upload(JPEG, key=outsider_key)

    def delete(*keys: str) -> Answer:
        return appliance.call("DELETE", "/files", {"keys": keys}, key=own_key)

    all_gone = delete(done[0]["key"], done[0]["key"], pending["key"])
    assert (all_gone.status, all_gone.json) == (200, {"deleted": 2, "failed": 0, "failures": [], "reclaimedBytes": len(JPEG)})
    partly = delete(done[1]["key"], foreign["key"], done[0]["key"], done[2]["key"])
    assert partly.status == 207
    assert (partly.json["deleted"], partly.json["failed"], partly.json["reclaimedBytes"]) == (2, 2, 2 * len(JPEG))
    assert [(failure["key"], failure["code"]) for failure in partly.json["failures"]] == [
        (foreign["key"], "NOT_FOUND"),
        (done[0]["key"], "NOT_FOUND"),
    ]
    none = delete(done[1]["key"], "nowhere")
    assert (none.status, none.code) == (404, "NOT_FOUND")
    assert (none.json["deleted"], none.json["failed"], none.json["reclaimedBytes"]) == (0, 2, 0)
    assert appliance.call("GET", f"/files/{foreign['key']}", key=outsider_key).status == 200
    assert appliance.call("GET", f"/files/by-id/{pending['fileId']}", key=own_key).json["status"] == "FAILED"


@pytest.mark.parametrize(
    "body", [{}, {"keys": []}, {"keys": "a"}, {"keys": [""]}, {"keys": [1]}, {"keys": ["a"] * 101}, {"keys": ["a" * 1025]}, {"keys": None}]
)
def test_bad_lists_of_keys_name_the_field(appliance: Appliance, body: object) -> None:
    answer = appliance.call("DELETE", "/files", body)
    assert (answer.status, answer.code) == (400, "VALIDATION_ERROR")
    assert all(field.startswith("keys") for field in answer.json["error"]["details"])


def test_deletions_are_in_the_audit_trail(appliance: Appliance) -> None:
    files = [appliance.upload(JPEG) for _ in range(2)]
    slot = appliance.request(5).json
    appliance.call("DELETE", f"/files/{files[0]['key']}")
    appliance.call("DELETE", "/files", {"keys": [files[1]["key"], slot["key"], "nowhere"]})
    with closing(sqlite3.connect(appliance.data_dir / "uploadkit.db")) as connection:
        trail = connection.execute(
            "SELECT actor, action, subject_kind FROM audit WHERE subject_id IN (?, ?, ?)", (files[0]["id"], files[1]["id"], slot["fileId"])
        ).fetchall()
    assert len(trail) == 3
    assert {(action, kind) for _, action, kind in trail} == {("deleted", "file")}
    assert len({actor for actor, _, _ in trail}) == 1


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("since=yesterday", "since"),
        ("since=2026-04-08T12:00:00+02:00", "since"),
        ("until=2026-04-31", "until"),
        ("until=", "until"),
        ("contentType=image", "contentType"),
        ("contentType=", "contentType"),
        ("contentType=image/png;q=1", "contentType"),
        ("search=" + "x" * 256, "search"),
        ("routeSlug=" + "x" * 101, "routeSlug"),
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
    wait_until(lambda: appliance.fetch("GET", location).status == 404, 10, "the object to go from the store")


def test_head_of_a_files_url(appliance: Appliance) -> None:
    file = appliance.upload(JPEG)
    location = appliance.fetch("HEAD", file["url"]).headers["Location"]
    head = appliance.fetch("HEAD", location)
    assert (head.status, head.headers["Content-Length"]) == (200, str(len(JPEG)))
