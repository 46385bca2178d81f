"""The appliance on AWS with four permissions (docs/storage.md), played by a proxy in front of a real store: all works but what is named.

PutObject, GetObject, DeleteObject and AbortMultipartUpload are allowed; a missing object is 403; HeadBucket, ListObjects, ListParts and
ListMultipartUploads are denied; PutBucketCors is NotImplemented; a condition on a copy is ignored.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.conftest import App
from tests.support.appliance import JPEG, Appliance, running, wait_until
from tests.support.clock import travelled_to
from tests.support.store_proxy import Answered, Asked, minimal_permissions, proxied
from tests.support.stores import OtherStore, byos_settings
from uploadkit.core.sizes import MIB
from uploadkit.db.models import File
from uploadkit.files import multipart_upload
from uploadkit.files.admission import UploadRequest
from uploadkit.maintenance import sweeper
from uploadkit.objectstore.store import ObjectStore


@dataclass
class Store:
    """The bucket as its owner sees it, and what the proxy in front of it has heard and is to do."""

    owner: ObjectStore
    asked: list[Asked] = field(default_factory=list)
    before_copy: Callable[[str], None] | None = None
    lose_answers_to_init = False

    def objects(self) -> set[str]:
        return {entry["Key"] for entry in self.owner.ask("list_objects_v2").get("Contents", [])}

    def multiparts(self) -> set[str]:
        return {entry["Key"] for entry in self.owner.ask("list_multipart_uploads").get("Uploads", [])}

    def rule(self, asked: Asked, pass_on: Callable[[Asked], Answered]) -> Answered:
        self.asked.append(asked)
        if asked.is_copy and self.before_copy:
            self.before_copy(asked.headers["x-amz-copy-source"].partition("/")[2])
        answered = minimal_permissions(self.owner.address)(asked, pass_on)
        if self.lose_answers_to_init and asked.method == "POST" and "uploads" in asked.query:
            return Answered.error(500, "InternalError")
        return answered


@pytest.fixture(scope="module")
def store(other_store: OtherStore) -> Store:
    return Store(other_store.bucket("minimal"))


@pytest.fixture(scope="module")
def appliance(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    with proxied(store.owner.address, store.rule) as address:
        settings = byos_settings(
            address,
            STORAGE__PRESIGN_EXPIRES_SECONDS="5",
            HOUSEKEEPING__ABANDONED_UPLOAD_SECONDS="1",
            HOUSEKEEPING__INTERVAL_SECONDS="1",
            HOUSEKEEPING__TEST_FILE_TTL_SECONDS="8",
        )
        with running(tmp_path_factory.mktemp("minimal"), **settings) as started:
            yield started
            # No job failed for lack of a permission.
            assert not {"ERROR", "Traceback"} & set(started.log().split())


def begin_multipart(appliance: Appliance, size: int = 11 * MIB) -> dict[str, Any]:
    body = {"fileName": "film.mp4", "fileSize": size, "contentType": "video/mp4", "routeSlug": "default"}
    begun = appliance.call("POST", "/upload/multipart/init", body)
    assert begun.status == 200, begun.body
    return dict(begun.json)


def put_parts(appliance: Appliance, slot: dict[str, Any], content: bytes) -> list[dict[str, Any]]:
    parts = []
    for part in slot["parts"]:
        number = part["partNumber"]
        piece = content[(number - 1) * slot["partSize"] : number * slot["partSize"]]
        parts.append({"partNumber": number, "etag": appliance.fetch("PUT", part["uploadUrl"], piece).headers["ETag"]})
    return parts


def test_ready_though_the_bucket_can_neither_be_seen_nor_listed(appliance: Appliance) -> None:
    ready = appliance.fetch("GET", f"{appliance.base}/readyz")
    assert ready.status == 200, ready.body


def test_a_single_upload_is_completed_read_and_deleted(appliance: Appliance, store: Store) -> None:
    file = appliance.upload(JPEG * 50)
    assert appliance.read(file["url"]).body == JPEG * 50
    assert appliance.call("POST", f"/files/{file['key']}/link", {}).status == 200
    assert appliance.call("DELETE", f"/files/{file['key']}").status == 200
    wait_until(lambda: file["key"] not in store.objects(), what="the object to go")
    # No other permission is asked for.
    assert {asked.method for asked in store.asked if not asked.key} == set()


def test_what_was_not_uploaded_is_not_verified_with_a_hint(appliance: Appliance) -> None:
    slot = appliance.request(len(JPEG * 10)).json
    early = appliance.complete(slot)
    assert (early.status, early.code) == (422, "UPLOAD_NOT_VERIFIED")
    assert "s3:GetObject" in early.json["error"]["suggestion"]
    assert appliance.put(slot, JPEG * 10).status == 200
    assert appliance.complete(slot).status == 200, "the upload was left as it was"


def test_an_aborted_single_upload_is_gone(appliance: Appliance, store: Store) -> None:
    slot = appliance.request(len(JPEG)).json
    appliance.put(slot, JPEG)
    assert appliance.call("DELETE", f"/files/{slot['key']}").status == 200
    wait_until(lambda: f"pending/{slot['fileId']}" not in store.objects(), what="the object to go")


def test_a_multipart_upload_works_with_the_parts_from_the_client(appliance: Appliance, store: Store) -> None:
    content = b"\0\0\0\x18ftypmp42" * MIB
    slot = begin_multipart(appliance, len(content))
    parts = put_parts(appliance, slot, content)
    ids = {"fileId": slot["fileId"], "uploadId": slot["uploadId"]}
    for path in ("parts", "complete"):
        refused = appliance.call("POST", f"/upload/multipart/{path}", ids)
        assert refused.status == 503
        assert "s3:ListMultipartUploadParts" in refused.json["error"]["suggestion"], path
    wrong = [*parts[:-1], {"partNumber": len(parts), "etag": "0" * 32}]
    assert appliance.call("POST", "/upload/multipart/complete", {**ids, "parts": wrong}).code == "INVALID_PARTS"
    done = appliance.call("POST", "/upload/multipart/complete", {**ids, "parts": parts})
    assert done.status == 200, done.body
    assert appliance.call("POST", "/upload/multipart/complete", {**ids, "parts": parts}).json == done.json
    assert appliance.read(done.json["url"]).body == content
    assert slot["key"] not in store.multiparts()


def test_a_multipart_upload_is_aborted_and_an_abandoned_one_swept(appliance: Appliance, store: Store) -> None:
    slot = begin_multipart(appliance)
    ids = {"fileId": slot["fileId"], "uploadId": slot["uploadId"]}
    assert slot["key"] in store.multiparts()
    assert appliance.call("POST", "/upload/multipart/abort", ids).status == 200
    assert slot["key"] not in store.multiparts()


def test_an_abandoned_multipart_upload_is_swept(app: App) -> None:
    owner = app.ctx.store
    with proxied(owner.address, minimal_permissions(owner.address)) as address:
        app.ctx.store = ObjectStore(address)
        slot = multipart_upload.start_multipart(app.ctx, app.caller, UploadRequest("film", 11 * MIB, "video/mp4", "default", {}))
        assert owner.list_parts(slot.file.key, slot.file.upload_id or "") == []
        with travelled_to(slot.file.deadline_at):
            sweeper.sweep_due(app.ctx)
    assert owner.list_parts(slot.file.key, slot.file.upload_id or "") is None
    swept = File.get_by_id(slot.file.id)
    assert (swept.status, swept.reserved_bytes, swept.sweep_at) == ("FAILED", 0, None)


def test_a_lost_answer_to_the_beginning_of_a_multipart_upload_holds_up_nothing(appliance: Appliance, store: Store) -> None:
    store.lose_answers_to_init = True
    try:
        body = {"fileName": "film.mp4", "fileSize": 11 * MIB, "contentType": "video/mp4", "routeSlug": "default"}
        assert appliance.call("POST", "/upload/multipart/init", body).status == 503
    finally:
        store.lose_answers_to_init = False
    # Nobody knows its id and listing is denied: the lifecycle rule is for this one. The row ends nevertheless.
    wait_until(lambda: appliance.call("GET", "/usage").json["storageReserved"] == 0, what="the reservation to be released")


def test_an_abandoned_upload_is_swept(appliance: Appliance, store: Store) -> None:
    slot = appliance.request(len(JPEG)).json
    appliance.put(slot, JPEG)
    assert f"pending/{slot['fileId']}" in store.objects()
    wait_until(lambda: f"pending/{slot['fileId']}" not in store.objects(), what="the sweep")
    assert appliance.complete(slot).code == "UPLOAD_EXPIRED"


def test_test_files_and_projects_go(appliance: Appliance, store: Store) -> None:
    test_file = appliance.upload(JPEG, key=appliance.new_key("--test"))
    project = appliance.call("POST", "/projects", {"name": "Doomed"}).json["id"]
    key = appliance.call("POST", f"/projects/{project}/keys", {"name": "x"}).json["key"]
    files = [appliance.upload(JPEG, f"{n}.jpg", key=key)["key"] for n in range(5)]
    pending = appliance.request(len(JPEG), key=key).json
    assert {test_file["key"], *files} <= store.objects()
    assert appliance.call("DELETE", f"/projects/{project}").status == 200
    gone = {test_file["key"], *files, f"pending/{pending['fileId']}"}
    wait_until(lambda: not gone & store.objects(), what="all objects to go")
    assert appliance.run("usage", "verify").returncode == 0


@pytest.mark.parametrize("times", [1, 100])
def test_an_object_that_changes_between_look_and_copy_is_never_taken_for_the_one_that_was_looked_at(
    appliance: Appliance, store: Store, times: int
) -> None:
    contents = iter(JPEG + bytes([n]) * 100 for n in range(times))
    changed = threading.Semaphore(times)

    def change(key: str) -> None:
        if changed.acquire(blocking=False):
            store.owner.ask("put_object", Key=key, Body=next(contents), ContentType="image/jpeg")

    slot = appliance.request(len(JPEG) + 100).json
    appliance.put(slot, JPEG + b"!" * 100)
    store.before_copy = change
    try:
        done = appliance.complete(slot)
    finally:
        store.before_copy = None
    if times == 1:
        # Refused by the copy's ETag, looked at again, and taken as what it is now.
        assert done.status == 200
        assert appliance.read(done.json["url"]).body == JPEG + b"\0" * 100
    else:
        assert (done.status, done.code) == (409, "CONFLICT")
        assert appliance.fetch("GET", f"{appliance.base}/f/{slot['key']}").status == 404


def test_the_doctor_names_what_is_missing(appliance: Appliance) -> None:
    for arguments, code in (((), 0), (("--fix",), 1)):
        reported = appliance.run("doctor", "--json", *arguments)
        assert reported.returncode == code
        suggestions = {check["name"]: check["suggestion"] for check in json.loads(reported.stdout)["checks"] if check["suggestion"]}
        assert set(suggestions) == {"list-parts", "cors-rule", "lifecycle"}
        assert "s3:ListMultipartUploadParts" in suggestions["list-parts"]
        assert "s3:PutBucketCORS" in suggestions["cors-rule"]
        assert "s3:PutLifecycleConfiguration" in suggestions["lifecycle"]
