"""`/usage`, `/usage/history`, `/logs` over HTTP, and `usage verify` beside a running appliance."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.appliance import JPEG, Appliance, running


def test_usage_of_a_project_of_ones_own(tmp_path: Path) -> None:
    with running(tmp_path, TIERS__PRO__REQUESTS_PER_MINUTE="250") as appliance:
        test_key = appliance.new_key("--test")
        empty = appliance.call("GET", "/usage").json
        assert set(empty) == {"period", "storageUsed", "storageReserved", "uploads", "limits"}
        file = appliance.upload(JPEG)
        appliance.upload(JPEG * 2, key=test_key)
        appliance.request(1000)
        now = appliance.call("GET", "/usage").json
        assert (now["storageUsed"], now["storageReserved"], now["uploads"]) == (len(JPEG), 1000, 1)
        assert now["limits"] == {
            "requestsPerMinute": 250,
            "maxKeys": 10,
            "maxFileSize": 512 * 1024**2,
            "maxStorage": 100 * 1024**3,
            "maxUploadsPerMonth": 50_000,
        }
        tested = appliance.call("GET", "/usage", key=test_key).json
        assert (tested["storageUsed"], tested["storageReserved"], tested["uploads"]) == (2 * len(JPEG), 0, 1)
        assert tested["limits"] == now["limits"] | {"maxStorage": None, "maxUploadsPerMonth": None}
        appliance.call("DELETE", f"/files/{file['key']}")
        history = appliance.call("GET", "/usage/history").json
        assert (len(history["items"]), history["nextCursor"], history["hasMore"]) == (12, None, False)
        assert history["items"][0] == {
            "period": now["period"],
            "uploads": 1,
            "bytesUploaded": len(JPEG),
            "bytesDeleted": len(JPEG),
        }
        _verify(appliance)


def _verify(appliance: Appliance) -> None:
    """Counters agree; a wrong one is told, then set right, all beside the running appliance."""
    good = appliance.run("usage", "verify")
    assert (good.returncode, good.stdout.strip()) == (0, "All counters agree with the rows.")
    with closing(sqlite3.connect(appliance.data_dir / "uploadkit.db", timeout=10)) as connection, connection:
        connection.execute("UPDATE project SET storage_used_bytes = storage_used_bytes + 5")
    bad = appliance.run("usage", "verify")
    assert bad.returncode == 1
    assert re.search(r"live: storage_used_bytes is 5, the rows say 0\n1 differ\.", bad.stdout)
    reported = appliance.run("usage", "verify", "--json")
    assert reported.returncode == 1
    (difference,) = json.loads(reported.stdout)["differences"]
    assert (difference["counter"], difference["counted"], difference["recomputed"]) == ("storage_used_bytes", 5, 0)
    fixed = appliance.run("usage", "verify", "--fix")
    assert fixed.returncode == 0
    assert "1 set right." in fixed.stdout
    assert json.loads(appliance.run("usage", "verify", "--json").stdout) == {"fixed": False, "differences": []}
    assert appliance.call("GET", "/usage").json["storageUsed"] == 0


def test_the_log_tells_the_story_of_an_upload(appliance: Appliance, outsider_key: str, test_key: str) -> None:
    before = appliance.call("GET", "/logs?limit=1").json["items"]
    file = appliance.upload(JPEG, "log é.jpg", metadata={"album": "summer"})
    broken = appliance.request(len(JPEG)).json
    appliance.put(broken, b"%PDF-".ljust(len(JPEG)))
    appliance.complete(broken)
    appliance.call("DELETE", f"/files/{file['key']}")
    entries = [entry for entry in appliance.call("GET", "/logs?limit=100").json["items"] if entry["fileId"] == file["id"]]
    assert [(entry["event"], entry["status"]) for entry in entries] == [
        ("file.deleted", "DELETED"),
        ("upload.completed", "UPLOADED"),
        ("upload.requested", "UPLOADING"),
    ]
    assert set(entries[0]) == {
        "id", "at", "event", "fileId", "key", "fileName", "routeSlug", "environment", "status", "detail", "metadata",
    }  # fmt: skip
    assert (entries[0]["key"], entries[0]["fileName"], entries[0]["metadata"]) == (file["key"], "log é.jpg", {"album": "summer"})
    (failed,) = (
        entry for entry in appliance.call("GET", "/logs?limit=100&status=FAILED").json["items"] if entry["fileId"] == broken["fileId"]
    )
    assert failed["event"] == "upload.failed"
    assert "looks like a PDF" in failed["detail"]
    for key in (outsider_key, test_key):
        assert file["id"].encode() not in appliance.call("GET", "/logs?limit=100", key=key).body
    since = appliance.call("GET", f"/logs?limit=100&since={entries[-1]['at']}").json["items"]
    assert {entry["fileId"] for entry in since} >= {file["id"]}
    assert not {entry["id"] for entry in before} & {entry["id"] for entry in since}


def test_the_log_is_paged(appliance: Appliance) -> None:
    for _ in range(3):
        appliance.request(5)
    whole = [entry["id"] for entry in appliance.call("GET", "/logs?limit=6").json["items"]]
    first = appliance.call("GET", "/logs?limit=3").json
    second = appliance.call("GET", f"/logs?limit=3&cursor={first['nextCursor']}").json
    assert [entry["id"] for entry in (*first["items"], *second["items"])] == whole


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("since=yesterday", "since"),
        ("since=", "since"),
        ("since=2026-13-01", "since"),
        ("since=1790000000000", "since"),
        ("status=done", "status"),
        ("limit=0", "limit"),
        ("cursor=x", "cursor"),
    ],
)
def test_bad_queries_of_the_log_name_the_field(appliance: Appliance, query: str, field: str) -> None:
    answer = appliance.call("GET", f"/logs?{query}")
    assert (answer.status, answer.code) == (400, "VALIDATION_ERROR")
    assert list(answer.json["error"]["details"]) == [field]
