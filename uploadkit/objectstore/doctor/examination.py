"""One examination of a bucket: what it is held against, how a client's requests are sent, and the traces that have to go again.

Every object is made below `pending/doctor-…`, so that housekeeping finds what a kill left.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import urllib3

from uploadkit.config import Config
from uploadkit.core import clock
from uploadkit.core.errors import StorageUnavailable
from uploadkit.objectstore.boto import AccessDenied
from uploadkit.objectstore.bucket_rules import LifecycleDays
from uploadkit.objectstore.plain_http import PlainRequests
from uploadkit.objectstore.store import ObjectStore

Outcome = Literal["ok", "warning", "failed", "skipped"]
BODY = b"UploadKit doctor"
TYPE = "application/x-uploadkit-doctor"
DISPOSITION = 'attachment; filename="doctor"'
_CODE = re.compile(rb"<Code>(\w+)</Code>")
_URL_SECONDS = 300


@dataclass(frozen=True)
class Finding:
    """What one check saw: `detail` in a sentence and, where something is wrong, `suggestion`: what to do."""

    name: str
    outcome: Outcome
    detail: str
    suggestion: str = ""


@dataclass(frozen=True)
class Expectations:
    """What the bucket is to be held against. `private_key` is the key of a file that nobody may read without a signature, if there is one.

    `section` is where the store's settings stand in config.toml. `bar_headers` says whether upload URLs are signed so that a
    store refuses x-amz-copy-source and the like: "off", or "auto": where it is found to need that.
    """

    section: str
    cors_origins: tuple[str, ...]
    public_url: str | None
    days: LifecycleDays
    has_private_routes: bool = False
    private_key: str | None = None
    bar_headers: Literal["auto", "off"] = "auto"

    @classmethod
    def of(cls, config: Config, *, has_private_routes: bool = False, private_key: str | None = None) -> Expectations:
        """Return what this configuration expects."""
        storage = config.storage
        section = f"storage.{storage.mode}"
        days, bar = LifecycleDays.needed(config), storage.byos.bar_headers
        return cls(section, config.uploading_origins, storage.public_url, days, has_private_routes, private_key, bar)


class Unclear(Finding):
    """A finding that the store's answer says neither yes nor no: what was known before holds."""


@dataclass(frozen=True)
class Answer:
    """An answer of the store to a client."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def is_success(self) -> bool:
        """Whether the store did what was asked."""
        return 200 <= self.status < 300

    @property
    def is_refusal(self) -> bool:
        """Whether the store said no, or that it does not know how: but not that it is out of order."""
        return 400 <= self.status < 500 or self.status == 501

    @property
    def code(self) -> str:
        """The store's own word for what is wrong, "" where it says none."""
        found = _CODE.search(self.body)
        return found[1].decode() if found else ""

    def __str__(self) -> str:
        return f"HTTP {self.status}" + (f" {self.code}" if self.code else "")


class Refused(Exception):
    """The store answered a client's request with an error."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(str(answer))
        self.answer = answer


class Examination:
    """The store under examination, the HTTP client that stands for all clients, and what has been left in the bucket so far."""

    def __init__(self, store: ObjectStore, expected: Expectations, *, fix: bool, seconds: float | None = None) -> None:
        """With `seconds`, no client's request is sent after so long, and each may take a shorter time."""
        self.store, self.expected, self.fix = store, expected, fix
        self.address = store.address
        self.server = ""
        self.is_minio = False
        self.skew_seconds = 0.0
        self.keeps_versions = False
        self.cors_was_set = False
        self.barred: Sequence[str] = store.barred_headers  # headers that upload URLs bar; unsigned_headers.py may add to them
        self.multipart = ("", "")  # upload id, and the ETag of its part
        # Clients go by the public endpoint; where that fails and the direct one works, the other checks go on there.
        self.client_endpoint = self.address.public_endpoint
        self._prefix = f"pending/doctor-{uuid.uuid4().hex}"
        self._keys: dict[str, None] = {}
        self._multiparts: dict[tuple[str, str], None] = {}
        self._until_ms = None if seconds is None else clock.monotonic_ms() + int(seconds * 1000)
        patience = 3 * store.timeout_seconds if seconds is None else store.timeout_seconds
        self._http = PlainRequests(self.address, urllib3.Timeout(connect=5, read=patience))

    # What checks work with.

    def unused_key(self) -> str:
        """Return a key under which nothing is stored."""
        return f"{self._prefix}-nothing"

    def key(self, name: str) -> str:
        """Return a key for an object of this examination, which is deleted at its end."""
        key = f"{self._prefix}-{name}"
        self._keys[key] = None
        return key

    def fresh_key(self, name: str) -> str:
        """Return a key that was never written to: R2 answers 429 to who writes to the same one twice in a second (docs/providers.md)."""
        return self.key(f"{name}-{len(self._keys)}")

    def begin_multipart(self, key: str) -> str:
        """Begin a multipart upload to `key`, which is aborted at the end."""
        upload_id = self.store.create_multipart(key, TYPE, DISPOSITION)
        self._multiparts[key, upload_id] = None
        return upload_id

    def send(self, method: str, url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> Answer:
        """Send a client's request; redirects are not followed, as a signature holds for one host. Raises StorageUnavailable: time is up."""
        if self._until_ms is not None and clock.monotonic_ms() > self._until_ms:
            raise StorageUnavailable("The object store takes too long to answer")
        answer = self._http.send(method, url, body, headers or {})
        return Answer(answer.status, answer.headers, answer.data)

    def must(self, method: str, url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> Answer:
        """Send a client's request that has to succeed. Raises Refused."""
        answer = self.send(method, url, body, headers)
        if not answer.is_success:
            raise Refused(answer)
        return answer

    def signed(
        self,
        method: str,
        key: str,
        *,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        at_ms: int | None = None,
        expires_seconds: int = _URL_SECONDS,
    ) -> str:
        """Return a presigned URL as clients get them."""
        signer = self.address.signer(self.client_endpoint)
        at = clock.now_ms() if at_ms is None else at_ms
        return signer.presign(method, key, at_ms=at, expires_seconds=expires_seconds, query=query, headers=headers)

    def signed_put(self, key: str, *, at_ms: int | None = None, barred: Sequence[str] | None = None) -> str:
        """Return a presigned URL for the PUT of BODY, or of another body of its length, with TYPE."""
        return self._signed_upload(key, {"content-type": TYPE}, {}, at_ms, barred)

    def signed_part(self, key: str, upload_id: str, *, barred: Sequence[str] | None = None) -> str:
        """Return a presigned URL for the PUT of BODY, or of another body of its length, as the first part of a multipart upload."""
        return self._signed_upload(key, {}, {"uploadId": upload_id, "partNumber": "1"}, None, barred)

    def _signed_upload(
        self, key: str, headers: Mapping[str, str], query: Mapping[str, str], at_ms: int | None, barred: Sequence[str] | None
    ) -> str:
        return self.address.upload_signer(self.client_endpoint).presign(
            "PUT",
            key,
            at_ms=clock.now_ms() if at_ms is None else at_ms,
            expires_seconds=_URL_SECONDS,
            query=query,
            headers={"content-length": str(len(BODY)), **headers},
            barred=self.barred if barred is None else barred,
        )

    def put(self, key: str, headers: Mapping[str, str] | None = None) -> Answer:
        """PUT BODY to `key` as a client does. Raises Refused."""
        return self.must("PUT", self.signed_put(key), BODY, {"Content-Type": TYPE} | dict(headers or {}))

    # Clearing away.

    def clear(self) -> list[str]:
        """Delete what is left of this examination; return what is still there after that."""
        left = []
        for key, upload_id in list(self._multiparts):
            try:
                self.store.abort_multipart(key, upload_id)
                del self._multiparts[key, upload_id]
            except StorageUnavailable:
                left.append(f"the multipart upload {upload_id} of {key}")
        for key in list(self._keys):
            try:
                self.store.delete(key)
                del self._keys[key]
            except StorageUnavailable:
                left += [key] if self._is_there(key) else []
        return left

    def close(self) -> None:
        """Clear away what is left, whatever happened, and close all connections."""
        self.clear()
        self._http.close()

    def _is_there(self, key: str) -> bool:
        try:
            return self.store.head(key) is not None
        except AccessDenied:
            return False  # see the check of the bucket
        except StorageUnavailable:
            return True
