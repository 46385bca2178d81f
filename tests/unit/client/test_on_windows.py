"""The Python client without what only Unix has: in a process of its own from which these names are taken away."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.appliance import ROOT, Appliance

# What Windows lacks is gone before the client is imported; msvcrt is played by what fcntl does, as strict as Windows about removing.
PROGRAM = """
import errno, io, os, sys, types
import fcntl
real_locking, binary = fcntl.flock, []
kind, url, key, folder = sys.argv[1:]

def locking(descriptor, mode, count):
    assert (mode, count) == (2, 1) and os.lseek(descriptor, 0, os.SEEK_CUR) > 65536, "what is locked can't be read"
    try:
        real_locking(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise PermissionError(errno.EACCES, "Permission denied") from None

sys.modules["fcntl"] = None
sys.modules["msvcrt"] = types.SimpleNamespace(locking=locking, LK_NBLCK=2) if kind == "msvcrt" else None
for name in ("O_CLOEXEC", "O_NOFOLLOW", "O_NONBLOCK", "pread", "pwrite", "fchmod", "mkfifo"):
    delattr(os, name)
os.O_BINARY = 0x8000
real_open, real_unlink, real_close, opened = os.open, os.unlink, os.close, {}

def strict_open(path, flags, *more, **how):
    assert flags & os.O_BINARY, "text mode would change bytes"
    descriptor = real_open(path, flags & ~os.O_BINARY, *more, **how)
    opened[descriptor] = os.path.abspath(path)
    return descriptor

def strict_close(descriptor):
    opened.pop(descriptor, None)
    real_close(descriptor)

def strict_unlink(path, *more, **how):
    if os.path.abspath(path) in opened.values():
        raise PermissionError(errno.EACCES, "Permission denied")
    real_unlink(path, *more, **how)

os.open, os.close, os.unlink = strict_open, strict_close, strict_unlink

from uploadkit.client import Client, UploadKitClientError, UploadKitFileError, default_resume_store, verify_webhook
from uploadkit.client.wire import Wire

default_resume_store()
small, big, store = (os.path.join(folder, name) for name in ("photo.jpg", "film.bin", "state"))
client = Client(url, key)
print(client.upload(small).url)
with open(small, "rb") as file:
    print(client.upload(file).url)
print(client.upload(io.BytesIO(open(small, "rb").read()), file_name="b.jpg").url)

real_put, puts = Wire.put, []

def failing_put(self, url, blocks, length, headers):
    puts.append(url)
    if len(puts) == 2:
        raise UploadKitClientError("the line is down")
    if len(puts) == 3:
        try:
            client.upload(big, resume_store=store)
        except UploadKitFileError as error:
            assert error.code == "FILE_IN_USE", error
            puts.append("refused")
        else:
            raise AssertionError("two at once with one state")
    return real_put(self, url, blocks, length, headers)

Wire.put = failing_put
try:
    client.upload(big, resume_store=store, parallel_parts=1)
    raise AssertionError("it did not fail")
except UploadKitClientError as error:
    assert error.message == "the line is down", error
assert [name[-5:] for name in os.listdir(store)] == [".json"]
print(client.upload(big, resume_store=store, parallel_parts=1).url)
assert len(puts) == 5 and puts[3] == "refused", puts  # parts 1, 2 (failed), 2, 3
assert os.listdir(store) == []
try:
    client.upload(folder)
    raise AssertionError("a directory went up")
except UploadKitFileError as error:
    assert error.message == "is a directory", error
"""


@pytest.mark.parametrize("kind", ["msvcrt", "no locks"])
def test_without_what_only_unix_has(appliance: Appliance, tmp_path: Path, kind: str) -> None:
    small, big = b"line one\r\nline two\n\x1a" * 100, bytes(range(256)) * 45_000
    (tmp_path / "photo.jpg").write_bytes(small)
    (tmp_path / "film.bin").write_bytes(big)
    command = [sys.executable, "-c", PROGRAM, kind, appliance.base, appliance.key, str(tmp_path)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=150, check=False)
    assert ran.returncode == 0, ran.stderr
    assert [appliance.read(url).body for url in ran.stdout.split()] == [small, small, small, big]
