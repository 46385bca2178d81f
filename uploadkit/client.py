"""The Python client: uploads, lists, reads and deletes files over HTTP (synchronous, POSIX).

Needs urllib3 and nothing else of this package, so that it can be used, or copied, without the appliance. It owns retries, parallel
parts and going on after a kill. It refuses to follow redirects, and it never gives the API key to the object store, to a file on disk
or to a message.

    client = Client("http://127.0.0.1:8080", os.environ["UPLOADKIT_API_KEY"])
    print(client.upload("holiday.mp4").url)
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import mimetypes
import os
import queue
import random
import stat
import threading
import unicodedata
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Self, TypeVar, cast
from urllib.parse import quote, urlencode, urlsplit

import urllib3

MULTIPART_OVER_BYTES = 10 * 1024 * 1024
MAX_FILE_NAME_CHARACTERS = 255
_BLOCK_BYTES = 128 * 1024
_CONNECT_TIMEOUT_SECONDS = 10.0
_SEND_TIMEOUT_SECONDS = 30.0  # urllib3 knows one timeout for connecting and sending
_COMPLETE_TIMEOUT_SECONDS = 300.0  # the store copies or joins the whole file before it answers
_FIRST_CONTACT_SECONDS = 2.0  # a host that never answered is more likely a wrong address than a restart
_LONGEST_PAUSE_SECONDS = 15.0
_MAX_STALE_URLS = 3
_INIT_FIELDS, _PARTS_FIELDS = (("fileId", "uploadId", "partSize", "parts"), ("partSize", "parts"))
_NO_LONGER_RESUMABLE = {"UPLOAD_NOT_FOUND", "UPLOAD_EXPIRED", "UPLOAD_NOT_VERIFIED", "INVALID_PARTS", "CONFLICT"}

Result = TypeVar("Result")
ProgressCallback = Callable[[int, int], None]


class UploadKitClientError(Exception):
    """Anything that went wrong, with a stable `code`, a `message` and, where known, a `suggestion` of what to do.

    `transient` says whether the same call may succeed later; the client has then already tried for `retry_seconds`.
    """

    code = "CLIENT_ERROR"

    def __init__(self, message: str, suggestion: str | None = None, *, code: str | None = None, transient: bool = False) -> None:
        self.code = code or self.code
        self.message, self.suggestion, self.transient = message, suggestion, transient
        self.retry_after_seconds = 0.0
        super().__init__(f"{self.code}: {message}" + (f" ({suggestion})" if suggestion else ""))


class UploadKitApiError(UploadKitClientError):
    """The API answered with an error: its HTTP `status`, `code`, `message`, `suggestion`, `details` (by field) and `request_id`."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        suggestion: str | None = None,
        details: Mapping[str, Any] | None = None,
        request_id: str | None = None,
    ) -> None:
        transient = status == 429 or (status >= 500 and status != 501) or code == "IDEMPOTENCY_CONFLICT"
        super().__init__(message, suggestion, code=code, transient=transient)
        self.status, self.details, self.request_id = status, details, request_id


class UploadKitStorageError(UploadKitClientError):
    """The object store refused the bytes: its HTTP `status`; `code` is the store's own, such as `AccessDenied`."""

    def __init__(self, status: int, code: str, message: str) -> None:
        transient = status in (408, 429) or (status >= 500 and status != 501) or code == "RequestTimeout"
        suggestion = "Check the appliance with 'python app.py doctor', and that the way to the store keeps the Host header"
        super().__init__(message, suggestion, code=code, transient=transient)
        self.status = status
        self.url_may_be_stale = status in (400, 403, 404) and not transient


class UploadKitConnectionError(UploadKitClientError):
    """The API or the store could not be reached, did not answer in time, or dropped the connection."""

    code = "CONNECTION_FAILED"

    def __init__(self, message: str, suggestion: str | None = None, *, transient: bool = True, ever_reached: bool = True) -> None:
        super().__init__(message, suggestion, transient=transient)
        self.ever_reached = ever_reached


class UploadKitFileError(UploadKitClientError):
    """The local file can't be uploaded: not there, unreadable, empty, not a regular file, in use, or changed meanwhile."""

    code = "INVALID_FILE"


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
            raise _not_this_api(200) from error


@dataclass(frozen=True, slots=True)
class FilePage:
    """One page of a listing, newest first; `next_cursor` leads to the next, and is None on the last."""

    items: tuple[UploadedFile, ...]
    next_cursor: str | None
    has_more: bool


class Client:
    """A connection to one project of an UploadKit appliance; safe to share between threads.

    `base_url` such as `http://127.0.0.1:8080`, with or without `/api/v1`. `timeout_seconds` is the longest silence on a connection,
    `retry_seconds` the longest that one step waits altogether before it is tried again (network trouble, 5xx, 429).
    Raises ValueError for a `base_url` or `api_key` that can't be one. Every method raises UploadKitClientError and its subclasses.
    """

    def __init__(self, base_url: str, api_key: str, *, timeout_seconds: float = 60.0, retry_seconds: float = 120.0) -> None:
        self._base_url = _api_address(base_url)
        if not api_key or not api_key.isascii() or not api_key.isprintable() or " " in api_key:
            raise ValueError("api_key is empty or has characters that no API key has")
        self._api_key = api_key
        self._timeout_seconds, self._retry_seconds = timeout_seconds, retry_seconds
        self._pool = urllib3.PoolManager(maxsize=16, blocksize=_BLOCK_BYTES)
        self._reached_origins: set[str] = set()

    def __repr__(self) -> str:
        shown = f"{self._api_key[:11]}...{self._api_key[-6:]}" if len(self._api_key) > 30 else "..."
        return f"Client({self._base_url!r}, {shown!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the idle connections. The client stays usable."""
        self._pool.clear()

    # -- files --------------------------------------------------------------------------------------------------------

    def list(self, *, limit: int = 20, cursor: str | None = None, **filters: str) -> FilePage:
        """Return one page of up to `limit` (1 to 100) files after `cursor`.

        `filters` are those of GET /files: `status`, `routeSlug`, `contentType`, `search`, `since`, `until`.
        """
        query = {"limit": str(limit), **({"cursor": cursor} if cursor else {}), **filters}
        answer = self._call("GET", f"/files?{urlencode(query)}")
        items = tuple(UploadedFile.from_json(item) for item in answer.get("items", ()))
        return FilePage(items, answer.get("nextCursor"), bool(answer.get("hasMore")))

    def get(self, key: str) -> UploadedFile:
        """Return the file stored under `key`."""
        return UploadedFile.from_json(self._call("GET", _file_path(key)))

    def update_metadata(self, key: str, metadata: Mapping[str, Any]) -> UploadedFile:
        """Merge `metadata` into that of the file stored under `key`, and return the file."""
        return UploadedFile.from_json(self._call("PATCH", _file_path(key), {"metadata": dict(metadata)}))

    def delete(self, key: str) -> None:
        """Delete the file stored under `key`."""
        self._call("DELETE", _file_path(key))

    # -- uploads ------------------------------------------------------------------------------------------------------

    def upload(
        self,
        path_or_file: str | os.PathLike[str] | BinaryIO,
        *,
        route: str = "default",
        file_name: str | None = None,
        content_type: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        on_progress: ProgressCallback | None = None,
        parallel_parts: int = 4,
        resume_store: str | os.PathLike[str] | None = None,
    ) -> UploadedFile:
        """Upload a file and return it once the appliance has verified it.

        `path_or_file`: a path, or a seekable binary file object, sent from where it stands to its end. `file_name` and `content_type`
        default to the path's name and to what its ending says. `on_progress(sent_bytes, total_bytes)` is called one call at a time,
        from several threads; `sent_bytes` falls when a part has to be sent again. Files over 10 MiB go up in `parallel_parts` parts at
        once. With `resume_store` (a directory; see `default_resume_store`) such an upload of a path survives the end of this process:
        the same call goes on with it. Without, a failed one is aborted.
        """
        with _open_source(path_or_file, file_name) as source:
            declared: dict[str, Any] = {
                "fileName": source.name,
                "fileSize": source.size_bytes,
                "contentType": content_type or _guess_content_type(source.name),
                "routeSlug": route,
                **({"metadata": dict(metadata)} if metadata else {}),
            }
            progress = _Progress(source.size_bytes, on_progress)
            if source.size_bytes <= MULTIPART_OVER_BYTES:
                return self._upload_single(source, declared, progress)
            state_path = self._state_path(Path(resume_store), source, declared) if resume_store and source.identity else None
            with _UploadState(state_path) as state:
                return self._upload_multipart(source, declared, progress, state, max(1, parallel_parts))

    def _state_path(self, directory: Path, source: _Source, declared: Mapping[str, Any]) -> Path:
        key_hash = hashlib.sha256(self._api_key.encode()).hexdigest()
        fingerprint = json.dumps([self._base_url, key_hash, source.identity, declared], sort_keys=True)
        return directory / f"{hashlib.sha256(fingerprint.encode()).hexdigest()}.json"

    def _upload_single(self, source: _Source, declared: Mapping[str, Any], progress: _Progress) -> UploadedFile:
        # The same Idempotency-Key on every try: a repeated request is answered with the same file and a fresh URL.
        idempotency = {"Idempotency-Key": str(uuid.uuid4())}
        slot: dict[str, Any] = {}
        stale_urls = 0

        def attempt() -> None:
            nonlocal slot, stale_urls
            slot = slot or self._call_once("POST", "/upload/request", declared, headers=idempotency, required=("fileId", "uploadUrl"))
            try:
                self._put(slot["uploadUrl"], _Slice(source, 0, source.size_bytes, progress, threading.Event()), slot.get("headers") or {})
            except UploadKitStorageError as error:
                if error.url_may_be_stale:
                    stale_urls, slot = stale_urls + 1, {}
                    error.transient = stale_urls < _MAX_STALE_URLS
                raise

        self._retrying(attempt)
        source.check_unchanged()
        answer = self._call("POST", "/upload/complete", {"fileId": slot["fileId"]}, timeout_seconds=_COMPLETE_TIMEOUT_SECONDS)
        return UploadedFile.from_json(answer)

    def _upload_multipart(
        self, source: _Source, declared: Mapping[str, Any], progress: _Progress, state: _UploadState, parallel_parts: int
    ) -> UploadedFile:
        resumed = bool(state.content)
        try:
            return self._run_multipart(source, declared, progress, state, parallel_parts)
        except UploadKitApiError as error:
            if not (resumed and error.code in _NO_LONGER_RESUMABLE):
                raise
        state.save({})
        progress.restart()
        return self._run_multipart(source, declared, progress, state, parallel_parts)

    def _run_multipart(
        self, source: _Source, declared: Mapping[str, Any], progress: _Progress, state: _UploadState, parallel_parts: int
    ) -> UploadedFile:
        try:
            if "uploadId" in state.content:
                try:
                    answer = self._call("POST", "/upload/multipart/parts", state.upload, required=_PARTS_FIELDS)
                except UploadKitApiError as error:
                    if error.code not in _NO_LONGER_RESUMABLE:
                        raise
                    # Perhaps it was completed and the answer never arrived: repeating is safe, and says so.
                    return self._complete_multipart(state, {})
            else:
                state.save({"idempotencyKey": state.content.get("idempotencyKey") or str(uuid.uuid4())})
                headers = {"Idempotency-Key": state.content["idempotencyKey"]}
                answer = self._call("POST", "/upload/multipart/init", declared, headers=headers, required=_INIT_FIELDS)
                state.save(state.content | {"fileId": answer["fileId"], "uploadId": answer["uploadId"]})
            parts = _Parts(self, source, progress, state.upload, answer)
            parts.send_missing(parallel_parts)
            source.check_unchanged()
            try:
                return self._complete_multipart(state, parts.etags)
            except UploadKitApiError as error:
                if error.code != "INVALID_PARTS":
                    raise
            parts.take(self._call("POST", "/upload/multipart/parts", state.upload, required=_PARTS_FIELDS))
            parts.send_missing(parallel_parts)
            return self._complete_multipart(state, {})
        except UploadKitClientError as error:
            self._settle_failure(error, state)
            raise

    def _complete_multipart(self, state: _UploadState, etags: Mapping[int, str | None]) -> UploadedFile:
        # ETags let the store refuse parts that are not the ones we sent. One that a proxy took away: the appliance lists the parts itself.
        body: dict[str, Any] = dict(state.upload)
        if etags and all(etags.values()):
            body["parts"] = [{"partNumber": number, "etag": etag} for number, etag in sorted(etags.items())]
        file = UploadedFile.from_json(self._call("POST", "/upload/multipart/complete", body, timeout_seconds=_COMPLETE_TIMEOUT_SECONDS))
        state.save({})
        return file

    def _settle_failure(self, error: Exception, state: _UploadState) -> None:
        """Free at once what can't be gone on with; keep what can."""
        lost = isinstance(error, UploadKitFileError) or not state.is_kept
        if lost and "uploadId" in state.content:
            with suppress(UploadKitClientError):
                self._call_once("POST", "/upload/multipart/abort", state.upload, timeout_seconds=5.0)
        refused = isinstance(error, UploadKitApiError) and not error.transient
        if lost or (refused and ("uploadId" not in state.content or getattr(error, "code", "") in _NO_LONGER_RESUMABLE)):
            state.save({})

    # -- the wire -----------------------------------------------------------------------------------------------------

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None, **options: Any) -> dict[str, Any]:
        return self._retrying(lambda: self._call_once(method, path, body, **options))

    def _retrying(self, attempt: Callable[[], Result], stopped: threading.Event | None = None) -> Result:
        """Return what `attempt` returns; try again after transient failures, with growing, random pauses and never for ever."""
        stopped = stopped or threading.Event()
        tries, waited_seconds = 0, 0.0
        while True:
            try:
                return attempt()
            except UploadKitClientError as error:
                jitter = random.uniform(0.5, 1.0)  # noqa: S311 (no secret: it keeps clients from coming back all at once)
                pause = max(error.retry_after_seconds, min(_LONGEST_PAUSE_SECONDS, 0.25 * 2**tries) * jitter)
                ever_reached = not isinstance(error, UploadKitConnectionError) or error.ever_reached
                budget = self._retry_seconds if ever_reached else min(self._retry_seconds, _FIRST_CONTACT_SECONDS)
                if not error.transient or waited_seconds + pause > budget:
                    raise
            tries, waited_seconds = tries + 1, waited_seconds + pause
            if stopped.wait(pause):
                raise _Stopped

    def _call_once(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        timeout_seconds: float | None = None,
        required: tuple[str, ...] = (),
    ) -> dict[str, Any]:
        sent_headers = {"x-api-key": self._api_key, "Accept": "application/json", "User-Agent": "uploadkit-python", **(headers or {})}
        content = None
        if body is not None:
            content, sent_headers["Content-Type"] = (json.dumps(body).encode(), "application/json")
        response = self._exchange(method, self._base_url + path, sent_headers, content, timeout_seconds)
        try:
            answer = response.json()
        except ValueError:
            answer = None
        if 200 <= response.status < 300 and isinstance(answer, dict) and all(name in answer for name in required):
            return answer
        raise _api_error(response, answer)

    def _put(self, url: str, body: _Slice, headers: Mapping[str, str]) -> str | None:
        """Stream `body` to a presigned URL; return the ETag. The API key is not for the store."""
        sent_headers = urllib3.HTTPHeaderDict(headers)
        sent_headers["Content-Length"] = str(body.length)  # signed: without it urllib3 would send chunks
        try:
            response = self._exchange("PUT", url, sent_headers, body)
            if not 200 <= response.status < 300:
                raise _storage_error(response, _origin(url))
        except Exception:
            body.take_back()
            raise
        return response.headers.get("ETag")

    def _exchange(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | _Slice | None, timeout_seconds: float | None = None
    ) -> urllib3.BaseHTTPResponse:
        origin = _origin(url)
        seconds = timeout_seconds or self._timeout_seconds
        connecting = _SEND_TIMEOUT_SECONDS if isinstance(body, _Slice) else _CONNECT_TIMEOUT_SECONDS
        timeout = urllib3.Timeout(connect=min(seconds, connecting), read=seconds)
        try:
            response = self._pool.urlopen(method, url, headers=headers, body=body, timeout=timeout, retries=False, redirect=False)
        except urllib3.exceptions.HTTPError as error:
            raise UploadKitConnectionError(
                f"{origin}: {_reason(error)}",
                "Check that the appliance runs there and that this machine can reach it",
                transient=not isinstance(error, urllib3.exceptions.SSLError | urllib3.exceptions.LocationValueError),
                ever_reached=origin in self._reached_origins,
            ) from error
        self._reached_origins.add(origin)
        return response


class _Stopped(Exception):
    """Another thread failed or the user pressed Ctrl-C: this thread ends without a word."""


class _Parts:
    """The parts of one multipart upload: what the store has, URLs for the rest, and the threads that send them."""

    def __init__(self, client: Client, source: _Source, progress: _Progress, upload: Mapping[str, str], answer: Mapping[str, Any]) -> None:
        self._client, self._source, self._progress, self._upload = (client, source, progress, upload)
        self._part_size = int(answer["partSize"])
        self._lock, self._generation = threading.Lock(), 0
        self.take(answer)

    def take(self, answer: Mapping[str, Any]) -> None:
        """Start from what the appliance says is there, and its URLs for the rest."""
        self.etags = self._arrived(answer)
        self._urls = {part["partNumber"]: part["uploadUrl"] for part in answer["parts"]}
        self._progress.restart(sum(self._length(number) for number in self.etags))

    def send_missing(self, parallel_parts: int) -> None:
        """Send every part that is not there, `parallel_parts` at a time; raise the first failure that retrying did not mend."""
        count = -(-self._source.size_bytes // self._part_size)
        missing = [number for number in range(1, count + 1) if number not in self.etags]
        numbers = iter(missing)
        outcomes: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
        stopped = threading.Event()

        def work() -> None:
            try:
                for number in numbers:
                    if stopped.is_set():
                        break
                    self._send(number, stopped)
                outcomes.put(None)
            except BaseException as error:  # for the waiting thread to raise
                outcomes.put(error)

        try:
            for _ in range(min(parallel_parts, len(missing))):
                # Daemon: a thread that waits for a stalled store must not keep the process from ending after Ctrl-C.
                threading.Thread(target=work, daemon=True).start()
            for _ in range(min(parallel_parts, len(missing))):
                failure = outcomes.get()
                if failure is not None:
                    raise failure
        finally:
            stopped.set()

    def _send(self, number: int, stopped: threading.Event) -> None:
        length, stale_generation, stale_urls = self._length(number), -1, 0

        def attempt() -> None:
            nonlocal stale_generation, stale_urls
            url, generation = self._url_of(number, stale_generation)
            if number in self.etags:  # it had arrived, only the store's answer had not
                self._progress.add(length)
                return
            try:
                body = _Slice(self._source, (number - 1) * self._part_size, length, self._progress, stopped)
                etag = self._client._put(url, body, {})
            except UploadKitConnectionError:
                stale_generation = generation  # a store may hang up on an expired URL before its answer can be read
                raise
            except UploadKitStorageError as error:
                if error.url_may_be_stale:
                    stale_generation, stale_urls = generation, stale_urls + 1
                    error.transient = stale_urls < _MAX_STALE_URLS
                raise
            with self._lock:
                self.etags[number] = etag

        self._client._retrying(attempt, stopped)

    def _url_of(self, number: int, stale_generation: int) -> tuple[str, int]:
        """Return a part's URL. URLs expire together, so the first thread that finds its own stale renews them for all."""
        with self._lock:
            if self._generation == stale_generation:
                answer = self._client._call_once("POST", "/upload/multipart/parts", self._upload, required=_PARTS_FIELDS)
                self._urls.update((part["partNumber"], part["uploadUrl"]) for part in answer["parts"])
                self.etags.update(self._arrived(answer))
                self._generation += 1
            if number not in self._urls:
                raise _not_this_api(200)
            return self._urls[number], self._generation

    def _arrived(self, answer: Mapping[str, Any]) -> dict[int, str | None]:
        uploaded = answer.get("uploaded", ())
        return {part["partNumber"]: part["etag"] for part in uploaded if part["size"] == self._length(part["partNumber"])}

    def _length(self, number: int) -> int:
        return min(self._part_size, self._source.size_bytes - (number - 1) * self._part_size)


class _Progress:
    """Counts the bytes that were sent, from any thread."""

    def __init__(self, total_bytes: int, callback: ProgressCallback | None) -> None:
        self._total_bytes, self._callback = total_bytes, callback
        self._sent_bytes, self._lock = 0, threading.Lock()

    def add(self, count: int) -> None:
        with self._lock:
            self._sent_bytes += count
            if self._callback:
                self._callback(self._sent_bytes, self._total_bytes)

    def restart(self, sent_bytes: int = 0) -> None:
        self.add(sent_bytes - self._sent_bytes)


class _Slice:
    """A stretch of a file as urllib3 reads it: block by block, never whole."""

    def __init__(self, source: _Source, offset: int, length: int, progress: _Progress, stopped: threading.Event) -> None:
        self.length, self.sent_bytes = length, 0
        self._source, self._offset, self._progress, self._stopped = (source, offset, progress, stopped)

    def read(self, count: int) -> bytes:
        if self._stopped.is_set():
            raise _Stopped
        if self.sent_bytes == self.length:
            return b""
        try:
            block = self._source.read_at(self._offset + self.sent_bytes, min(self.length - self.sent_bytes, count))
        except OSError as error:  # told apart from the network's
            raise UploadKitFileError(f"can't be read: {error.strerror}", code="FILE_NOT_READABLE") from error
        if not block:
            raise _file_changed()
        self.sent_bytes += len(block)
        self._progress.add(len(block))
        return block

    def take_back(self) -> None:
        """Take what was sent back from the progress: it has to be sent again."""
        if not self._stopped.is_set():
            self._progress.add(-self.sent_bytes)


class _Source:
    """What is uploaded: an open file from where it stands to its end, read from several threads.

    `identity` tells a path's present content from any other, for resuming; a file object has none.
    """

    def __init__(self, file: BinaryIO, name: str, path: str | None = None) -> None:
        self._file, self._lock = file, threading.Lock()
        self._start = file.tell() if path is None else 0
        self._opened_as = self._version()
        self.name, self.size_bytes = name, self._opened_as[0] - self._start
        self.identity = None if path is None else (os.path.abspath(path), *self._opened_as)
        if self.size_bytes <= 0:
            raise UploadKitFileError("is empty: a file of 0 bytes can't be uploaded", code="FILE_EMPTY")
        if len(name) > MAX_FILE_NAME_CHARACTERS:
            raise UploadKitFileError(f"has a name of {len(name)} characters; {MAX_FILE_NAME_CHARACTERS} are allowed")

    def read_at(self, offset: int, count: int) -> bytes:
        with self._lock:
            self._file.seek(self._start + offset)
            return self._file.read(count)

    def check_unchanged(self) -> None:
        if self._version() != self._opened_as:
            raise _file_changed()

    def close(self) -> None:
        with self._lock:  # a thread that outlives the upload must find it closed, not closed under its read
            self._file.close()

    def _version(self) -> tuple[int, int]:
        with self._lock:
            try:
                standing = os.fstat(self._file.fileno())
            except OSError:  # in memory
                return self._file.seek(0, io.SEEK_END), 0
            return standing.st_size, standing.st_mtime_ns


@contextmanager
def _open_source(path_or_file: str | os.PathLike[str] | BinaryIO, file_name: str | None) -> Iterator[_Source]:
    if not isinstance(path_or_file, str | os.PathLike):
        own_name = getattr(path_or_file, "name", None)
        name = file_name or (_sendable_name(own_name) if isinstance(own_name, str) else "")
        if not name:
            raise ValueError("file_name is needed: this file object has no name")
        yield _Source(path_or_file, name)
        return
    path = os.fspath(path_or_file)
    with _opened(path) as file:
        source = _Source(file, file_name or _sendable_name(path), path)
        try:
            yield source
        finally:
            source.close()


@contextmanager
def _opened(path: str) -> Iterator[BinaryIO]:
    try:
        # O_NONBLOCK: a named pipe must be refused below, not waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        raise UploadKitFileError(f"can't be opened: {getattr(error, 'strerror', error)}", code="FILE_NOT_READABLE") from error
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        if stat.S_ISDIR(mode):
            raise UploadKitFileError("is a directory", "Name the files in it, or pack it into an archive first")
        raise UploadKitFileError("is not a regular file", "An upload declares its size first: write the data to a file")
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        yield cast("BinaryIO", file)


class _UploadState:
    """What it takes to go on with a multipart upload: in memory, and where a path is given in a file (0600) locked while in use.

    Holds ids, never the API key nor a URL.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.content: dict[str, str] = {}
        if path is not None:
            self._descriptor = _open_locked(path)
            with suppress(ValueError):  # torn by a kill: nothing to go on with
                found = json.loads(os.pread(self._descriptor, 64 * 1024, 0))
                self.content = found if isinstance(found, dict) else {}

    @property
    def is_kept(self) -> bool:
        return self._path is not None

    @property
    def upload(self) -> dict[str, str]:
        return {"fileId": self.content["fileId"], "uploadId": self.content["uploadId"]}

    def save(self, content: dict[str, str]) -> None:
        self.content = content
        if self._path is not None:
            try:
                written = os.pwrite(self._descriptor, json.dumps(content).encode(), 0)
                os.ftruncate(self._descriptor, written)
            except OSError as error:
                raise _state_unusable(self._path, error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._path is not None:
            if not self.content:
                self._path.unlink(missing_ok=True)
            os.close(self._descriptor)


def _open_locked(path: Path) -> int:
    while True:
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise _state_unusable(path, error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.stat(path), os.fstat(descriptor)):
                return descriptor
        except FileNotFoundError:
            pass  # its owner finished and removed it between our open and our lock
        except BlockingIOError:
            os.close(descriptor)
            raise UploadKitFileError("is being uploaded by another process", "Wait for it to end", code="FILE_IN_USE") from None
        os.close(descriptor)


def _state_unusable(path: Path, error: OSError) -> UploadKitClientError:
    message = f"what it takes to resume can't be kept in {path.parent}: {error.strerror}"
    return UploadKitClientError(message, "Make it writable, or choose another directory", code="RESUME_STORE_UNUSABLE")


def default_resume_store() -> Path:
    """Return the directory where unfinished uploads are remembered: `$XDG_STATE_HOME/uploadkit/uploads`."""
    state_home = os.environ.get("XDG_STATE_HOME", "")
    return (Path(state_home) if os.path.isabs(state_home) else Path.home() / ".local" / "state") / "uploadkit" / "uploads"


def _api_address(base_url: str) -> str:
    parts = urlsplit(base_url.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query or parts.fragment:
        raise ValueError("base_url must look like http://127.0.0.1:8080 or https://uploads.example.com")
    path = parts.path.rstrip("/")
    return f"{parts.scheme}://{parts.netloc}{path if path.endswith('/api/v1') else path + '/api/v1'}"


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _file_path(key: str) -> str:
    if any(segment in ("", ".", "..") for segment in key.split("/")):
        raise ValueError(f"{key!r} is not the key of a file")
    return f"/files/{quote(key)}"


def _sendable_name(path: str) -> str:
    """Return the last part of a path as the API takes it: what is not UTF-8, and control characters, become U+FFFD."""
    text = os.fsencode(os.path.basename(os.path.abspath(path))).decode("utf-8", "replace")
    return "".join("\ufffd" if unicodedata.category(character) == "Cc" else character for character in text)


def _guess_content_type(name: str) -> str:
    # Only the endings: guess_type takes a whole name for a URL. A compressed file is what it is compressed with.
    content_type, encoding = mimetypes.guess_type("file" + "".join(Path(name).suffixes[-2:]))
    if encoding:
        return {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz"}.get(
            encoding, "application/octet-stream"
        )
    return content_type or "application/octet-stream"


def _file_changed() -> UploadKitFileError:
    return UploadKitFileError("changed while it was uploaded; nothing was kept", "Upload it again when it is complete", code="FILE_CHANGED")


def _reason(error: BaseException) -> str:
    if isinstance(error, urllib3.exceptions.SSLError):
        return f"TLS failed: {error}"
    if isinstance(error, urllib3.exceptions.NameResolutionError):
        return "this host name is not known"
    causes: list[object] = [error.__cause__, error.__context__, *error.args]
    timeouts = (TimeoutError, urllib3.exceptions.TimeoutError)
    if any(isinstance(cause, timeouts) and not isinstance(cause, urllib3.exceptions.NewConnectionError) for cause in (error, *causes)):
        return "no answer in time"
    return next((cause.strerror.lower() for cause in causes if isinstance(cause, OSError) and cause.strerror), "the connection was lost")


def _retry_after(response: urllib3.BaseHTTPResponse) -> float:
    try:
        return urllib3.Retry().get_retry_after(response) or 0.0
    except urllib3.exceptions.InvalidHeader:
        return 0.0


def _not_this_api(status: int) -> UploadKitApiError:
    message = f"the answer (HTTP {status}) is not one of the UploadKit API"
    return UploadKitApiError(status, "UNEXPECTED_ANSWER", message, "Check the base URL, and what stands between here and the appliance")


def _api_error(response: urllib3.BaseHTTPResponse, answer: Any) -> UploadKitApiError:
    told = answer.get("error") if isinstance(answer, dict) else None
    if isinstance(told, dict) and isinstance(told.get("code"), str):
        error = UploadKitApiError(
            response.status,
            told["code"],
            str(told.get("message", "")),
            told.get("suggestion"),
            told.get("details"),
            response.headers.get("X-Request-Id"),
        )
    elif 300 <= response.status < 400:
        target = _origin(response.headers.get("Location", ""))
        message = f"the address redirects (HTTP {response.status}) to {target}; the API key is not sent there"
        error = UploadKitApiError(response.status, "UNEXPECTED_REDIRECT", message, "Use the final address as the base URL")
    else:
        error = _not_this_api(response.status)
    error.retry_after_seconds = _retry_after(response)
    return error


def _storage_error(response: urllib3.BaseHTTPResponse, origin: str) -> UploadKitStorageError:
    # Only the code: the rest of a store's answer may quote access key ids and signatures.
    _, _, rest = response.data.decode("utf-8", "replace").partition("<Code>")
    code = rest.partition("</Code>")[0]
    code = code if code.isalnum() and len(code) <= 64 else f"HTTP_{response.status}"
    error = UploadKitStorageError(response.status, code, f"the store at {origin} refused the bytes (HTTP {response.status})")
    error.retry_after_seconds = _retry_after(response)
    return error
