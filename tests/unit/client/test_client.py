"""The Python client against the real appliance, through a relay that can be told to misbehave at an exact moment."""

from __future__ import annotations

import fcntl
import io
import json
import os
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from tests.support.appliance import ROOT
from tests.support.client_relay import BIG, PART_SIZE, HttpAnswer, Relay, Reply, error
from uploadkit.client import (
    Client,
    UploadedFile,
    UploadKitApiError,
    UploadKitClientError,
    UploadKitConnectionError,
    UploadKitFileError,
    UploadKitStorageError,
)


def first(count: int, answer: HttpAnswer | str, of: str | int) -> Callable[[Any], Reply]:
    """Return a hook that gives `answer` to the first `count` requests of one kind."""
    left, lock = [count], threading.Lock()

    def hook(which: str | int) -> Reply:
        with lock:
            if which != of or left[0] == 0:
                return None
            left[0] -= 1
            return answer

    return hook


def refuse_part(number: int) -> Callable[[int], Reply]:
    return lambda which: (501, {}, b"<Error><Code>NotImplemented</Code></Error>") if which == number else None


def pass_on(_: object) -> None:
    return None


def states(directory: Path) -> list[Path]:
    return list(directory.glob("*.json"))


# -- single uploads and files -------------------------------------------------------------------------------------------


def test_a_small_file_goes_up_by_one_put(relay: Relay, client: Client, small: Path) -> None:
    seen: list[tuple[int, int]] = []
    file = client.upload(small, metadata={"album": "1"}, on_progress=lambda sent, total: seen.append((sent, total)))
    assert isinstance(file, UploadedFile)
    assert (file.file_name, file.content_type, file.status, file.route) == ("photo.jpg", "image/jpeg", "UPLOADED", "default")
    assert file.metadata == {"album": "1"}
    assert file.uploaded_at is not None
    assert relay.appliance.read(file.url).body == small.read_bytes()
    assert [call.name for call in relay.calls] == ["POST /upload/request", "POST /upload/complete"]
    assert seen[-1] == (file.size_bytes, small.stat().st_size)


def test_the_store_gets_the_named_headers_and_never_the_api_key(relay: Relay, client: Client, small: Path, big: Path) -> None:
    client.upload(small)
    assert relay.store_headers[0]["content-type"] == "image/jpeg"
    client.upload(big)
    for headers in relay.store_headers:
        assert "transfer-encoding" not in headers
        assert "content-length" in headers
        assert relay.appliance.key not in json.dumps(headers)


def test_a_gate_in_front_gets_its_headers_and_the_store_does_not(relay: Relay, small: Path, big: Path) -> None:
    own = {"Authorization": "Bearer of-the-relay", "CF-Access-Client-Id": "abc", "User-Agent": "ours/1"}
    with Client(relay.url, relay.appliance.key, headers=own) as client:
        client.upload(small)
        client.upload(big)
        assert "of-the-relay" not in f"{client!r} {client._wire!r}"
    for call in relay.calls:
        assert {name: call.headers.get(name.lower()) for name in own} == own
        assert call.headers["x-api-key"] == relay.appliance.key
    assert "of-the-relay" not in json.dumps(relay.store_headers)
    for wrong in ({"X-API-Key": "uk_live_y"}, {"a b": "c"}, {"a": "b\r\nc: d"}, {"a": "ä"}, {"Host": "x"}):
        with pytest.raises(ValueError, match="headers"):
            Client(relay.url, relay.appliance.key, headers=wrong)


def test_files_are_listed_read_changed_and_deleted(client: Client, small: Path) -> None:
    files = [client.upload(small, file_name=name) for name in ("a.jpg", "b c&d.jpg", "日本語.jpg")]
    page = client.list(limit=2)
    rest = client.list(limit=1, cursor=page.next_cursor, status="UPLOADED", routeSlug="default")
    assert page.has_more
    assert [file.id for file in page.items + rest.items] == [file.id for file in reversed(files)]
    assert client.list(routeSlug="nothing-went-here").items == ()
    assert client.update_metadata(files[0].key, {"x": 1}).metadata == {"x": 1}
    assert client.get(files[0].key).metadata == {"x": 1}
    client.delete(files[0].key)
    with pytest.raises(UploadKitApiError) as caught:
        client.list(limit=1000)
    assert (caught.value.status, caught.value.code) == (400, "VALIDATION_ERROR")
    assert caught.value.details
    for wrong in ("", "..", "a/../b", "a//b"):
        with pytest.raises(ValueError, match="not the key"):
            client.delete(wrong)


def test_links(relay: Relay, client: Client, small: Path) -> None:
    file = client.upload(small)
    link = client.link(file.key, expires_seconds=60, download=True)
    assert 0 < (link.expires_at - datetime.now(UTC)).total_seconds() <= 61
    assert relay.appliance.read(link.url).body == small.read_bytes()
    assert link.url not in repr(link)


def test_upload_tokens(relay: Relay, client: Client) -> None:
    token = client.create_upload_token("default", metadata={"userId": "ann"}, max_files=2, max_bytes=100, expires_seconds=60)
    assert token.endpoint.endswith(token.token)
    assert token.token not in repr(token)
    assert relay.appliance.fetch("GET", f"{token.endpoint}/default").status == 200
    body = json.dumps({"action": "request-upload", "fileName": "a", "contentType": "a/b", "contentLength": 101}).encode()
    assert relay.appliance.fetch("POST", f"{token.endpoint}/default", body, {"Content-Type": "application/json"}).code == "FORBIDDEN"
    for _ in range(2):
        client.revoke_upload_token(token.id)
    assert relay.appliance.fetch("GET", f"{token.endpoint}/default").status == 401
    with pytest.raises(UploadKitApiError, match="NOT_FOUND"):
        client.create_upload_token("nowhere")


def test_file_objects_are_sent_from_where_they_stand(relay: Relay, client: Client, big: Path) -> None:
    memory = io.BytesIO(b"skipped" + b"y" * BIG)
    memory.seek(7)
    assert relay.appliance.read(client.upload(memory, file_name="memory.bin").url).body == b"y" * BIG
    with big.open("rb") as file:
        assert client.upload(file).file_name == "film.bin"
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
def test_the_content_type_follows_the_name(relay: Relay, client: Client, name: str, content_type: str) -> None:
    relay.on_api = lambda path: error(400, "VALIDATION_ERROR", "seen enough")
    with pytest.raises(UploadKitApiError):
        client.upload(io.BytesIO(b"1"), file_name=name)
    assert relay.calls[0].body["contentType"] == content_type


@pytest.mark.parametrize(
    ("name", "rendered"),
    [
        (b"two\nlines", "two\ufffdlines"),
        (b"not-utf8-\xff", "not-utf8-\ufffd"),
        (b"[bold]x", "[bold]x"),
        ("日本語 & +%".encode(), "日本語 & +%"),
        (b" ", " "),
        (b"-", "-"),
    ],
)
def test_odd_names_on_disk(relay: Relay, client: Client, tmp_path: Path, name: bytes, rendered: str) -> None:
    path = os.fsdecode(os.path.join(os.fsencode(tmp_path), name))
    Path(path).write_bytes(b"1")
    assert client.upload(path).file_name == rendered
    with pytest.raises(UploadKitApiError, match="VALIDATION_ERROR"):
        client.upload(path, file_name="two\nlines")


def test_files_that_cannot_be_uploaded_are_refused_before_any_request(relay: Relay, client: Client, tmp_path: Path) -> None:
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
    assert relay.calls == []


# -- multipart and resuming ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("etags", [True, False], ids=["etags", "etags lost on the way"])
def test_a_big_file_goes_up_in_parts(relay: Relay, client: Client, big: Path, etags: bool) -> None:
    relay.etags = etags
    sent_bytes: list[int] = []
    file = client.upload(big, on_progress=lambda sent, total: sent_bytes.append(sent))
    assert relay.appliance.read(file.url).body == big.read_bytes()
    assert sent_bytes[-1] == max(sent_bytes) == file.size_bytes == BIG
    assert relay.stored == {1: 1, 2: 1, 3: 1, 4: 1, 5: 1}
    assert ("parts" in relay.named("POST /upload/multipart/complete")[0].body) == etags


def fail_at_part_4(relay: Relay, client: Client, big: Path, store: Path) -> None:
    relay.on_put = refuse_part(4)
    with pytest.raises(UploadKitStorageError):
        client.upload(big, resume_store=store, parallel_parts=1)
    relay.on_put = pass_on


def test_an_upload_that_failed_goes_on_without_sending_parts_again(relay: Relay, client: Client, big: Path, tmp_path: Path) -> None:
    store = tmp_path / "state"
    fail_at_part_4(relay, client, big, store)
    (state,) = states(store)
    assert (stat.S_IMODE(state.stat().st_mode), stat.S_IMODE(store.stat().st_mode)) == (0o600, 0o700)
    assert set(json.loads(state.read_text())) == {"idempotencyKey", "fileId", "uploadId"}
    assert relay.appliance.key not in state.read_text()
    sent_bytes: list[int] = []
    file = client.upload(big, resume_store=store, on_progress=lambda sent, total: sent_bytes.append(sent))
    assert relay.stored == {1: 1, 2: 1, 3: 1, 4: 1, 5: 1}
    assert (sent_bytes[0], sent_bytes[-1]) == (3 * PART_SIZE, BIG)
    assert relay.appliance.read(file.url).body == big.read_bytes()
    assert states(store) == []


def test_other_settings_or_another_key_do_not_go_on_with_an_upload(relay: Relay, client: Client, big: Path, tmp_path: Path) -> None:
    store = tmp_path / "state"
    fail_at_part_4(relay, client, big, store)
    relay.on_put = refuse_part(4)
    with pytest.raises(UploadKitStorageError):
        client.upload(big, resume_store=store, metadata={"a": 1})
    with pytest.raises(UploadKitStorageError):
        Client(relay.url, relay.appliance.new_key()).upload(big, resume_store=store)
    assert len(states(store)) == 3


def test_without_a_resume_store_a_failed_upload_is_aborted(relay: Relay, client: Client, big: Path) -> None:
    relay.on_put = refuse_part(2)
    with pytest.raises(UploadKitStorageError) as caught:
        client.upload(big)
    assert caught.value.code == "NotImplemented"
    (abort,) = relay.named("POST /upload/multipart/abort")
    assert relay.appliance.call("GET", f"/files/by-id/{abort.body['fileId']}").json["status"] == "FAILED"


def test_an_upload_that_the_appliance_forgot_starts_anew(relay: Relay, client: Client, big: Path, tmp_path: Path) -> None:
    store = tmp_path / "state"
    fail_at_part_4(relay, client, big, store)
    (state,) = states(store)
    left = json.loads(state.read_text())
    del left["idempotencyKey"]
    assert relay.appliance.call("POST", "/upload/multipart/abort", left).status == 200
    file = client.upload(big, resume_store=store)
    assert file.id != left["fileId"]
    assert relay.appliance.read(file.url).body == big.read_bytes()
    assert states(store) == []


def test_a_completion_whose_answer_was_lost_still_gives_the_file(relay: Relay, client: Client, big: Path, tmp_path: Path) -> None:
    store = tmp_path / "state"
    refuse = error(400, "VALIDATION_ERROR", "no")
    relay.on_api = lambda path: refuse if path == "/upload/multipart/complete" else None
    with pytest.raises(UploadKitApiError):
        client.upload(big, resume_store=store)
    # As if the client had died before it could read the answer.
    done = relay.appliance.call("POST", "/upload/multipart/complete", relay.calls[-1].body).json
    relay.on_api = pass_on
    assert client.upload(big, resume_store=store).id == done["id"]
    assert len(relay.named("POST /upload/multipart/init")) == 1
    assert set(relay.stored.values()) == {1}
    assert states(store) == []


def test_parts_that_the_store_lost_are_sent_again(relay: Relay, client: Client, big: Path) -> None:
    # The store says that it took part 2, and has not.
    relay.on_put = first(1, (200, {"ETag": '"0"'}, b""), of=2)
    file = client.upload(big)
    assert relay.appliance.read(file.url).body == big.read_bytes()
    assert relay.stored == {1: 1, 2: 1, 3: 1, 4: 1, 5: 1}


def test_a_part_that_arrived_without_an_answer_is_not_sent_again(relay: Relay, client: Client, big: Path) -> None:
    client.list()
    swallow = first(1, "hang up", of=3)
    passed = relay._pass_store

    def lose_answer(request: BaseHTTPRequestHandler, raw: bytes) -> HttpAnswer | str:
        answer = passed(request, raw)
        return swallow(3) or answer if "partNumber=3" in request.path else answer

    lossy = relay._serve(lose_answer)
    relay._servers.append(lossy)
    relay._store_url = f"http://127.0.0.1:{lossy.server_port}"
    sent_bytes: list[int] = []
    client.upload(big, on_progress=lambda sent, total: sent_bytes.append(sent), parallel_parts=1)
    assert relay.stored[3] == 1
    assert sent_bytes[-1] == BIG


def test_a_torn_state_file_is_not_trusted(relay: Relay, client: Client, big: Path, tmp_path: Path) -> None:
    store = tmp_path / "state"
    fail_at_part_4(relay, client, big, store)
    (state,) = states(store)
    state.write_bytes(state.read_bytes()[:30])
    client.upload(big, resume_store=store)
    assert states(store) == []


def test_two_at_once_with_one_state_are_refused(relay: Relay, client: Client, big: Path, tmp_path: Path) -> None:
    held, release = threading.Event(), threading.Event()
    finished: list[UploadedFile] = []

    def hold(_: int) -> None:
        held.set()
        assert release.wait(60)

    relay.on_put = hold
    uploading = threading.Thread(target=lambda: finished.append(client.upload(big, resume_store=tmp_path / "state")))
    uploading.start()
    assert held.wait(60)
    with pytest.raises(UploadKitFileError, match="another process") as caught:
        client.upload(big, resume_store=tmp_path / "state")
    assert caught.value.code == "FILE_IN_USE"
    release.set()
    uploading.join(60)
    assert finished[0].status == "UPLOADED"


def test_what_is_left_of_uploads_long_given_up_goes_with_the_next_upload(relay: Relay, client: Client, big: Path, tmp_path: Path) -> None:
    store = tmp_path / "state"
    fail_at_part_4(relay, client, big, store)
    (recent,) = states(store)
    old, held, foreign = store / f"{'a' * 64}.json", store / f"{'b' * 64}.json", store / "package.json"
    for path in (old, held, foreign):
        path.write_text("{}")
        os.utime(path, (time.time() - 31 * 24 * 3600,) * 2)
    day_29 = time.time() - 29 * 24 * 3600
    os.utime(recent, (day_29, day_29))
    with held.open() as in_use:
        fcntl.flock(in_use, fcntl.LOCK_EX)
        client.upload(io.BytesIO(b"1"), file_name="x", resume_store=store)
    assert set(states(store)) == {recent, held, foreign}


@pytest.mark.parametrize("change", ["truncate", "append", "touch"])
def test_a_file_that_changes_meanwhile_is_given_up(relay: Relay, client: Client, big: Path, tmp_path: Path, change: str) -> None:
    def change_it(number: int) -> None:
        if number == 2:
            if change == "truncate":
                os.truncate(big, PART_SIZE)
            elif change == "append":
                with big.open("ab") as file:
                    file.write(b"more")
            else:
                os.utime(big, ns=(1, 1))

    relay.on_put = change_it
    with pytest.raises(UploadKitFileError) as caught:
        client.upload(big, resume_store=tmp_path / "state", parallel_parts=1)
    assert caught.value.code == "FILE_CHANGED"
    assert relay.calls[-1].name == "POST /upload/multipart/abort"
    assert states(tmp_path / "state") == []


# -- trouble --------------------------------------------------------------------------------------------------------------


def expire_at(relay: Relay, number: int) -> None:
    expire_once = first(1, "now", of=number)

    def hook(which: int) -> None:
        if expire_once(which):
            relay.expire_urls()

    relay.on_put = hook


def test_expired_part_urls_are_renewed_once_for_all(relay: Relay, client: Client, big: Path) -> None:
    expire_at(relay, 2)
    file = client.upload(big, parallel_parts=2)
    assert relay.appliance.read(file.url).body == big.read_bytes()
    assert len(relay.named("POST /upload/multipart/parts")) == 1


def test_an_expired_url_of_a_single_upload_is_renewed(relay: Relay, client: Client, small: Path) -> None:
    expire_at(relay, 0)
    assert relay.appliance.read(client.upload(small).url).body == small.read_bytes()
    keys = [call.headers["idempotency-key"] for call in relay.named("POST /upload/request")]
    assert len(keys) == 2
    assert len(set(keys)) == 1


def test_a_store_that_keeps_refusing_is_an_error_without_its_secrets(relay: Relay, client: Client, small: Path, big: Path) -> None:
    for path in (small, big):
        relay.on_put = lambda number: relay.expire_urls()
        with pytest.raises(UploadKitStorageError) as caught:
            client.upload(path)
        assert (caught.value.status, caught.value.code) == (403, "AccessDenied")
        assert "AKIASECRET" not in str(caught.value)
        assert "X-Amz" not in str(caught.value)


@pytest.mark.parametrize(("status", "code"), [(429, "RATE_LIMITED"), (503, "STORAGE_UNAVAILABLE")])
def test_retry_after_is_honoured(relay: Relay, client: Client, small: Path, status: int, code: str) -> None:
    relay.on_api = first(1, error(status, code, "Later", Retry_After="2"), of="/upload/complete")
    client.upload(small)
    refused, accepted = relay.named("POST /upload/complete")
    assert accepted.at - refused.at >= 2


def test_waiting_longer_than_allowed_is_given_up_at_once(relay: Relay, client: Client, small: Path) -> None:
    relay.on_api = lambda path: error(429, "RATE_LIMITED", "Too many", Retry_After="3000")
    with pytest.raises(UploadKitApiError) as caught:
        client.upload(small)
    assert (caught.value.code, caught.value.transient, caught.value.retry_after_seconds) == ("RATE_LIMITED", True, 3000)
    assert len(relay.calls) == 1


@pytest.mark.parametrize(
    "trouble",
    [(500, {}, b"<Error><Code>InternalError</Code></Error>"), (503, {}, b""), (400, {}, b"<Code>RequestTimeout</Code>"), "hang up"],
    ids=["500", "503", "timeout", "hang up"],
)
def test_trouble_at_the_store_passes(relay: Relay, client: Client, small: Path, big: Path, trouble: HttpAnswer | str) -> None:
    client.upload(small)
    relay.on_put = first(2, trouble, of=3)
    sent_bytes: list[int] = []
    client.upload(big, on_progress=lambda sent, total: sent_bytes.append(sent))
    assert relay.stored[3] == 1
    assert sent_bytes[-1] == BIG


@pytest.mark.parametrize("trouble", [(502, {}, b"<html>Bad gateway"), "hang up"], ids=["502", "hang up"])
def test_trouble_at_the_api_passes(relay: Relay, client: Client, small: Path, big: Path, trouble: HttpAnswer | str) -> None:
    client.list(limit=1)
    for path, start in ((small, "/upload/request"), (small, "/upload/complete"), (big, "/upload/multipart/init")):
        relay.on_api = first(2, trouble, of=start)
        assert client.upload(path).status == "UPLOADED"
    for call in ("POST /upload/request", "POST /upload/multipart/init"):
        repeated = [made.headers["idempotency-key"] for made in relay.named(call)][:3]
        assert len(repeated) == 3
        assert len(set(repeated)) == 1


def test_a_caller_is_told_why_nothing_moves(relay: Relay, client: Client, small: Path) -> None:
    client.list(limit=1)
    relay.on_api = first(1, error(503, "STORAGE_UNAVAILABLE", "Soon"), of="/upload/request")
    relay.on_put = first(1, (503, {}, b"<Error><Code>SlowDown</Code></Error>"), of=0)
    reported: list[UploadKitClientError] = []
    client.upload(small, on_retry=reported.append)
    assert [failure.code for failure in reported] == ["STORAGE_UNAVAILABLE", "SlowDown"]
    client.list()
    assert len(reported) == 2


def test_a_store_that_hangs_up_does_not_start_a_second_small_upload(relay: Relay, client: Client, small: Path) -> None:
    client.upload(small)
    relay.calls.clear()
    relay.on_put = first(2, "hang up", of=0)
    client.upload(small)
    assert [call.name for call in relay.calls] == ["POST /upload/request", "POST /upload/complete"]


def test_a_delete_whose_answer_was_lost_is_no_failure(relay: Relay, client: Client, small: Path) -> None:
    key = client.upload(small).key
    lose = first(1, "hang up", of="lose")

    def delete_unheard(path: str) -> Reply:
        reported = lose("lose")
        if reported:
            assert relay.appliance.call("DELETE", path).status == 200
        return reported

    relay.on_api = delete_unheard
    client.delete(key)
    assert len(relay.named(f"DELETE /files/{key}")) == 2


def test_deleting_what_is_not_there_is_a_failure(relay: Relay, client: Client) -> None:
    # A try that came too often did nothing.
    for hook in (pass_on, first(1, error(429, "RATE_LIMITED", "Later"), of="/files/no/such/file")):
        relay.on_api = hook
        with pytest.raises(UploadKitApiError, match="NOT_FOUND"):
            client.delete("no/such/file")


def test_an_address_where_nothing_answers_fails_soon(small: Path) -> None:
    with pytest.raises(UploadKitConnectionError) as caught:
        Client("http://127.0.0.1:1", "uk_live_x").upload(small)
    assert "http://127.0.0.1:1: connection refused" in str(caught.value)


def test_a_redirect_is_not_followed(relay: Relay, client: Client, small: Path) -> None:
    relay.on_api = lambda path: (307, {"Location": f"{relay._store_url}/steal?a=b"}, b"")
    with pytest.raises(UploadKitApiError) as caught:
        client.upload(small)
    assert caught.value.code == "UNEXPECTED_REDIRECT"
    assert relay.store_headers == []


@pytest.mark.parametrize("answer", [(200, {}, b"<html>hello"), (200, {}, b"[]"), (200, {}, b"{}"), (404, {}, b"nginx")])
def test_an_answer_that_is_not_the_apis_is_told_as_such(relay: Relay, client: Client, small: Path, answer: HttpAnswer) -> None:
    relay.on_api = lambda path: answer
    with pytest.raises(UploadKitApiError) as caught:
        client.upload(small)
    assert caught.value.code == "UNEXPECTED_ANSWER"


def test_an_api_error_carries_all_that_was_told(relay: Relay, client: Client) -> None:
    relay.on_api = lambda path: error(403, "TIER_LIMIT_EXCEEDED", "Full", "Delete files")
    with pytest.raises(UploadKitApiError) as caught:
        client.list()
    reported = caught.value
    assert (reported.status, reported.code, reported.message, reported.suggestion) == (403, "TIER_LIMIT_EXCEEDED", "Full", "Delete files")
    assert (reported.request_id, reported.transient) == ("req-7", False)


def test_the_key_is_never_shown(relay: Relay) -> None:
    key = relay.appliance.key
    client = Client(relay.appliance.base + "/api/v1/", key)
    assert repr(client) == f"Client('{relay.appliance.base}/api/v1', '{key[:11]}...{key[-6:]}')"
    wrong = key[:-1] + ("x" if key[-1] != "x" else "y")
    with pytest.raises(UploadKitApiError) as caught:
        Client(relay.url, wrong).list()
    assert caught.value.code == "UNAUTHORIZED"
    assert wrong not in str(caught.value)


@pytest.mark.parametrize("url", ["", "127.0.0.1:8080", "ftp://x", "http://", "http://key@x", "http://x/?a=b"])
def test_an_address_that_cannot_be_one_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="base_url"):
        Client(url, "uk_live_x")


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


def test_it_needs_urllib3_and_nothing_else_of_the_package() -> None:
    program = "import sys, uploadkit.client; print(*(name for name in sys.modules if name.startswith(('uploadkit', 'flask', 'boto'))))"
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    needed = set(ran.stdout.split()) - {"uploadkit", "uploadkit.client"}
    assert needed
    assert all(name.startswith("uploadkit.client.") for name in needed)
