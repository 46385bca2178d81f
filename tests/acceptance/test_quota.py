"""Quota is reserved at request, settled at complete, released when nothing came of it."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from tests.support.appliance import JPEG, Appliance
from uploadkit.core.sizes import MIB


def key_of_a_project(appliance: Appliance, environment: str = "live", **limits: int) -> str:
    """A key of a new project that has these limits."""
    path = f"/projects/{appliance.call('POST', '/projects', {'name': 'Quota'}).json['id']}"
    assert appliance.call("PATCH", path, {"limits": limits}).status == 200
    return str(appliance.call("POST", f"{path}/keys", {"name": "quota", "environment": environment}).json["key"])


def test_200_requests_at_once_for_one_slot(appliance: Appliance) -> None:
    key = key_of_a_project(appliance, maxStorage=10 * MIB + 50, maxUploadsPerMonth=1000)
    assert appliance.request(10 * MIB, key=key).status == 200
    start = threading.Barrier(32)

    def go(number: int) -> str:
        if number < 32:
            start.wait()
        answer = appliance.request(50, f"{number}.jpg", key=key)
        return "accepted" if answer.status == 200 else answer.code

    with ThreadPoolExecutor(32) as pool:
        outcomes = Counter(pool.map(go, range(200)))
    assert outcomes == {"accepted": 1, "TIER_LIMIT_EXCEEDED": 199}


def test_the_months_uploads(appliance: Appliance) -> None:
    key = key_of_a_project(appliance, maxUploadsPerMonth=3)
    appliance.upload(JPEG, key=key)
    slot = appliance.request(len(JPEG), key=key).json
    appliance.request(len(JPEG), key=key)
    full = appliance.request(len(JPEG), key=key)
    assert (full.status, full.code) == (403, "TIER_LIMIT_EXCEEDED")
    assert "uploads" in full.json["error"]["message"]
    appliance.call("DELETE", f"/files/{slot['key']}", key=key)
    assert appliance.request(len(JPEG), key=key).status == 200, "a cancelled upload gives its place back"


def test_what_frees_storage_and_when(appliance: Appliance) -> None:
    key = key_of_a_project(appliance, maxStorage=12 * MIB)
    big = {"fileName": "b", "fileSize": 11 * MIB, "contentType": "image/png", "routeSlug": "default"}
    multipart = appliance.call("POST", "/upload/multipart/init", big, key=key).json
    refused = appliance.request(2 * MIB, key=key)
    assert (refused.status, refused.code) == (403, "TIER_LIMIT_EXCEEDED")
    assert str(11 * MIB) in refused.json["error"]["message"]
    appliance.call("POST", "/upload/multipart/abort", {"fileId": multipart["fileId"], "uploadId": multipart["uploadId"]}, key=key)
    slot = appliance.request(11 * MIB, key=key).json
    appliance.call("DELETE", f"/files/{slot['key']}", key=key)
    assert appliance.request(2 * MIB, key=key).code == "TIER_LIMIT_EXCEEDED", "until its deadline, the URL could still store those bytes"
    file = appliance.upload(b"x" * MIB, key=key)
    assert appliance.request(MIB, key=key).code == "TIER_LIMIT_EXCEEDED"
    appliance.call("DELETE", f"/files/{file['key']}", key=key)
    assert appliance.request(MIB, key=key).status == 200, "a deleted file frees its storage at once"


def test_test_uploads_never_count(appliance: Appliance) -> None:
    key = key_of_a_project(appliance, "test", maxStorage=10, maxUploadsPerMonth=1)
    for _ in range(3):
        appliance.upload(JPEG, key=key)
    assert appliance.request(10, key=key).status == 200
