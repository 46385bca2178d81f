"""The steps of `tests/property/model.py`, taken for real: by HTTP calls into the web application in this process, on a real store."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.conftest import App, new_app
from tests.property.model import CONTENTS, DAY_MS, TIERS, Step
from tests.support.clock import travelled_to
from uploadkit import config
from uploadkit.context import Context
from uploadkit.coordination.rate_limits import RateLimits
from uploadkit.core import clock
from uploadkit.db.connection import execute
from uploadkit.db.models import ApiKey, Event, File, Project
from uploadkit.maintenance import old_files, project_removal, sweeper
from uploadkit.objectstore.store import ObjectStore
from uploadkit.projects import usage
from uploadkit.web.app import create_app

SETTINGS = {
    f"UPLOADKIT_TIERS__{tier.upper()}__{name}": str(value)
    for tier, limits in TIERS.items()
    for name, value in {
        "MAX_KEYS": limits.keys,
        "MAX_STORAGE": limits.bytes,
        "MAX_UPLOADS_PER_MONTH": limits.uploads,
        "REQUESTS_PER_MINUTE": "",
    }.items()
}
Verified = tuple[str, str, str]


@contextlib.contextmanager
def new_driver(data_dir: Path, store: ObjectStore) -> Iterator[Driver]:
    """An appliance with small tiers and a fresh database."""
    with new_app(data_dir, store) as app:
        settings = config.load(
            None, SETTINGS | {"UPLOADKIT_DATA__DIR": str(data_dir), "UPLOADKIT_RATE_LIMITS__AUTH_FAILURES_PER_MINUTE": ""}
        )
        yield Driver(app, Context(settings, store))


class Driver:
    """Takes steps. Names of the model stand for the ids of the appliance. Each thread may have steps of its own."""

    def __init__(self, app: App, ctx: Context) -> None:
        self.ctx, self._boss = ctx, app.api_key
        self._app = create_app(ctx, RateLimits(ctx.config.rate_limits))
        self.projects: dict[str, str] = {}
        self.keys: dict[str, tuple[str, str]] = {}
        self.slots: dict[str, dict[str, Any]] = {}
        self._sent_parts: set[str] = set()
        # What was answered to be verified, for ever.
        self.verified: dict[str, Verified] = {}

    def take(self, step: Step) -> Any:
        return getattr(self, step.verb)(*step.arguments)

    def _call(self, method: str, path: str, key: str, body: Any = None, headers: dict[str, str] | None = None) -> TestResponse:
        client: FlaskClient = self._app.test_client()
        return client.open(f"/api/v1{path}", method=method, json=body, headers={"x-api-key": key} | (headers or {}))

    # Calls with a project's own key.

    def request(self, name: str, key: str, size: int, in_parts: bool) -> str:
        body = {"fileName": f"{name}.jpg", "fileSize": size, "contentType": "image/jpeg", "routeSlug": "default"}
        path = "/upload/multipart/init" if in_parts else "/upload/request"
        answer = self._call("POST", path, self._plain(key), body, {"Idempotency-Key": name})
        if answer.status_code == 200:
            slot = self.slots.setdefault(name, answer.json)
            assert answer.json["fileId"] == slot["fileId"], "the second time it answers the first one's file"
        return code_of(answer)

    def put(self, name: str, content: str) -> str:
        """What the upload URL would do, as long as it holds. It is not used itself: the clock that is held here is not the store's."""
        if name not in self.slots:
            return "OK"
        slot, client = self.slots[name], self.ctx.store._quick_client
        file = File.get_or_none(File.id == slot["fileId"])
        size = file.size_bytes if file else 0
        if file is None or clock.now_ms() >= file.expires_at:
            return "OK"
        where = {"Bucket": self.ctx.store.address.bucket, "Body": CONTENTS[content][:size]}
        with contextlib.suppress(ClientError):  # parts of an upload that has ended
            if file.is_multipart and name not in self._sent_parts:
                client.upload_part(Key=file.key, UploadId=file.upload_id, PartNumber=1, **where)
                self._sent_parts.add(name)
            elif not file.is_multipart:
                client.put_object(Key=file.pending_key, ContentType="image/jpeg", **where)
        return "OK"

    def complete(self, name: str, key: str, note: str) -> str:
        ids = self._ids(name)
        path = "/upload/multipart/complete" if "uploadId" in ids else "/upload/complete"
        answer = self._call("POST", path, self._plain(key), {**ids, "metadata": {"completed": note}})
        if answer.status_code == 200:
            file = answer.json
            reported = (file["url"], file["etag"], file["uploadedAt"])
            assert self.verified.setdefault(name, reported) == reported, "what was verified never changes"
        return code_of(answer)

    def abort(self, name: str, key: str) -> str:
        return code_of(self._call("POST", "/upload/multipart/abort", self._plain(key), {"uploadId": "none", **self._ids(name)}))

    def delete(self, name: str, key: str) -> str:
        return code_of(self._call("DELETE", f"/files/{self._key_of(name)}", self._plain(key)))

    def delete_many(self, names: list[str], key: str) -> list[str]:
        """Answer for each name what deleting it alone would have been answered."""
        keys = [self._key_of(name) for name in names]
        answer = self._call("DELETE", "/files", self._plain(key), {"keys": keys})
        if answer.status_code == 401:
            return ["UNAUTHORIZED"] * len(names)
        failures = {failure["key"]: failure["code"] for failure in answer.json["failures"]}
        assert answer.json["deleted"] == len(set(keys)) - len(failures)
        assert answer.status_code == (404 if not answer.json["deleted"] else 207 if failures else 200)
        return [failures.get(one, "OK") for one in keys]

    def patch(self, name: str, key: str, note: str) -> str:
        return code_of(self._call("PATCH", f"/files/{self._key_of(name)}", self._plain(key), {"metadata": {"patched": note}}))

    def read(self, name: str) -> str:
        answer = self._app.test_client().get(f"/f/{self._key_of(name)}")
        return "OK" if answer.status_code == 302 else code_of(answer)

    # Calls with account access.

    def change_tier(self, project: str, tier: str) -> str:
        return code_of(self._call("PATCH", f"/projects/{self.projects[project]}", self._boss, {"tier": tier}))

    def new_key(self, name: str, project: str, sandbox: bool) -> str:
        body = {"name": name, "environment": "test" if sandbox else "live"}
        answer = self._call("POST", f"/projects/{self.projects[project]}/keys", self._boss, body)
        if answer.status_code == 201:
            assert answer.headers["Cache-Control"] == "no-store"
            self.keys[name] = answer.json["id"], answer.json["key"]
        return code_of(answer)

    def revoke(self, key: str) -> str:
        return code_of(self._call("DELETE", f"/keys/{self.keys[key][0] if key in self.keys else key}", self._boss))

    def new_project(self, name: str) -> str:
        answer = self._call("POST", "/projects", self._boss, {"name": name, "tier": "pro"})
        self.projects[name] = answer.json["id"]
        return code_of(answer)

    def delete_project(self, name: str) -> str:
        return code_of(self._call("DELETE", f"/projects/{self.projects[name]}", self._boss))

    # Housekeeping.

    def sweep(self) -> str:
        sweeper.sweep_due(self.ctx)
        return "OK"

    def purge(self) -> str:
        old_files.purge_test_files(self.ctx)
        return "OK"

    # Names to ids; what nobody has made yet is something that is not there.

    def _plain(self, key: str) -> str:
        return self.keys[key][1] if key in self.keys else f"uk_live_{key:x<32}"

    def _ids(self, name: str) -> dict[str, str]:
        slot = self.slots.get(name, {"fileId": name})
        return {field: slot[field] for field in ("fileId", "uploadId") if field in slot}

    def _key_of(self, name: str) -> str:
        return str(self.slots.get(name, {"key": f"nothing/{name}"})["key"])

    # What can be seen.

    def seen(self, only: str | None = None) -> dict[str, Any]:
        """The same as `Model.seen`, out of the database, of one project if it is named. A row that the sandbox forgot was a deleted one."""
        ids = {name: id_ for name, id_ in self.projects.items() if only in (None, name)}
        rows = Project.select().where(Project.id << list(ids.values()), Project.deleted_at.is_null())
        alive = {project.id: project for project in rows}
        names = {slot["fileId"]: name for name, slot in self.slots.items()}
        events: dict[str, list[str]] = {}
        for event in Event.select().where(Event.project << list(alive)).order_by(Event.sequence):
            events.setdefault(names.get(event.file_id, event.file_id), []).append(event.event)
        files = {names.get(file.id, file.id): file for file in File.select().where(File.project << list(alive))}
        revoked = {key.id for key in ApiKey.select().where(ApiKey.project << list(alive), ApiKey.revoked_at.is_null(False))}
        counted = {name: alive[id_] for name, id_ in ids.items() if id_ in alive}
        return {
            "projects": {name: (p.tier, p.storage_used_bytes, p.storage_reserved_bytes, p.uploads_reserved) for name, p in counted.items()},
            "revoked": sorted(name for name, (id_, _) in self.keys.items() if id_ in revoked),
            "files": {name: (*_row(files.get(name)), reported) for name, reported in events.items()},
        }

    def check(self, names: Collection[str] | None = None) -> None:
        """What holds at any moment, whatever has happened: the counters are what the rows say, and what was verified is there unchanged.

        `names` says which files to look at in the store; None means all.
        """
        assert usage.find_differences() == []
        for name, (_, etag, _) in self.verified.items():
            if names is not None and name not in names:
                continue
            file = File.get_or_none(File.id == self.slots[name]["fileId"])
            if file is None or file.status != "UPLOADED":
                continue
            stored = self.ctx.store.head(file.key)
            assert stored is not None, "a file that was acknowledged is lost"
            assert (stored.etag, stored.size_bytes, stored.content_type) == (etag, file.size_bytes, "image/jpeg")
            assert stored.first_bytes in (CONTENTS["right"][: file.size_bytes], CONTENTS["other"][: file.size_bytes])

    def settle(self) -> None:
        """Let every deadline pass and all of housekeeping go round: then objects = rows, and of deleted projects nothing is left."""
        with travelled_to(clock.now_ms() + 3 * DAY_MS):
            for _ in range(2):
                sweeper.sweep_due(self.ctx)
                old_files.purge_test_files(self.ctx)
                project_removal.remove_deleted_projects(self.ctx)
        self.check()
        own = {project.id for project in Project.select() if project.id in self.projects.values()}
        kept = {file.key for file in File.select().where(File.status == "UPLOADED")}
        assert self._objects() == kept
        assert {file.project_id for file in File.select()} <= own
        assert not Project.select().where(Project.deleted_at.is_null(False)).exists()
        assert execute("SELECT count(*) FROM file WHERE reserved_bytes <> 0 OR sweep_at IS NOT NULL").fetchone() == (0,)

    def _objects(self) -> set[str]:
        """The keys in the bucket of all files that these steps were about."""
        client, bucket = self.ctx.store._quick_client, self.ctx.store.address.bucket
        prefixes = [f"{sandbox}{project}/" for project in self.projects.values() for sandbox in ("", "test/")]
        prefixes += [f"pending/{slot['fileId']}" for slot in self.slots.values()]
        pages = [client.list_objects_v2(Bucket=bucket, Prefix=prefix) for prefix in prefixes]
        assert not any(page["IsTruncated"] for page in pages)
        return {item["Key"] for page in pages for item in page.get("Contents", ())}


def code_of(answer: TestResponse) -> str:
    """ "OK", or the documented code of a refusal."""
    if answer.status_code < 300:
        return "OK"
    assert answer.status_code < 500, answer.text
    return str(answer.json["error"]["code"])


def _row(file: File | None) -> tuple[Any, ...]:
    if file is None:
        return "DELETED", None, 0, None
    reported = None if file.status == "DELETED" else file.metadata
    return file.status, file.failure if file.status == "FAILED" else None, file.reserved_bytes, reported
