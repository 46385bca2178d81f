"""The test sandbox over HTTP: apart from the live files in every endpoint, and empty again after its time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.appliance import JPEG, Appliance, running, wait_until


def everything(appliance: Appliance, key: str | None) -> dict[str, Any]:
    """All that a key can see of files, by endpoint."""
    paths = (
        "/files?limit=100",
        "/files?limit=100&search=photo",
        "/files?limit=100&status=DELETED",
        "/logs?limit=100",
        "/usage",
        "/usage/history",
    )
    return {path: appliance.call("GET", path, key=key).json for path in paths}


def test_neither_side_sees_or_changes_the_other(tmp_path: Path) -> None:
    with running(tmp_path) as appliance:
        test_key = appliance.new_key("--test")
        live, test = appliance.upload(JPEG), appliance.upload(JPEG * 2, key=test_key)
        before = {key: everything(appliance, key) for key in (None, test_key)}
        for key, own, foreign in ((None, live, test), (test_key, test, live)):
            seen = json.dumps(before[key])
            assert own["id"] in seen
            assert foreign["id"] not in seen
            for method, path, body in (
                ("GET", f"/files/{foreign['key']}", None),
                ("GET", f"/files/by-id/{foreign['id']}", None),
                ("PATCH", f"/files/{foreign['key']}", {"metadata": {"x": 1}}),
                ("DELETE", f"/files/{foreign['key']}", None),
                ("POST", f"/files/{foreign['key']}/link", {}),
                ("POST", "/upload/complete", {"fileId": foreign["id"]}),
                ("DELETE", "/files", {"keys": [foreign["key"]]}),
            ):
                assert appliance.call(method, path, body, key=key).status == 404, (method, path)
        assert {key: everything(appliance, key) for key in (None, test_key)} == before


@pytest.mark.long
def test_test_files_are_purged_by_themselves(tmp_path: Path) -> None:
    with running(tmp_path, HOUSEKEEPING__TEST_FILE_TTL_SECONDS="1", HOUSEKEEPING__INTERVAL_SECONDS="1") as appliance:
        test_key = appliance.new_key("--test")
        live = appliance.upload(JPEG)
        location = appliance.fetch("GET", live["url"]).headers["Location"]
        test = appliance.upload(JPEG, key=test_key)
        unfinished = appliance.request(len(JPEG), key=test_key).json
        wait_until(lambda: appliance.fetch("GET", test["url"]).status == 404, 30, "the test file to go")
        wait_until(lambda: not appliance.call("GET", "/files", key=test_key).json["items"], 30, "the unfinished upload to go")
        assert appliance.complete(unfinished, key=test_key).code == "UPLOAD_NOT_FOUND"
        assert appliance.fetch("GET", location).status == 200
        log = appliance.call("GET", "/logs?limit=100&status=DELETED", key=test_key).json["items"]
        assert {entry["fileId"] for entry in log} == {test["id"], unfinished["fileId"]}
        assert appliance.run("usage", "verify").returncode == 0
