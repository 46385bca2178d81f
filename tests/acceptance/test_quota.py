"""Quota is reserved at request, settled at complete, released when nothing came of it (api.md section 6)."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.appliance import JPEG, running

MIB = 1024**2


def test_200_requests_at_once_for_one_slot(tmp_path: Path) -> None:
    with running(tmp_path, TIERS__PRO__MAX_STORAGE=str(10 * MIB + 50), TIERS__PRO__MAX_UPLOADS_PER_MONTH="1000") as appliance:
        assert appliance.request(10 * MIB).status == 200
        start = threading.Barrier(32)

        def go(number: int) -> str:
            if number < 32:
                start.wait()
            answer = appliance.request(50, f"{number}.jpg")
            return "accepted" if answer.status == 200 else answer.code

        with ThreadPoolExecutor(32) as pool:
            outcomes = Counter(pool.map(go, range(200)))
        assert outcomes == {"accepted": 1, "TIER_LIMIT_EXCEEDED": 199}


def test_the_months_uploads(tmp_path: Path) -> None:
    with running(tmp_path, TIERS__PRO__MAX_UPLOADS_PER_MONTH="3") as appliance:
        appliance.upload(JPEG)
        slot = appliance.request(len(JPEG)).json
        appliance.request(len(JPEG))
        full = appliance.request(len(JPEG))
        assert (full.status, full.code) == (403, "TIER_LIMIT_EXCEEDED")
        assert "uploads" in full.json["error"]["message"]
        appliance.call("DELETE", f"/files/{slot['key']}")
        assert appliance.request(len(JPEG)).status == 200, "a cancelled upload gives its place back"


def test_what_frees_storage_and_when(tmp_path: Path) -> None:
    with running(tmp_path, TIERS__PRO__MAX_STORAGE=str(12 * MIB)) as appliance:
        big = {"fileName": "b", "fileSize": 11 * MIB, "contentType": "image/png", "routeSlug": "default"}
        multipart = appliance.call("POST", "/upload/multipart/init", big).json
        refused = appliance.request(2 * MIB)
        assert (refused.status, refused.code) == (403, "TIER_LIMIT_EXCEEDED")
        assert str(11 * MIB) in refused.json["error"]["message"]
        appliance.call("POST", "/upload/multipart/abort", {"fileId": multipart["fileId"], "uploadId": multipart["uploadId"]})
        slot = appliance.request(11 * MIB).json
        appliance.call("DELETE", f"/files/{slot['key']}")
        assert appliance.request(2 * MIB).code == "TIER_LIMIT_EXCEEDED", "until its deadline, the URL could still store those bytes"
        file = appliance.upload(b"x" * MIB)
        assert appliance.request(MIB).code == "TIER_LIMIT_EXCEEDED"
        appliance.call("DELETE", f"/files/{file['key']}")
        assert appliance.request(MIB).status == 200, "a deleted file frees its storage at once"


def test_test_uploads_never_count(tmp_path: Path) -> None:
    with running(tmp_path, TIERS__PRO__MAX_STORAGE="10", TIERS__PRO__MAX_UPLOADS_PER_MONTH="1") as appliance:
        key = appliance.new_key("--test")
        for _ in range(3):
            appliance.upload(JPEG, key=key)
        assert appliance.request(10).status == 200
