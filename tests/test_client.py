"""The Python client against a small appliance and store of its own, which can be told to misbehave at an exact moment."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import stat
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from uploadkit.client import (
    Client,
    UploadedFile,
    UploadKitApiError,
    UploadKitClientError,
    UploadKitConnectionError,
    UploadKitFileError,
    UploadKitStorageError,
)

API_KEY = "uk_live_" + "s3cretKEYs3cretKEYs3cretKEYs3cre"
PART_SIZE = 5 * 1024 * 1024
BIG = 4 * PART_SIZE + 12345
Answer = tuple[int, dict[str, str], bytes]


class FakeAppliance:
    """The upload part of api.md, section 6, and a store for it. `on_api` and `on_put` may answer in their place, or wait."""

    def __init__(self) -> None:
        self.files: dict[str, dict[str, Any]] = {}
        self.objects: dict[str, bytes] = {}
        self.parts: dict[str, dict[int, bytes]] = {}
        self.init_by_idempotency_key: dict[str, str] = {}
        self.calls: list[str] = []
        self.headers_at_store: list[dict[str, str]] = []
        self.arrived_puts: Counter[int] = Counter()
        self.oldest_valid_generation = self.generation = 0
        self.etags = True
        self.on_api: Callable[[str], Answer | str | None] = lambda path: None
        self.on_put: Callable[[int], Answer | str | None] = lambda number: None
        self.lock = threading.RLock()
        self.api = self._serve(self._handle_api)
        self.store = self._serve(self._handle_store)
        self.api_url = f"http://127.0.0.1:{self.api.server_port}"
        self.store_url = f"http://127.0.0.1:{self.store.server_port}"

    def close(self) -> None:
        for server in (self.api, self.store):
            server.shutdown()
            server.server_close()

    def expire_urls(self) -> None:
        self.generation += 1
        self.oldest_valid_generation = self.generation

    @property
    def only_file(self) -> dict[str, Any]:
        (file,) = (file for file in self.files.values() if file["status"] == "UPLOADED")
        return file

    def content(self, file: dict[str, Any]) -> bytes:
        return self.objects[file["id"]]

    def _serve(self, handle: Callable[[BaseHTTPRequestHandler], Answer | str]) -> ThreadingHTTPServer:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                told = handle(self)
                if told == "hang up":
                    self.close_connection = True
                    return
                assert not isinstance(told, str)
                status, headers, body = told
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815 (the names that http.server calls)

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                pass  # clients that are killed hang up

        server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return server

    # -- the API ------------------------------------------------------------------------------------------------------

    def _handle_api(self, request: BaseHTTPRequestHandler) -> Answer | str:
        body = json.loads(request.rfile.read(int(request.headers.get("Content-Length", 0))) or b"{}")
        path = urlsplit(request.path).path.removeprefix("/api/v1")
        with self.lock:
            self.calls.append(f"{request.command} {path}")
        told = self.on_api(path)
        if told is not None:
            return told
        if request.headers.get("x-api-key") != API_KEY:
            return error(401, "UNAUTHORIZED", "This API key is not known", "Make one with 'keys create'")
        with self.lock:
            return self._answer_api(request, path, body)

    def _answer_api(self, request: BaseHTTPRequestHandler, path: str, body: dict[str, Any]) -> Answer:
        if path in ("/upload/request", "/upload/multipart/init"):
            return self._start(path, body, request.headers["Idempotency-Key"])
        if path.startswith("/files"):
            return self._answer_files(request, unquote(path.removeprefix("/files").removeprefix("/")), body)
        file = self.files.get(body["fileId"])
        if file is None:
            return error(404, "UPLOAD_NOT_FOUND", "There is no such upload")
        if path == "/upload/multipart/parts":
            if file["status"] == "UPLOADED":
                return error(409, "CONFLICT", "This upload is complete")
            there = self.parts[file["id"]]
            uploaded = [{"partNumber": n, "size": len(data), "etag": etag_of(data)} for n, data in there.items()]
            rest = [part for part in self._part_urls(file) if part["partNumber"] not in there]
            return ok({"uploadId": body["uploadId"], "partSize": PART_SIZE, "uploaded": uploaded, "parts": rest, "expiresAt": "x"})
        if path == "/upload/multipart/abort":
            del self.files[file["id"]]
            return ok({"aborted": True})
        return self._complete(path, file, body)

    def _complete(self, path: str, file: dict[str, Any], body: dict[str, Any]) -> Answer:
        if "multipart" in path and file["status"] != "UPLOADED":
            there = self.parts[file["id"]]
            sent = {part["partNumber"]: part["etag"] for part in body.get("parts", [])} or {n: etag_of(d) for n, d in there.items()}
            if sent != {n: etag_of(d) for n, d in there.items()} or sorted(there) != list(range(1, part_count(file) + 1)):
                return error(422, "INVALID_PARTS", "Parts are missing")
            self.objects[file["id"]] = b"".join(there[number] for number in sorted(there))
        if len(self.objects.get(file["id"], b"")) != file["fileSize"]:
            return error(422, "UPLOAD_NOT_VERIFIED", "The object is not in storage")
        file["status"] = "UPLOADED"
        return ok(file)

    def _start(self, path: str, body: dict[str, Any], idempotency_key: str) -> Answer:
        if body["fileSize"] > 1024**3:
            return error(413, "FILE_TOO_LARGE", "File size exceeds\n the limit", "Move the project to a larger tier")
        file_id = self.init_by_idempotency_key.setdefault(idempotency_key, uuid.uuid4().hex)
        key = f"p1/{body['routeSlug']}/{file_id}/name"
        now = "2026-04-08T12:00:00.000Z"
        file = {**body, "id": file_id, "key": key, "url": f"{self.api_url}/f/{key}", "status": "UPLOADING", "environment": "live"}
        self.files[file_id] = {"metadata": {}, **file, "createdAt": now, "updatedAt": now, "uploadedAt": now, "etag": "e"}
        if path == "/upload/request":
            headers = {"Content-Type": body["contentType"], "Content-Length": str(body["fileSize"])}
            return ok({"fileId": file_id, "uploadUrl": self._url(file_id, 0), "key": key, "headers": headers, "expiresAt": now})
        self.parts.setdefault(file_id, {})
        parts = self._part_urls(self.files[file_id])
        return ok({"fileId": file_id, "uploadId": "up-" + file_id, "key": key, "partSize": PART_SIZE, "parts": parts, "expiresAt": now})

    def _part_urls(self, file: dict[str, Any]) -> list[dict[str, Any]]:
        return [{"partNumber": n, "uploadUrl": self._url(file["id"], n)} for n in range(1, part_count(file) + 1)]

    def _url(self, file_id: str, number: int) -> str:
        return f"{self.store_url}/{file_id}?part={number}&generation={self.generation}&X-Amz-Signature=sig"

    def _answer_files(self, request: BaseHTTPRequestHandler, key: str, body: dict[str, Any]) -> Answer:
        if not key:
            query = {name: values[0] for name, values in parse_qs(urlsplit(request.path).query).items()}
            files = [file for file in self.files.values() if query.get("search", "") in file["fileName"]]
            start, limit = int(query.get("cursor", 0)), int(query["limit"])
            more = start + limit < len(files)
            page = files[start : start + limit]
            return ok({"items": page, "nextCursor": str(start + limit) if more else None, "hasMore": more})
        found = [file for file in self.files.values() if file["key"] == key]
        if not found:
            return error(404, "NOT_FOUND", "There is no such file")
        if request.command == "DELETE":
            del self.files[found[0]["id"]]
            return ok({"deleted": True})
        found[0]["metadata"].update(body.get("metadata", {}))
        return ok(found[0])

    # -- the store ----------------------------------------------------------------------------------------------------

    def _handle_store(self, request: BaseHTTPRequestHandler) -> Answer | str:
        query = {name: values[0] for name, values in parse_qs(urlsplit(request.path).query).items()}
        file_id, number = urlsplit(request.path).path.strip("/"), int(query["part"])
        with self.lock:
            self.headers_at_store.append({name.lower(): value for name, value in request.headers.items()})
        data = request.rfile.read(int(request.headers["Content-Length"]))
        told = self.on_put(number)
        if told is not None:
            return told
        with self.lock:
            if int(query["generation"]) < self.oldest_valid_generation:
                return 403, {}, b"<Error><Code>AccessDenied</Code><AWSAccessKeyId>AKIASECRET</AWSAccessKeyId></Error>"
            self.arrived_puts[number] += 1
            if number:
                self.parts[file_id][number] = data
            else:
                self.objects[file_id] = data
            return 200, {"ETag": etag_of(data)} if self.etags else {}, b""


def part_count(file: dict[str, Any]) -> int:
    return -(-int(file["fileSize"]) // PART_SIZE)


def etag_of(data: bytes) -> str:
    return f'"{hashlib.md5(data).hexdigest()}"'


def ok(body: dict[str, Any]) -> Answer:
    return 200, {"Content-Type": "application/json"}, json.dumps(body).encode()


def error(status: int, code: str, message: str, suggestion: str | None = None, **headers: str) -> Answer:
    body = {"error": {"code": code, "message": message, **({"suggestion": suggestion} if suggestion else {})}}
    told = {"Content-Type": "application/json", "X-Request-Id": "req-7", **{k.replace("_", "-"): v for k, v in headers.items()}}
    return status, told, json.dumps(body).encode()


def first(count: int, answer: Answer | str, of: str | int) -> Callable[[Any], Answer | str | None]:
    """Return a hook that gives `answer` to the first `count` requests of one kind."""
    left, lock = [count], threading.Lock()

    def hook(which: str | int) -> Answer | str | None:
        with lock:
            if which != of or left[0] == 0:
                return None
            left[0] -= 1
            return answer

    return hook


@pytest.fixture
def appliance() -> Iterator[FakeAppliance]:
    fake = FakeAppliance()
    yield fake
    fake.close()


@pytest.fixture
def client(appliance: FakeAppliance) -> Iterator[Client]:
    with Client(appliance.api_url, API_KEY, timeout_seconds=20, retry_seconds=20) as client:
        yield client


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"\xff\xd8\xff" + b"x" * 1000)
    return path


@pytest.fixture
def big(tmp_path: Path) -> Path:
    path = tmp_path / "film.mp4"
    path.write_bytes(random.Random(1).randbytes(BIG))
    return path


# -- single uploads and files -------------------------------------------------------------------------------------------


def test_a_small_file_goes_up_by_one_put(appliance: FakeAppliance, client: Client, small: Path) -> None:
    seen: list[tuple[int, int]] = []
    file = client.upload(small, metadata={"album": "1"}, on_progress=lambda sent, total: seen.append((sent, total)))
    assert isinstance(file, UploadedFile)
    assert (file.file_name, file.content_type, file.status, file.route) == ("photo.jpg", "image/jpeg", "UPLOADED", "default")
    assert file.metadata == {"album": "1"}
    assert file.size_bytes == small.stat().st_size
    assert file.created_at.year == 2026
    assert appliance.content(appliance.only_file) == small.read_bytes()
    assert appliance.calls == ["POST /upload/request", "POST /upload/complete"]
    assert seen[-1] == (file.size_bytes, file.size_bytes)


def test_the_store_gets_the_named_headers_and_never_the_api_key(appliance: FakeAppliance, client: Client, small: Path, big: Path) -> None:
    client.upload(small)
    assert appliance.headers_at_store[0]["content-type"] == "image/jpeg"
    client.upload(big)
    for headers in appliance.headers_at_store:
        assert "transfer-encoding" not in headers
        assert "content-length" in headers
        assert API_KEY not in json.dumps(headers)
        assert "x-api-key" not in headers


def test_files_are_listed_read_changed_and_deleted(client: Client, small: Path) -> None:
    files = [client.upload(small, file_name=name) for name in ("a.txt", "b c&d.txt", "日本語.pdf")]
    page = client.list(limit=2)
    rest = client.list(limit=2, cursor=page.next_cursor)
    assert [file.file_name for file in page.items + rest.items] == ["a.txt", "b c&d.txt", "日本語.pdf"]
    assert page.has_more
    assert not rest.has_more
    assert [file.id for file in client.list(search="b c&d").items] == [files[1].id]
    assert client.update_metadata(files[0].key, {"x": 1}).metadata == {"x": 1}
    assert client.get(files[0].key).metadata == {"x": 1}
    client.delete(files[0].key)
    with pytest.raises(UploadKitApiError) as caught:
        client.get(files[0].key)
    assert (caught.value.status, caught.value.code, caught.value.request_id) == (404, "NOT_FOUND", "req-7")
    for wrong in ("", "..", "a/../b", "a//b"):
        with pytest.raises(ValueError, match="not the key"):
            client.delete(wrong)


def test_file_objects_are_sent_from_where_they_stand(appliance: FakeAppliance, client: Client, big: Path) -> None:
    memory = io.BytesIO(b"skipped" + b"y" * BIG)
    memory.seek(7)
    client.upload(memory, file_name="memory.bin")
    assert appliance.content(appliance.only_file) == b"y" * BIG
    with big.open("rb") as file:
        assert client.upload(file).file_name == "film.mp4"
    with pytest.raises(ValueError, match="file_name is needed"):
        client.upload(io.BytesIO(b"nameless"))


@pytest.mark.parametrize(
    ("name", "content_type"),
    [
        ("a.PDF", "application/pdf"),
        ("backup.tar.gz", "application/gzip"),
        ("noending", "application/octet-stream"),
        ("x.nosuchending", "application/octet-stream"),
        ("data:text,html.png", "image/png"),
    ],
)
def test_the_content_type_follows_the_name(client: Client, name: str, content_type: str) -> None:
    assert client.upload(io.BytesIO(b"1"), file_name=name).content_type == content_type


@pytest.mark.parametrize("name", [b"two\nlines.txt", b"not-utf8-\xff.txt", b"[bold]x.txt", "日本語 & +%.txt".encode(), b" ", b"-"])
def test_odd_names_on_disk(client: Client, tmp_path: Path, name: bytes) -> None:
    path = os.path.join(os.fsencode(tmp_path), name)
    Path(os.fsdecode(path)).write_bytes(b"1")
    assert client.upload(os.fsdecode(path)).file_name == name.decode("utf-8", "replace")


def test_files_that_cannot_be_uploaded_are_refused_before_any_request(appliance: FakeAppliance, client: Client, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    os.mkfifo(tmp_path / "pipe")
    cases = {
        "empty": "FILE_EMPTY",
        "pipe": "INVALID_FILE",
        ".": "INVALID_FILE",
        "missing": "FILE_NOT_READABLE",
        "a\0b": "FILE_NOT_READABLE",
    }
    for name, code in cases.items():
        with pytest.raises(UploadKitFileError) as caught:
            client.upload(os.path.join(tmp_path, name))
        assert caught.value.code == code
    with pytest.raises(UploadKitFileError, match="300 characters"):
        client.upload(io.BytesIO(b"1"), file_name="x" * 300)
    assert appliance.calls == []


# -- multipart and resuming ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("etags", [True, False])
def test_a_big_file_goes_up_in_parts(appliance: FakeAppliance, client: Client, big: Path, etags: bool) -> None:
    appliance.etags = etags
    highest: list[int] = []
    file = client.upload(big, on_progress=lambda sent, total: highest.append(sent))
    assert appliance.content(appliance.only_file) == big.read_bytes()
    assert file.size_bytes == BIG == highest[-1]
    assert max(highest) == BIG
    assert appliance.arrived_puts == {1: 1, 2: 1, 3: 1, 4: 1, 5: 1}


def fail_part(number: int) -> Callable[[int], Answer | None]:
    return lambda which: (501, {}, b"<Error><Code>NotImplemented</Code></Error>") if which == number else None


def states(directory: Path) -> list[Path]:
    return list(directory.glob("*.json"))


def test_an_upload_that_failed_goes_on_without_sending_parts_again(
    appliance: FakeAppliance, client: Client, big: Path, tmp_path: Path
) -> None:
    store = tmp_path / "state"
    appliance.on_put = fail_part(4)
    with pytest.raises(UploadKitStorageError):
        client.upload(big, resume_store=store, parallel_parts=1)
    (state,) = states(store)
    assert stat.S_IMODE(state.stat().st_mode) == 0o600
    assert stat.S_IMODE(store.stat().st_mode) == 0o700
    assert API_KEY not in state.read_text()
    assert "X-Amz" not in state.read_text()
    assert set(json.loads(state.read_text())) == {
        "idempotencyKey",
        "fileId",
        "uploadId",
    }
    appliance.on_put = lambda number: None
    seen: list[int] = []
    client.upload(big, resume_store=store, on_progress=lambda sent, total: seen.append(sent))
    assert appliance.arrived_puts == {1: 1, 2: 1, 3: 1, 4: 1, 5: 1}
    assert seen[0] == 3 * PART_SIZE
    assert seen[-1] == BIG
    assert appliance.content(appliance.only_file) == big.read_bytes()
    assert states(store) == []


def test_other_settings_or_another_key_do_not_go_on_with_an_upload(
    appliance: FakeAppliance, client: Client, big: Path, tmp_path: Path
) -> None:
    appliance.on_put = fail_part(4)
    for options in ({}, {"route": "other"}, {"metadata": {"a": 1}}):
        with pytest.raises(UploadKitStorageError):
            client.upload(big, resume_store=tmp_path / "state", **options)
    assert len(states(tmp_path / "state")) == 3


def test_without_a_resume_store_a_failed_upload_is_aborted(appliance: FakeAppliance, client: Client, big: Path) -> None:
    appliance.on_put = fail_part(2)
    with pytest.raises(UploadKitStorageError) as caught:
        client.upload(big)
    assert caught.value.code == "NotImplemented"
    assert appliance.calls[-1] == "POST /upload/multipart/abort"
    assert appliance.files == {}


def test_an_upload_that_the_appliance_forgot_starts_anew(appliance: FakeAppliance, client: Client, big: Path, tmp_path: Path) -> None:
    appliance.on_put = fail_part(4)
    with pytest.raises(UploadKitStorageError):
        client.upload(big, resume_store=tmp_path / "state")
    appliance.files.clear()
    appliance.on_put = lambda number: None
    client.upload(big, resume_store=tmp_path / "state")
    assert appliance.content(appliance.only_file) == big.read_bytes()
    assert states(tmp_path / "state") == []


def test_a_completion_whose_answer_was_lost_still_gives_the_file(
    appliance: FakeAppliance, client: Client, big: Path, tmp_path: Path
) -> None:
    store = tmp_path / "state"
    refuse = error(400, "VALIDATION_ERROR", "no")
    appliance.on_api = lambda path: refuse if path == "/upload/multipart/complete" else None
    with pytest.raises(UploadKitApiError):
        client.upload(big, resume_store=store)
    (file,) = appliance.files.values()
    appliance._complete("/upload/multipart/complete", file, {})  # as if the client died before it could read the answer
    appliance.on_api = lambda path: None
    assert client.upload(big, resume_store=store).id == file["id"]
    assert appliance.calls.count("POST /upload/multipart/init") == 1
    assert set(appliance.arrived_puts.values()) == {1}
    assert states(store) == []


def test_an_init_whose_answer_was_lost_is_repeated_with_the_same_key(appliance: FakeAppliance, client: Client, big: Path) -> None:
    lost = first(1, "hang up", of="/upload/multipart/init")
    with pytest.raises(UploadKitApiError):
        client.get("reach/the/appliance")
    appliance.on_api = lost
    client.upload(big)
    assert appliance.calls.count("POST /upload/multipart/init") == 2
    assert len(appliance.files) == 1


def test_a_torn_state_file_is_not_trusted(appliance: FakeAppliance, client: Client, big: Path, tmp_path: Path) -> None:
    appliance.on_put = fail_part(4)
    with pytest.raises(UploadKitStorageError):
        client.upload(big, resume_store=tmp_path / "state")
    (state,) = states(tmp_path / "state")
    state.write_bytes(state.read_bytes()[:30])
    appliance.on_put = lambda number: None
    client.upload(big, resume_store=tmp_path / "state")
    assert states(tmp_path / "state") == []


def test_two_at_once_with_one_state_are_refused(appliance: FakeAppliance, client: Client, big: Path, tmp_path: Path) -> None:
    held, release = threading.Event(), threading.Event()

    def hold(number: int) -> None:
        held.set()
        assert release.wait(30)

    appliance.on_put = hold
    uploads = threading.Thread(target=client.upload, args=(big,), kwargs={"resume_store": tmp_path / "state"})
    uploads.start()
    assert held.wait(30)
    with pytest.raises(UploadKitFileError, match="another process") as caught:
        client.upload(big, resume_store=tmp_path / "state")
    assert caught.value.code == "FILE_IN_USE"
    release.set()
    uploads.join(30)
    assert appliance.content(appliance.only_file) == big.read_bytes()


@pytest.mark.parametrize("change", ["truncate", "append", "touch"])
def test_a_file_that_changes_meanwhile_is_given_up(
    appliance: FakeAppliance, client: Client, big: Path, tmp_path: Path, change: str
) -> None:
    def change_it(number: int) -> None:
        if number == 2:
            if change == "truncate":
                os.truncate(big, PART_SIZE)
            elif change == "append":
                with big.open("ab") as file:
                    file.write(b"more")
            else:
                os.utime(big, ns=(1, 1))

    appliance.on_put = change_it
    with pytest.raises(UploadKitFileError) as caught:
        client.upload(big, resume_store=tmp_path / "state", parallel_parts=1)
    assert caught.value.code == "FILE_CHANGED"
    assert appliance.files == {}
    assert states(tmp_path / "state") == []


# -- trouble --------------------------------------------------------------------------------------------------------------


def test_expired_part_urls_are_renewed_once_for_all(appliance: FakeAppliance, client: Client, big: Path) -> None:
    expire_once = first(1, "now", of=2)

    def hook(number: int) -> None:
        if expire_once(number):
            appliance.expire_urls()

    appliance.on_put = hook
    client.upload(big, parallel_parts=2)
    assert appliance.content(appliance.only_file) == big.read_bytes()
    assert appliance.calls.count("POST /upload/multipart/parts") == 1


def test_an_expired_url_of_a_single_upload_is_renewed(appliance: FakeAppliance, client: Client, small: Path) -> None:
    expire_once = first(1, "now", of=0)

    def hook(number: int) -> None:
        if expire_once(number):
            appliance.expire_urls()

    appliance.on_put = hook
    client.upload(small)
    assert appliance.calls.count("POST /upload/request") == 2
    assert len(appliance.files) == 1


def test_a_store_that_keeps_refusing_is_an_error_without_its_secrets(
    appliance: FakeAppliance, client: Client, small: Path, big: Path
) -> None:
    appliance.oldest_valid_generation = 99
    for path in (small, big):
        with pytest.raises(UploadKitStorageError) as caught:
            client.upload(path)
        assert (caught.value.status, caught.value.code) == (403, "AccessDenied")
        assert "AKIASECRET" not in str(caught.value)
        assert "X-Amz" not in str(caught.value)


def test_retry_after_is_honoured(appliance: FakeAppliance, client: Client, small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []

    def note_pause(_: threading.Event, seconds: float | None = None) -> bool:
        pauses.append(seconds or 0)
        return False

    monkeypatch.setattr(threading.Event, "wait", note_pause)
    appliance.on_api = first(1, error(429, "RATE_LIMITED", "Too many", Retry_After="7"), of="/upload/request")
    client.upload(small)
    appliance.on_api = first(1, error(503, "STORAGE_UNAVAILABLE", "Down", Retry_After="5"), of="/upload/complete")
    client.upload(small)
    assert [pause for pause in pauses if pause >= 1] == [7, 5]


def test_waiting_longer_than_allowed_is_given_up_at_once(appliance: FakeAppliance, client: Client, small: Path) -> None:
    appliance.on_api = lambda path: error(429, "RATE_LIMITED", "Too many", Retry_After="3000")
    with pytest.raises(UploadKitApiError) as caught:
        client.upload(small)
    assert caught.value.transient
    assert caught.value.retry_after_seconds == 3000
    assert len(appliance.calls) == 1


@pytest.mark.parametrize("trouble", [(500, {}, b"<Error><Code>InternalError</Code></Error>"), (503, {}, b""), "hang up"])
def test_trouble_at_the_store_passes(appliance: FakeAppliance, client: Client, small: Path, big: Path, trouble: Answer | str) -> None:
    client.upload(small)
    appliance.on_put = first(2, trouble, of=3)
    seen: list[int] = []
    client.upload(big, on_progress=lambda sent, total: seen.append(sent))
    assert appliance.arrived_puts[3] == 1
    assert seen[-1] == BIG


def test_trouble_at_the_api_passes(appliance: FakeAppliance, client: Client, small: Path) -> None:
    client.upload(small)
    troubles: list[Answer | str] = [(502, {}, b"<html>Bad gateway"), "hang up"]
    for trouble in troubles:
        for path in ("/upload/request", "/upload/complete"):
            appliance.on_api = first(2, trouble, of=path)
            client.upload(small)
    assert len(appliance.files) == 5


def test_an_address_where_nothing_answers_fails_soon(small: Path) -> None:
    with pytest.raises(UploadKitConnectionError) as caught:
        Client("http://127.0.0.1:1", API_KEY).upload(small)
    assert "connection refused" in str(caught.value)
    assert "http://127.0.0.1:1" in str(caught.value)


def test_a_redirect_is_not_followed(appliance: FakeAppliance, client: Client, small: Path) -> None:
    appliance.on_api = lambda path: (307, {"Location": f"{appliance.store_url}/steal?part=0&generation=0"}, b"")
    with pytest.raises(UploadKitApiError) as caught:
        client.upload(small)
    assert caught.value.code == "UNEXPECTED_REDIRECT"
    assert appliance.headers_at_store == []


@pytest.mark.parametrize("answer", [(200, {}, b"<html>hello"), (200, {}, b"[]"), (200, {}, b"{}"), (404, {}, b"nginx")])
def test_an_answer_that_is_not_the_apis_is_told_as_such(appliance: FakeAppliance, client: Client, small: Path, answer: Answer) -> None:
    appliance.on_api = lambda path: answer
    with pytest.raises(UploadKitApiError) as caught:
        client.upload(small)
    assert caught.value.code == "UNEXPECTED_ANSWER"


def test_the_key_is_never_shown(appliance: FakeAppliance) -> None:
    client = Client(appliance.api_url + "/api/v1/", API_KEY)
    assert repr(client) == f"Client('{appliance.api_url}/api/v1', 'uk_live_s3c...s3cre')".replace("s3cre'", API_KEY[-6:] + "'")
    assert API_KEY not in repr(client)
    with pytest.raises(UploadKitApiError) as caught:
        Client(appliance.api_url, API_KEY[:-1] + "x").list()
    assert caught.value.code == "UNAUTHORIZED"
    assert "keys create" in str(caught.value)
    assert "s3cretKEY" not in str(caught.value)


@pytest.mark.parametrize("url", ["", "127.0.0.1:8080", "ftp://x", "http://", "http://key@x", "http://x/?a=b"])
def test_an_address_that_cannot_be_one_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="base_url"):
        Client(url, API_KEY)


@pytest.mark.parametrize("key", ["", "uk_live_\n", "uk live", "uk_ключ"])
def test_a_key_that_cannot_be_one_is_refused_without_repeating_it(key: str) -> None:
    with pytest.raises(ValueError, match="api_key") as caught:
        Client("http://127.0.0.1", key)
    assert not key or key not in str(caught.value)


def test_an_error_of_the_progress_callback_reaches_the_caller(client: Client, big: Path) -> None:
    def broken(sent: int, total: int) -> None:
        if sent:
            raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        client.upload(big, on_progress=broken)


def test_every_error_has_one_base() -> None:
    for kind in (UploadKitApiError, UploadKitConnectionError, UploadKitFileError, UploadKitStorageError):
        assert issubclass(kind, UploadKitClientError)
