"""The bundled store of a running appliance, seen from outside."""

from __future__ import annotations

import json

from tests.support.appliance import Appliance
from uploadkit.objectstore.address import StoreAddress
from uploadkit.objectstore.store import ObjectStore


def own_store(appliance: Appliance) -> ObjectStore:
    """The bundled store of a running appliance, as somebody with its credentials reaches it."""
    found = json.loads((appliance.data_dir / "store" / "address").read_text())
    secrets = json.loads((appliance.data_dir / "store-credentials.json").read_text())
    key_id, secret = secrets["access_key_id"], secrets["secret_access_key"]
    return ObjectStore(StoreAddress(found["endpoint"], found["publicEndpoint"], "us-east-1", "uploads", "path", key_id, secret))


def upload_in_parts(appliance: Appliance, content: bytes) -> dict[str, str]:
    body = {"fileName": "film.mp4", "fileSize": len(content), "contentType": "video/mp4", "routeSlug": "default"}
    slot = appliance.call("POST", "/upload/multipart/init", body).json
    for part in slot["parts"]:
        start = (part["partNumber"] - 1) * slot["partSize"]
        assert appliance.fetch("PUT", part["uploadUrl"], content[start : start + slot["partSize"]]).status == 200
    done = appliance.call("POST", "/upload/multipart/complete", {"fileId": slot["fileId"], "uploadId": slot["uploadId"]})
    assert done.status == 200, done.body
    return dict(done.json)
