"""A disk whose power can be cut: it keeps what it was told to flush, and of the rest no more than chance leaves.

A file that this program serves through the kernel's FUSE interface, with a loop device and ext4 on top. So every write and every flush of
that file system passes through here, as they would reach a disk with a volatile write cache. A write lies in the cache until the next flush
(`fsync` of the file, which is what the loop device makes of the block layer's flush). The cut is one instant: each 4 KiB block written
since the last flush is kept or put back to what it was then, by chance; from then on the disk answers every request with an I/O error. Then
it is mounted anew, and ext4 has to make of it what it can.

Needs root, `/dev/fuse`, loop devices and mkfs.ext4; `why_not()` says what is missing. The protocol: Linux, include/uapi/linux/fuse.h.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import random
import shutil
import stat
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

BLOCK = 4096
MOST_BYTES_A_WRITE = 1 << 20
HEADER, ANSWER = struct.Struct("<IIQQIIIHH"), struct.Struct("<IiQ")
READ_OR_WRITE = struct.Struct("<QQII")
GETATTR, SETATTR, OPEN, READ, WRITE, STATFS, RELEASE, FSYNC, FLUSH, INIT, DESTROY = 3, 4, 14, 15, 16, 17, 18, 20, 25, 26, 38
FORGET, INTERRUPT, BATCH_FORGET = 2, 36, 42
WRITE_DATA_FROM = HEADER.size + 40


class Disk:
    """The bytes of the disk, and what they were at the last flush, block by block, where they have changed since."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR)
        self.size = os.fstat(self._file).st_size
        self._before: dict[int, bytes] = {}
        self._lock = threading.Lock()
        self._is_cut = False
        self.flushes = 0

    def read(self, offset: int, size: int) -> bytes:
        with self._powered():
            return os.pread(self._file, size, offset)

    def write(self, offset: int, content: bytes) -> None:
        with self._powered():
            for block in range(offset // BLOCK, -(-(offset + len(content)) // BLOCK)):
                if block not in self._before:
                    self._before[block] = os.pread(self._file, BLOCK, block * BLOCK)
            os.pwrite(self._file, content, offset)

    def flush(self) -> None:
        with self._powered():
            self._before.clear()
            self.flushes += 1

    def cut(self, keeps: float, seed: int) -> dict[str, int]:
        """The power fails. Each block of the cache had reached the disk with probability `keeps`."""
        chance = random.Random(seed)
        with self._lock:
            self._is_cut = True
            lost = [block for block in sorted(self._before) if chance.random() >= keeps]
            for block in lost:
                os.pwrite(self._file, self._before[block], block * BLOCK)
        return {"cached": len(self._before), "lost": len(lost), "flushes": self.flushes}

    @contextlib.contextmanager
    def _powered(self) -> Iterator[None]:
        with self._lock:
            if self._is_cut:
                raise OSError(errno.EIO, "no power")
            yield


def serve(path: Path, mount_point: Path) -> None:
    """Show the disk as the file `shown_as` until that is unmounted; commands come on standard input."""
    disk = Disk(path)
    device = os.open("/dev/fuse", os.O_RDWR)
    libc = ctypes.CDLL(None, use_errno=True)
    options = f"fd={device},rootmode={stat.S_IFREG:o},user_id=0,group_id=0".encode()
    if libc.mount(b"volatile-disk", os.fsencode(mount_point), b"fuse", 0, options):
        raise OSError(ctypes.get_errno(), "mount of a FUSE file")
    threading.Thread(target=_obey, args=(disk,), daemon=True).start()
    while True:
        try:
            request = os.read(device, MOST_BYTES_A_WRITE + 65536)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EINTR):
                continue
            return  # unmounted
        _, opcode, unique, *_ = HEADER.unpack_from(request)
        if opcode in (FORGET, INTERRUPT, BATCH_FORGET):
            continue
        try:
            answer, error_number = _answer(disk, opcode, request), 0
        except OSError as error:
            answer, error_number = b"", error.errno or errno.EIO
        with contextlib.suppress(FileNotFoundError):  # interrupted meanwhile
            os.write(device, ANSWER.pack(ANSWER.size + len(answer), -error_number, unique) + answer)


def _obey(disk: Disk) -> None:
    print("ready", flush=True)
    for line in sys.stdin:
        keeps, seed = line.split()
        print(json.dumps(disk.cut(float(keeps), int(seed))), flush=True)


def _answer(disk: Disk, opcode: int, request: bytes) -> bytes:
    if opcode == INIT:
        _, minor, readahead = struct.unpack_from("<III", request, HEADER.size)
        big_writes, max_pages = 1 << 5, 1 << 22
        pages = MOST_BYTES_A_WRITE // BLOCK
        start = struct.pack("<IIIIHHIIHH", 7, min(minor, 31), readahead, big_writes | max_pages, 12, 9, MOST_BYTES_A_WRITE, 1, pages, 0)
        return start.ljust(64, b"\0")
    if opcode in (GETATTR, SETATTR):
        attributes = struct.pack(
            "<QQQQQQIIIIIIIIII", 1, disk.size, disk.size // 512, 0, 0, 0, 0, 0, 0, stat.S_IFREG | 0o600, 1, 0, 0, 0, BLOCK, 0
        )
        return struct.pack("<QII", 3600, 0, 0) + attributes
    if opcode == OPEN:
        return struct.pack("<QII", 1, 0, 0)
    if opcode == READ:
        _, offset, size, _ = READ_OR_WRITE.unpack_from(request, HEADER.size)
        return disk.read(offset, size)
    if opcode == WRITE:
        _, offset, size, _ = READ_OR_WRITE.unpack_from(request, HEADER.size)
        disk.write(offset, request[WRITE_DATA_FROM : WRITE_DATA_FROM + size])
        return struct.pack("<II", size, 0)
    if opcode == STATFS:
        return struct.pack("<QQQQQIIII24x", disk.size // BLOCK, 0, 0, 1, 0, BLOCK, 255, BLOCK, 0)
    if opcode == FSYNC:
        disk.flush()
        return b""
    if opcode in (FLUSH, RELEASE, DESTROY):
        return b""
    raise OSError(errno.ENOSYS, "not a matter of a disk")


def why_not() -> str | None:
    """Say in one sentence why there can be no such disk here; None when there can."""
    if sys.platform != "linux" or os.geteuid():
        return "cutting the power needs root on Linux: a FUSE file, a loop device and a mount"
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return "cutting the power needs /dev/fuse"
    missing = [program for program in ("losetup", "mkfs.ext4", "mount", "umount") if shutil.which(program) is None]
    if missing:
        return f"cutting the power needs {', '.join(missing)}"
    probe = subprocess.run(["losetup", "--find"], capture_output=True, text=True, check=False)
    return None if probe.returncode == 0 else f"cutting the power needs a loop device: {probe.stderr.strip()}"


class PoweredFileSystem:
    """An ext4 on such a disk, mounted at `home / "disk"`. `options` are mkfs.ext4's and mount's."""

    def __init__(self, home: Path, size_bytes: int, options: str = "") -> None:
        self.directory, self._options = home / "disk", options
        self._bytes, self._shown_as = home / "disk.bytes", home / "disk.image"
        self._loop: str | None = None
        self._program: subprocess.Popen[str] | None = None
        self.directory.mkdir()
        self._shown_as.touch()
        with self._bytes.open("wb") as file:
            file.truncate(size_bytes)
        _run("mkfs.ext4", "-q", "-E", "lazy_itable_init=1,lazy_journal_init=1,nodiscard", str(self._bytes))

    def power_on(self) -> None:
        """Start the disk and mount it; ext4 recovers its journal."""
        program = [sys.executable, __file__, str(self._bytes), str(self._shown_as)]
        self._program = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._program.stdout is not None
        assert self._program.stdout.readline() == "ready\n"
        self._loop = _run("losetup", "--find", "--show", str(self._shown_as)).strip()
        _run("mount", "-t", "ext4", "-o", f"errors=remount-ro{self._options and ','}{self._options}", self._loop, str(self.directory))

    def cut_power(self, keeps: float, seed: int) -> dict[str, int]:
        """Cut the power at this very moment; every request to the disk fails from then on. Say what was in its cache, and lost."""
        assert self._program is not None
        assert self._program.stdin is not None
        assert self._program.stdout is not None
        self._program.stdin.write(f"{keeps} {seed}\n")
        self._program.stdin.flush()
        reported: dict[str, int] = json.loads(self._program.stdout.readline())
        return reported

    def take_away(self) -> None:
        """Unmount all of it. Whoever had files open there must be gone."""
        if os.path.ismount(self.directory):
            for _ in range(100):
                if subprocess.run(["umount", str(self.directory)], capture_output=True, check=False).returncode == 0:
                    break
                time.sleep(0.1)
            else:
                _run("umount", "--lazy", str(self.directory))
        if self._loop is not None:
            _run("losetup", "--detach", self._loop)
            self._loop = None
        if os.path.ismount(self._shown_as):
            for _ in range(100):
                if subprocess.run(["umount", str(self._shown_as)], capture_output=True, check=False).returncode == 0:
                    break
                time.sleep(0.1)
            else:
                _run("umount", "--lazy", str(self._shown_as))
        if self._program is not None:
            self._program.kill()
            self._program.communicate()
            self._program = None


def _run(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{argv}: {done.stderr}"
    return done.stdout


if __name__ == "__main__":
    serve(Path(sys.argv[1]), Path(sys.argv[2]))
