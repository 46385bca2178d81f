"""The Python client at an address where somebody else answers: an error that says so, whatever comes, and no memory or time without end."""

from __future__ import annotations

import contextlib
import gzip
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from uploadkit.client import Client, UploadedFile, UploadKitClientError, UploadKitConnectionError, answers

PUT = "http://127.0.0.1:9/put"
SLOT = {"fileId": "f", "uploadUrl": PUT, "headers": {"Content-Type": "image/jpeg"}}
IN_PARTS = {"fileId": "f", "uploadId": "u", "partSize": 5 * 1024**2, "parts": [{"partNumber": 1, "uploadUrl": PUT}]}


def reported(**error: Any) -> bytes:
    return json.dumps({"error": {"code": "ODD", "message": "m", **error}}).encode()


def changed(base: dict[str, Any], **changes: Any) -> bytes:
    return json.dumps(base | changes).encode()


@contextmanager
def answering(answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            with contextlib.suppress(OSError):  # the client has seen enough
                answer(self)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def once(status: int, body: bytes, **headers: str) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


ODD = {
    "words that are none": once(400, reported(message=5, suggestion={"a": 1}, details=7)),
    "a wait of 5000 digits": once(503, reported(), Retry_After="9" * 5000),
    "a wait until no year": once(503, reported(), Retry_After="Fri, 31 Dec 999999999 23:59:59 GMT"),
    "nested without end": once(200, b"[" * 200_000),
    "to no address": once(302, b"{}", Location="http://[::1"),
    "numbers for texts": once(200, changed(SLOT, fileId=5, uploadUrl=7)),
    "no address": once(200, changed(SLOT, uploadUrl="http://[::1")),
    "a file for an address": once(200, changed(SLOT, uploadUrl="file:///etc/passwd")),
    "a line in an address": once(200, changed(SLOT, uploadUrl="http://127.0.0.1:9/\r\nX: y")),
    "a line in a header": once(200, changed(SLOT, headers={"A\r\nB": "c"})),
    "a list of headers": once(200, changed(SLOT, headers=["x"])),
    "zipped spaces": once(200, gzip.compress(b" " * (answers.MOST_BYTES + 1)), Content_Encoding="gzip"),
    "parts of no size": once(200, changed(IN_PARTS, partSize=0)),
    "parts of some size": once(200, changed(IN_PARTS, partSize="x")),
    "no parts": once(200, changed(IN_PARTS, parts=None)),
    "parts that are none": once(200, changed(IN_PARTS, parts=[1, {}])),
    "parts of one byte each": once(200, changed(IN_PARTS, partSize=1)),
    "a header without a name": once(200, changed(SLOT, headers={"": "x"})),
    "a header that no line may have": once(200, changed(SLOT, headers={"A": "\u20ac"})),
    "another host": once(200, changed(SLOT, headers={"Host": "127.0.0.1"})),
    "another framing": once(200, changed(SLOT, headers={"Transfer-Encoding": "chunked"})),
    "very many values": once(200, b'{"a": [' + b"{}," * 3_000_000 + b"{}]}"),
    "arrived parts that are none": once(200, changed(IN_PARTS, uploaded=[{"partNumber": 1}])),
}


@pytest.mark.parametrize("name", ODD)
def test_whatever_is_answered_it_is_told_as_an_error(tmp_path: Path, name: str) -> None:
    small, big = tmp_path / "a.jpg", tmp_path / "b.bin"
    small.write_bytes(b"\xff\xd8\xff")
    with big.open("wb") as file:
        file.truncate(11 * 1024**2)
    path = big if "part" in name else small
    with answering(ODD[name]) as url, Client(url, "uk_live_x", retry_seconds=0.1) as client:
        with pytest.raises(UploadKitClientError) as failure:
            client.upload(path)
        assert isinstance(failure.value.message, str)
        assert failure.value.code == "UNEXPECTED_ANSWER" or not name.startswith(("another", "parts of one"))
        assert failure.value.suggestion is None or isinstance(failure.value.suggestion, str)


def test_an_answer_without_end_is_not_read_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "MOST_BYTES", 100_000)

    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        while True:
            handler.wfile.write(b" " * 10_000)

    path = tmp_path / "a.jpg"
    path.write_bytes(b"\xff\xd8\xff")
    with answering(endless) as url, Client(url, "uk_live_x", retry_seconds=0) as client:
        with pytest.raises(UploadKitClientError) as failure:
            client.upload(path)
        assert failure.value.code == "UNEXPECTED_ANSWER"


def test_an_answer_that_drips_has_an_end(tmp_path: Path) -> None:
    stopped = threading.Event()

    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        while not stopped.wait(0.05):
            handler.wfile.write(b" ")
            handler.wfile.flush()

    path = tmp_path / "a.jpg"
    path.write_bytes(b"\xff\xd8\xff")
    with answering(drip) as url, Client(url, "uk_live_x", timeout_seconds=1, retry_seconds=0) as client:
        with pytest.raises(UploadKitConnectionError, match="no answer in time"):
            client.upload(path)
        stopped.set()


FILE = {
    **{
        "id": "f",
        "key": "k",
        "url": "http://127.0.0.1/f/k",
        "fileName": "a",
        "fileSize": 3,
        "contentType": "image/jpeg",
        "status": "UPLOADED",
    },
    **{"environment": "live", "routeSlug": "default", "etag": None, "metadata": {}, "createdAt": "2026-04-08T00:00:00Z"},
}


@pytest.mark.parametrize("name", [*FILE, "uploadedAt"])
@pytest.mark.parametrize("value", [7, ["x"]])
def test_a_file_is_what_it_says_or_none(name: str, value: Any) -> None:
    raw = FILE | {name: value}
    if name == "fileSize" and value == 7:
        assert UploadedFile.from_json(raw).size_bytes == 7
        return
    with pytest.raises(UploadKitClientError):
        UploadedFile.from_json(raw)


@pytest.mark.parametrize(
    ("begin", "drop"),
    [
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 200 ", b"O"),
        (b"HTTP/1.1 200 OK\r\nX: ", b"y"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X: y\r\n"),
    ],
    ids=["interim answers", "status", "header", "trailers"],
)
def test_what_stands_around_an_answer_has_an_end_as_well(begin: bytes, drop: bytes) -> None:
    stopped = threading.Event()

    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(begin)
        while not stopped.wait(0.05):
            handler.wfile.write(drop)
            handler.wfile.flush()

    # The client would go on for ever: its thread does not keep the test.
    failures: list[BaseException] = []

    def call(url: str) -> None:
        with Client(url, "uk_live_x", retry_seconds=0, timeout_seconds=0.5) as client:
            try:
                client.create_upload_token()
            except UploadKitClientError as error:
                failures.append(error)

    with answering(drip) as url:
        caller = threading.Thread(target=call, args=(url,))
        caller.start()
        caller.join(15)
        stopped.set()
        caller.join()
    assert [type(failure) for failure in failures] == [UploadKitConnectionError]
    assert "no answer in time" in str(failures[0])
