# ruff: noqa: SIM115 (what is given is opened in one place and closed in another)
"""What people give to `Client.upload`: every byte that `read` gives arrives, or it is refused in words before anything is sent."""

from __future__ import annotations

import array
import bz2
import codecs
import contextlib
import gzip
import io
import lzma
import mmap
import multiprocessing
import os
import socket
import subprocess
import sys
import tarfile
import tempfile
import threading
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import urllib3
from werkzeug.datastructures import FileStorage

from tests.browser.conftest import served
from tests.support.appliance import Appliance
from tests.support.client_relay import Relay, client, error, relay
from uploadkit.client import Client, UploadKitApiError, UploadKitFileError

__all__ = ["client", "relay"]  # fixtures

CSV = "".join(f"{n:05};Größe {n};ein Maß\r\n" for n in range(4000)).encode()


@dataclass
class Place:
    """Where an object is made, and what is closed after the test."""

    folder: Path
    stack: ExitStack

    def keep(self, opened: Any) -> Any:
        return self.stack.enter_context(opened)

    def path(self, content: bytes = CSV, name: str = "table.csv") -> Path:
        path = self.folder / name
        path.write_bytes(content)
        return path


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with ExitStack() as stack:
        yield Place(tmp_path, stack)


class ReadOnly:
    """An object that can do nothing but read."""

    def __init__(self, content: bytes) -> None:
        self._memory = io.BytesIO(content)

    def read(self, count: int) -> Any:
        return self._memory.read(min(count, 1000))  # fewer than asked for, as pipes do


class Bytearrays(ReadOnly):
    def read(self, count: int) -> Any:
        return bytearray(super().read(count))


class SeeksNowhere(ReadOnly):
    """Says that it can be read anywhere, and stays where it is."""

    def seek(self, *_: int) -> int:
        return 0

    tell = seek


def at(position: int, file: Any) -> Any:
    file.seek(position)
    return file


def read_some(file: Any, count: int) -> Any:
    assert len(file.read(count)) == count
    return file


def fed(writer: Any, content: bytes = CSV) -> None:
    """Write into a pipe from another thread, and close it."""

    def feed() -> None:
        with contextlib.suppress(OSError), writer:
            writer.write(content)

    threading.Thread(target=feed, daemon=True).start()


def pipe(place: Place, content: bytes = CSV) -> Any:
    reader, writer = os.pipe()
    fed(os.fdopen(writer, "wb"), content)
    return place.keep(os.fdopen(reader, "rb"))


def fifo(place: Place) -> Any:
    os.mkfifo(place.folder / "fifo")
    threading.Thread(target=lambda: (place.folder / "fifo").write_bytes(CSV), daemon=True).start()
    return place.keep((place.folder / "fifo").open("rb"))


def over_socket(place: Place) -> Any:
    near, far = socket.socketpair()
    fed(far.makefile("wb"))
    far.close()
    place.keep(near)
    return place.keep(near.makefile("rb"))


def tar_member(place: Place, mode: str, read_mode: str) -> Any:
    path = place.folder / "all.tar"
    with tarfile.open(path, mode) as tar:
        tar.add(place.path(b"before", "first.txt"), "first.txt")
        tar.add(place.path(), "table.csv")
        tar.add(place.path(b"after", "last.txt"), "last.txt")
    tar = place.keep(tarfile.open(path, read_mode))
    return next(tar.extractfile(member) for member in tar if member.name == "table.csv")


def zip_member(place: Place, compression: int) -> Any:
    with zipfile.ZipFile(place.folder / "all.zip", "w", compression) as archive:
        archive.writestr("first.txt", b"before")
        archive.writestr("folder/table.csv", CSV)
    return place.keep(place.keep(zipfile.ZipFile(place.folder / "all.zip")).open("folder/table.csv"))


def written(file: Any) -> Any:
    """Written, not flushed, and back at its beginning but for the last bytes."""
    file.write(CSV)
    return at(7, file)


def mapped(place: Place) -> Any:
    file = place.keep(place.path().open("rb"))
    return place.keep(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def answer_of(place: Place, how: Callable[[str], Any]) -> Any:
    place.path()
    return place.keep(how(place.keep(served(place.folder)) + "/table.csv"))


def output_of(place: Place) -> Any:
    process = place.keep(subprocess.Popen([sys.executable, "-c", "print('x' * 70_000, end='')"], stdout=subprocess.PIPE))
    return process.stdout


# What is given, and what has to arrive.
GOOD: dict[str, tuple[Callable[[Place], Any], bytes]] = {
    "path": (lambda p: p.path(), CSV),
    "path as str": (lambda p: str(p.path()), CSV),
    "bytes": (lambda p: CSV, CSV),
    "bytearray": (lambda p: bytearray(CSV), CSV),
    "memoryview": (lambda p: memoryview(CSV)[10:], CSV[10:]),
    "memoryview with gaps": (lambda p: memoryview(CSV)[::2], CSV[::2]),
    "memoryview of numbers": (lambda p: memoryview(array.array("I", range(9))), array.array("I", range(9)).tobytes()),
    "mmap": (mapped, CSV),
    "mmap, partly read": (lambda p: read_some(mapped(p), 7), CSV[7:]),
    "open rb": (lambda p: p.keep(p.path().open("rb")), CSV),
    "open rb, partly read": (lambda p: read_some(p.keep(p.path().open("rb")), 7), CSV[7:]),
    "open unbuffered": (lambda p: p.keep(p.path().open("rb", buffering=0)), CSV),
    "open r+b": (lambda p: p.keep(p.path().open("r+b")), CSV),
    "w+b, not flushed": (lambda p: written(p.keep((p.folder / "x").open("w+b"))), CSV[7:]),
    "gzip.open": (lambda p: p.keep(gzip.open(p.path(gzip.compress(CSV), "table.csv.gz"))), CSV),
    "gzip.open, partly read": (lambda p: read_some(p.keep(gzip.open(p.path(gzip.compress(CSV)))), 50_000), CSV[50_000:]),
    "gzip larger than its content": (lambda p: p.keep(gzip.open(p.path(gzip.compress(b"abc")))), b"abc"),
    "gzip of two members": (lambda p: p.keep(gzip.open(p.path(gzip.compress(CSV) * 2))), CSV * 2),
    "GzipFile over memory": (lambda p: p.keep(gzip.GzipFile(fileobj=io.BytesIO(gzip.compress(CSV)))), CSV),
    "GzipFile over a pipe": (lambda p: p.keep(gzip.GzipFile(fileobj=pipe(p, gzip.compress(CSV)))), CSV),
    "BufferedReader over gzip": (lambda p: p.keep(io.BufferedReader(gzip.open(p.path(gzip.compress(CSV))))), CSV),  # type: ignore[arg-type]
    "bz2.open": (lambda p: p.keep(bz2.open(p.path(bz2.compress(CSV)))), CSV),
    "lzma.open": (lambda p: p.keep(lzma.open(p.path(lzma.compress(CSV)))), CSV),
    "LZMAFile over a pipe": (lambda p: p.keep(lzma.LZMAFile(pipe(p, lzma.compress(CSV)))), CSV),
    "member of a tar": (lambda p: tar_member(p, "w", "r:"), CSV),
    "member of a tar.gz": (lambda p: tar_member(p, "w:gz", "r:gz"), CSV),
    "member of a tar.gz as a stream": (lambda p: tar_member(p, "w:gz", "r|gz"), CSV),
    "member of a zip": (lambda p: zip_member(p, zipfile.ZIP_DEFLATED), CSV),
    "member of a zip, stored": (lambda p: zip_member(p, zipfile.ZIP_STORED), CSV),
    "TemporaryFile": (lambda p: written(p.keep(tempfile.TemporaryFile())), CSV[7:]),
    "NamedTemporaryFile": (lambda p: written(p.keep(tempfile.NamedTemporaryFile())), CSV[7:]),
    "SpooledTemporaryFile": (lambda p: written(p.keep(tempfile.SpooledTemporaryFile(10**6))), CSV[7:]),
    "SpooledTemporaryFile on disk": (lambda p: written(p.keep(tempfile.SpooledTemporaryFile(10))), CSV[7:]),
    "BytesIO": (lambda p: io.BytesIO(CSV), CSV),
    "BytesIO, partly read": (lambda p: at(7, io.BytesIO(CSV)), CSV[7:]),
    "FileStorage": (lambda p: FileStorage(io.BytesIO(CSV), "table.csv", "file"), CSV),
    "FileStorage of a file": (lambda p: FileStorage(p.keep(p.path().open("rb"))), CSV),
    "pipe": (pipe, CSV),
    "fifo, opened": (fifo, CSV),
    "socket.makefile": (over_socket, CSV),
    "output of a program": (output_of, b"x" * 70_000),
    "urlopen": (lambda p: answer_of(p, urllib.request.urlopen), CSV),
    "urllib3": (lambda p: answer_of(p, lambda url: p.keep(urllib3.PoolManager()).request("GET", url, preload_content=False)), CSV),
    "read only": (lambda p: ReadOnly(CSV), CSV),
    "read only, bytearrays": (lambda p: Bytearrays(CSV), CSV),
    "seeks nowhere": (lambda p: SeeksNowhere(CSV), CSV),
    "RawIOBase without seek": (lambda p: p.keep(io.BufferedReader(Raw(CSV))), CSV),
    "/proc": (lambda p: Path("/proc/filesystems"), Path("/proc/filesystems").read_bytes()),
    "/proc, opened": (lambda p: p.keep(open("/proc/filesystems", "rb")), Path("/proc/filesystems").read_bytes()),
}


class Raw(io.RawIOBase):
    def __init__(self, content: bytes) -> None:
        self._memory = io.BytesIO(content)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._memory.readinto(buffer)


@pytest.mark.parametrize("kind", GOOD)
def test_every_byte_that_is_read_arrives(appliance: Appliance, place: Place, kind: str) -> None:
    make, content = GOOD[kind]
    with Client(appliance.base, appliance.key) as client:
        file = client.upload(make(place), file_name="table.csv", content_type="text/csv")
    assert file.size_bytes == len(content)
    assert appliance.read(file.url).body == content


class Broken(ReadOnly):
    def read(self, count: int) -> Any:
        raise RuntimeError("of the caller's own")


class Asynchronous(ReadOnly):
    async def read(self, count: int) -> Any:
        return b""


class WithoutCount:
    def read(self) -> bytes:
        return CSV


class NotNow(ReadOnly):
    def read(self, count: int) -> Any:
        return None


class TextLater(ReadOnly):
    def read(self, count: int) -> Any:
        block = super().read(count)
        return block.decode("latin-1") if self._memory.tell() > 5000 else block


def closed(file: Any) -> Any:
    file.close()
    return file


def cut_off(place: Place) -> Any:
    """An HTTP answer of which the end never comes; urllib tells nobody."""
    server = place.keep(socket.create_server(("127.0.0.1", 0)))

    def answer() -> None:
        with server.accept()[0] as connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 500)

    threading.Thread(target=answer, daemon=True).start()
    return place.keep(urllib.request.urlopen(f"http://127.0.0.1:{server.getsockname()[1]}/"))


def connection_of(place: Place) -> Any:
    near, far = multiprocessing.Pipe()
    place.keep(far)
    return place.keep(near)


# What is given, and the code with which it is refused.
BAD: dict[str, tuple[Callable[[Place], Any], str]] = {
    "StringIO": (lambda p: io.StringIO("Größe;Maß\n" * 3000), "FILE_NOT_BINARY"),
    "open, text": (lambda p: p.keep(p.path().open(encoding="utf-8")), "FILE_NOT_BINARY"),
    "open, latin-1": (lambda p: p.keep(p.path().open(encoding="latin-1")), "FILE_NOT_BINARY"),
    "gzip.open, text": (lambda p: p.keep(gzip.open(p.path(gzip.compress(CSV)), "rt", encoding="utf-8")), "FILE_NOT_BINARY"),
    "codecs.open": (lambda p: p.keep(codecs.open(str(p.path()), encoding="utf-8")), "FILE_NOT_BINARY"),
    "NamedTemporaryFile, text": (lambda p: at(0, text(p.keep(tempfile.NamedTemporaryFile("w+", encoding="utf-8")))), "FILE_NOT_BINARY"),
    "text later": (lambda p: TextLater(CSV), "FILE_NOT_BINARY"),
    "closed file": (lambda p: closed(p.path().open("rb")), "FILE_NOT_READABLE"),
    "closed BytesIO": (lambda p: closed(io.BytesIO(CSV)), "FILE_NOT_READABLE"),
    "opened for writing": (lambda p: p.keep(p.path().open("ab")), "FILE_NOT_READABLE"),
    "no gzip": (lambda p: p.keep(gzip.open(p.path())), "FILE_NOT_READABLE"),
    "torn gzip": (lambda p: p.keep(gzip.open(p.path(gzip.compress(CSV)[:-100]))), "FILE_NOT_READABLE"),
    "gzip with a wrong sum": (lambda p: p.keep(gzip.open(p.path(gzip.compress(CSV)[:-8] + bytes(8)))), "FILE_NOT_READABLE"),
    "torn lzma": (lambda p: p.keep(lzma.open(p.path(lzma.compress(CSV)[:-50]))), "FILE_NOT_READABLE"),
    "torn gzip over a pipe": (lambda p: p.keep(gzip.GzipFile(fileobj=pipe(p, gzip.compress(CSV)[:-100]))), "FILE_NOT_READABLE"),
    "an HTTP answer that ends early": (cut_off, "FILE_NOT_READABLE"),
    "an object that raises": (lambda p: Broken(CSV), "FILE_NOT_READABLE"),
    "read without a count": (lambda p: WithoutCount(), "FILE_NOT_READABLE"),
    "asynchronous": (lambda p: Asynchronous(CSV), "INVALID_FILE"),
    "not blocking": (lambda p: NotNow(CSV), "FILE_NOT_READABLE"),
    "socket": (lambda p: p.keep(socket.socket()), "INVALID_FILE"),
    "multiprocessing.Pipe": (connection_of, "INVALID_FILE"),
    "a list of bytes": (lambda p: [CSV], "INVALID_FILE"),
    "None": (lambda p: None, "INVALID_FILE"),
    "an open file at its end": (lambda p: p.keep(p.path().open("ab+")), "FILE_EMPTY"),
    "empty bytes": (lambda p: b"", "FILE_EMPTY"),
    "empty pipe": (lambda p: pipe(p, b""), "FILE_EMPTY"),
    "a stream without an end": (lambda p: p.keep(open("/dev/zero", "rb")), "STREAM_TOO_LONG"),
}


def text(file: Any) -> Any:
    file.write("Größe\n" * 100)
    return file


@pytest.mark.parametrize("kind", BAD)
def test_what_cannot_be_sent_whole_is_refused_before_anything_is_sent(relay: Relay, client: Client, place: Place, kind: str) -> None:
    make, code = BAD[kind]
    with pytest.raises(UploadKitFileError) as caught:
        client.upload(make(place), file_name="table.csv", max_stream_bytes=10**6)
    assert caught.value.code == code
    assert code != "FILE_NOT_BINARY" or "in binary mode" in str(caught.value)
    assert relay.calls == []


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda p: p.keep(gzip.open(p.path(gzip.compress(CSV), "table.csv.gz"))), "table.csv"),
        (lambda p: p.keep(io.BufferedReader(gzip.open(p.path(gzip.compress(CSV), "table.csv.gz")))), "table.csv"),
        (lambda p: p.keep(p.path(gzip.compress(CSV), "table.csv.gz").open("rb")), "table.csv.gz"),
        (lambda p: zip_member(p, zipfile.ZIP_STORED), "table.csv"),
        (lambda p: p.keep(open(os.fsencode(p.path(CSV, "bytes.csv")), "rb")), "bytes.csv"),
        (lambda p: FileStorage(io.BytesIO(CSV), "from-a-form.csv", "file"), "from-a-form.csv"),
    ],
)
def test_the_name_is_that_of_what_is_read(relay: Relay, client: Client, place: Place, make: Callable[[Place], Any], name: str) -> None:
    relay.on_api = lambda path: error(400, "VALIDATION_ERROR", "seen enough")
    with pytest.raises(UploadKitApiError):
        client.upload(make(place))
    assert relay.calls[0].body["fileName"] == name


@pytest.mark.parametrize("change", ["longer", "shorter"])
@pytest.mark.parametrize("big", [False, True], ids=["single", "in parts"])
def test_what_becomes_longer_or_shorter_is_never_acknowledged(relay: Relay, client: Client, change: str, big: bool) -> None:
    content = bytes(11 * 1024**2 if big else 1000)
    memory = io.BytesIO(content)

    def change_it(number: int) -> None:
        place = memory.tell()
        if change == "longer":
            memory.seek(0, io.SEEK_END)
            memory.write(b"more")
            memory.seek(place)
        else:
            memory.truncate(len(content) - 1)

    relay.on_put = change_it
    with pytest.raises(UploadKitFileError) as caught:
        client.upload(memory, file_name="growing.bin")
    assert caught.value.code == "FILE_CHANGED"
    assert not [call for call in relay.calls if call.name.endswith("/complete")]


def test_what_is_unpacked_goes_up_in_parts_and_a_part_again(relay: Relay, client: Client, place: Place) -> None:
    content = b"".join(f"{n:07}\n".encode() for n in range(1_500_000))
    failed: list[int] = []

    def fail_once(number: int) -> Any:
        if number == 2 and not failed:
            failed.append(number)
            return 503, {}, b"<Error><Code>SlowDown</Code></Error>"
        return None

    relay.on_put = fail_once
    file = client.upload(place.keep(gzip.open(place.path(gzip.compress(content, 1)))), file_name="numbers.txt")
    assert relay.appliance.read(file.url).body == content
    assert failed == [2]


def test_a_file_object_that_failed_can_be_given_again(relay: Relay, client: Client) -> None:
    memory = at(7, io.BytesIO(CSV))
    relay.on_api = lambda path: error(400, "VALIDATION_ERROR", "not today") if path == "/upload/complete" else None
    with pytest.raises(UploadKitApiError):
        client.upload(memory, file_name="table.csv")
    assert memory.tell() == 7
    relay.on_api = lambda path: None
    assert relay.appliance.read(client.upload(memory, file_name="table.csv").url).body == CSV[7:]
    assert memory.tell() == len(CSV)
