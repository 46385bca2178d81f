"""The calls that a program makes: `Client`, and the files it returns. How an upload goes stands in upload.py, how HTTP in wire.py."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote, urlencode, urlsplit

from uploadkit.client.answers import is_sound
from uploadkit.client.errors import UploadKitApiError, UploadKitClientError, not_this_api
from uploadkit.client.resume import UploadState, forget_given_up
from uploadkit.client.source import MAX_STREAM_BYTES, Readable, guess_content_type, open_source
from uploadkit.client.transfer import Progress, ProgressCallback
from uploadkit.client.upload import MULTIPART_OVER_BYTES, MultipartUpload, upload_single
from uploadkit.client.wire import RetryCallback, Wire

_NOT_YOURS = {"x-api-key", "accept", "content-length", "content-type", "host", "idempotency-key", "transfer-encoding"}


@dataclass(frozen=True, slots=True)
class UploadedFile:
    """A file as the API describes it; `raw` is the JSON object itself, with any field newer than this client."""

    id: str
    key: str
    url: str
    file_name: str
    size_bytes: int
    content_type: str
    status: str
    environment: str
    route: str
    etag: str | None
    metadata: Mapping[str, Any]
    created_at: datetime
    uploaded_at: datetime | None
    raw: Mapping[str, Any] = field(repr=False, compare=False)

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> UploadedFile:
        """Return the file that the API's JSON object `raw` describes; UploadKitApiError if it describes none."""
        try:
            if not is_sound(raw):
                raise not_this_api(200)
            return cls(
                id=raw["id"],
                key=raw["key"],
                url=raw["url"],
                file_name=raw["fileName"],
                size_bytes=raw["fileSize"],
                content_type=raw["contentType"],
                status=raw["status"],
                environment=raw["environment"],
                route=raw["routeSlug"],
                etag=raw.get("etag"),
                metadata=raw.get("metadata") or {},
                created_at=datetime.fromisoformat(raw["createdAt"]),
                uploaded_at=datetime.fromisoformat(raw["uploadedAt"]) if raw.get("uploadedAt") else None,
                raw=raw,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise not_this_api(200) from error


@dataclass(frozen=True, slots=True)
class FilePage:
    """One page of a listing, newest first; `next_cursor` leads to the next, and is None on the last."""

    items: tuple[UploadedFile, ...]
    next_cursor: str | None
    has_more: bool


@dataclass(frozen=True, slots=True)
class SignedLink:
    """An address that reads one file until `expires_at`, also a private one."""

    url: str = field(repr=False)
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class UploadToken:
    """Permission for one page to upload some files: give it `endpoint`, and treat that like a password."""

    id: str
    endpoint: str = field(repr=False)
    token: str = field(repr=False)
    expires_at: datetime


class Client:
    """A connection to one project of an UploadKit appliance; safe to share between threads.

    `base_url` such as `http://127.0.0.1:8080`, with or without `/api/v1`. `timeout_seconds` is the longest silence on a connection,
    and the longest that an answer takes once it has begun; `retry_seconds` is the longest that one step waits altogether before it is
    tried again (network trouble, 5xx, 429).
    `headers` go to the appliance with every request, and never to the store: what a gate in front of it wants, such as a login of its own.
    Raises ValueError for a `base_url`, `api_key` or `headers` that can't be used. Every method raises UploadKitClientError and subclasses.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str,
        *,
        timeout_seconds: float = 60.0,
        retry_seconds: float = 120.0,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        if not api_key or not api_key.isascii() or not api_key.isprintable() or " " in api_key:
            raise ValueError("api_key is empty or has characters that no API key has")
        self._wire = Wire(_api_address(base_url), api_key, timeout_seconds, retry_seconds, _own_headers(headers or {}))

    def __repr__(self) -> str:
        key = self._wire.api_key
        masked = f"{key[:11]}...{key[-6:]}" if len(key) > 30 else "..."
        return f"Client({self._wire.base_url!r}, {masked!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the idle connections. The client stays usable."""
        self._wire.pools.clear()

    def list(self, *, limit: int = 20, cursor: str | None = None, **filters: str) -> FilePage:
        """Return one page of up to `limit` (1 to 100) files after `cursor`.

        `filters` are those of GET /files: `status`, `routeSlug`, `contentType`, `search`, `since`, `until`.
        """
        query = {"limit": str(limit), **({"cursor": cursor} if cursor else {}), **filters}
        answer = self._wire.call("GET", f"/files?{urlencode(query)}")
        items = tuple(UploadedFile.from_json(item) for item in answer.get("items", ()))
        return FilePage(items, answer.get("nextCursor"), bool(answer.get("hasMore")))

    def get(self, key: str) -> UploadedFile:
        """Return the file stored under `key`."""
        return UploadedFile.from_json(self._wire.call("GET", _file_path(key)))

    def update_metadata(self, key: str, metadata: Mapping[str, Any]) -> UploadedFile:
        """Merge `metadata` into that of the file stored under `key`, and return the file."""
        return UploadedFile.from_json(self._wire.call("PATCH", _file_path(key), {"metadata": dict(metadata)}))

    def delete(self, key: str) -> None:
        """Delete the file stored under `key`. That an earlier try of the same call may have done so is no error."""
        failures: list[UploadKitClientError] = []
        try:
            replace(self._wire, on_retry=failures.append).call("DELETE", _file_path(key))
        except UploadKitApiError as error:
            # A try whose answer was lost, or a failure, may have deleted it all the same; one that came too often did not.
            perhaps_deleted = any(not (isinstance(failure, UploadKitApiError) and failure.status == 429) for failure in failures)
            if error.code != "NOT_FOUND" or not perhaps_deleted:
                raise

    def link(self, key: str, *, expires_seconds: int = 3600, download: bool = False) -> SignedLink:
        """Return an address of the file stored under `key` that works for `expires_seconds` (7 days at most).

        With `download` browsers save the file rather than show it.
        """
        required = ("url", "expiresAt")
        body = {"expiresIn": expires_seconds, "download": download}
        answer = self._wire.call("POST", f"{_file_path(key)}/link", body, required=required)
        return SignedLink(answer["url"], _moment(answer["expiresAt"]))

    def create_upload_token(
        self,
        route: str | Sequence[str] = "default",
        *,
        metadata: Mapping[str, Any] | None = None,
        max_files: int | None = None,
        max_bytes: int | None = None,
        expires_seconds: int = 900,
    ) -> UploadToken:
        """Return a token with which a page, which must not have the API key, may upload by the file route `route`, or by several.

        `metadata` is what you vouch for, such as who the user is; every file has it, and the page can't change it. `max_files` is by
        default what the file routes allow at once, added up, `max_bytes` (all files together) unlimited, `expires_seconds` 86,400 at most.
        """
        limits = {"maxFiles": max_files, "maxBytes": max_bytes, "metadata": dict(metadata) if metadata else None}
        routes = {"routeSlug": route} if isinstance(route, str) else {"routeSlugs": list(route)}
        body = {**routes, "expiresIn": expires_seconds, **{name: value for name, value in limits.items() if value is not None}}
        answer = self._wire.call("POST", "/upload-tokens", body, required=("id", "token", "endpoint", "expiresAt"))
        return UploadToken(answer["id"], answer["endpoint"], answer["token"], _moment(answer["expiresAt"]))

    def revoke_upload_token(self, token_id: str) -> None:
        """End an upload token: the very next request with it is refused. Repeating it changes nothing."""
        self._wire.call("DELETE", f"/upload-tokens/{quote(token_id, safe='')}")

    def upload(
        self,
        path_or_file: str | os.PathLike[str] | bytes | bytearray | memoryview | Readable,
        *,
        route: str = "default",
        file_name: str | None = None,
        content_type: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        on_progress: ProgressCallback | None = None,
        on_retry: RetryCallback | None = None,
        parallel_parts: int = 4,
        resume_store: str | os.PathLike[str] | None = None,
        max_stream_bytes: int = MAX_STREAM_BYTES,
    ) -> UploadedFile:
        """Upload a file and return it once the appliance has verified it.

        `path_or_file`: a path, bytes, or any object whose `read` gives bytes, sent from where it stands to its end; text is refused.
        Afterwards it stands at its end, after a failure where it stood. One that can't be read anywhere (a pipe, an HTTP answer) is first
        read into a temporary file, `max_stream_bytes` at most. `file_name` and `content_type` default to its name and to what the ending
        of that says. `on_progress(sent_bytes, total_bytes)` is called one call at a time,
        from several threads; `sent_bytes` falls when a part has to be sent again. `on_retry(error)` is called before each pause after
        which a failed step is tried again, from several threads, even at once. Files over 10 MiB go up in `parallel_parts` parts at
        once. With `resume_store` (a directory; see `default_resume_store`) such an upload of a path survives the end of this process:
        the same call goes on with it, for 30 days. Without, a failed one is aborted.
        """
        wire = replace(self._wire, on_retry=on_retry)
        if resume_store:
            forget_given_up(Path(resume_store))
        with open_source(path_or_file, file_name, max_stream_bytes) as source:
            declared: dict[str, Any] = {
                "fileName": source.name,
                "fileSize": source.size_bytes,
                "contentType": content_type or guess_content_type(source.name),
                "routeSlug": route,
                **({"metadata": dict(metadata)} if metadata else {}),
            }
            progress = Progress(source.size_bytes, on_progress)
            if source.size_bytes <= MULTIPART_OVER_BYTES:
                return UploadedFile.from_json(upload_single(wire, source, declared, progress))
            path = Path(resume_store, f"{self._fingerprint(source.identity, declared)}.json") if resume_store and source.identity else None
            at_once = max(1, parallel_parts) if source.is_random_access else 1
            with UploadState(path) as state:
                return UploadedFile.from_json(MultipartUpload(wire, source, declared, progress, state, at_once).run())

    def _fingerprint(self, identity: tuple[str, int, int], declared: Mapping[str, Any]) -> str:
        """Return what tells an upload from every other: the same content, declared in the same way, to the same project."""
        key_hash = hashlib.sha256(self._wire.api_key.encode()).hexdigest()
        return hashlib.sha256(json.dumps([self._wire.base_url, key_hash, identity, declared], sort_keys=True).encode()).hexdigest()


def _api_address(base_url: str) -> str:
    parts = urlsplit(base_url.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query or parts.fragment:
        raise ValueError("base_url must look like http://127.0.0.1:8080 or https://uploads.example.com")
    path = parts.path.rstrip("/")
    return f"{parts.scheme}://{parts.netloc}{path if path.endswith('/api/v1') else path + '/api/v1'}"


def _own_headers(headers: Mapping[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name) or not value.isascii() or not value.isprintable():
            raise ValueError(f"headers: {name!r} is no header, or its value has characters that none may have")
        if name.lower() in _NOT_YOURS:
            raise ValueError(f"headers: {name!r} is the client's own")
    return dict(headers)


def _file_path(key: str) -> str:
    if any(segment in ("", ".", "..") for segment in key.split("/")):
        raise ValueError(f"{key!r} is not the key of a file")
    return f"/files/{quote(key)}"


def _moment(text: Any) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except (TypeError, ValueError) as error:
        raise not_this_api(200) from error
