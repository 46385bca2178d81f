"""A page that uploads by the browser endpoint."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tests.support.appliance import JPEG, Answer, Appliance
from tests.support.sdk_clients import xhr_put

PAGE = "https://app.example.com"


class Page:
    """A page with `<UploadKitProvider endpoint=…>`: JSON by POST to {endpoint}/{fileRoute}, no cookie and no key."""

    def __init__(self, appliance: Appliance, endpoint: str, origin: str = PAGE, slug: str = "default", forwarded: str = "") -> None:
        self.appliance, self.address = appliance, f"{endpoint}/{slug}"
        self.headers = {"Origin": origin} | ({"X-Forwarded-For": forwarded} if forwarded else {})

    def act(self, action: str, **body: Any) -> Answer:
        raw = json.dumps({"action": action, **body}).encode()
        return self.appliance.fetch("POST", self.address, raw, self.headers | {"Content-Type": "application/json"})

    def request(self, size: int = len(JPEG), content_type: str = "image/jpeg", **more: Any) -> Answer:
        return self.act("request-upload", fileName="photo.jpg", contentType=content_type, contentLength=size, **more)

    def complete(self, slot: Mapping[str, Any]) -> Answer:
        return self.act("upload-complete", key=slot["key"], fileId=slot["fileId"])

    def upload(self, content: bytes = JPEG, content_type: str = "image/jpeg", **more: Any) -> Answer:
        slot = self.request(len(content), content_type, **more)
        assert slot.status == 200, slot.body
        assert {"uploadUrl", "key", "fileId"} <= slot.json.keys()
        assert xhr_put(slot.json["uploadUrl"], content, content_type).status == 200
        return self.complete(slot.json)
