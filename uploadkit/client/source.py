"""What is uploaded: a path, bytes, or any object with `read`. Opened once, read from several threads, and watched for changes.

Shared within uploadkit.client. The size is what the object itself says or gives, never what a descriptor beneath it has: a `gzip.open` has
a descriptor, of fewer bytes than it gives. Refuses text. Whatever an object raises becomes UploadKitFileError.
"""

from __future__ import annotations

import contextlib
import errno
import http.client
import inspect
import io
import mmap
import os
import stat
import tempfile
import threading
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO, Protocol, cast, runtime_checkable

from uploadkit.client.errors import UploadKitFileError
from uploadkit.client.media_types import UNKNOWN, type_of_name

MAX_STREAM_BYTES = 1024**3
_MAX_FILE_NAME_CHARACTERS = 255
_SPOOL_BLOCK_BYTES = 1024 * 1024
_MAX_REASON_CHARACTERS = 200
_DECOMPRESSORS = {"gzip", "bz2", "lzma", "compression", "_compression", "zstandard"}
_COMPRESSED_ENDINGS = (".gz", ".bz2", ".xz", ".lzma", ".zst")


@runtime_checkable
class Readable(Protocol):
    """Anything that gives bytes: `read(count)` returns up to `count` of them, and none at the end."""

    def read(self, count: int, /) -> Any:
        """Return up to `count` bytes."""


class Source:
    """Bytes of a known number: those of an object that can be read anywhere, from `start` to its `end`.

    `identity` tells a path's present content from any other, for resuming; an object has none. `is_random_access` says whether reading
    here and there is as quick as reading on: not where the object unpacks.
    """

    def __init__(self, file: BinaryIO, name: str, start: int, end: int, path: str | None = None) -> None:
        self._file, self._start, self._lock, self._is_closed = file, start, threading.Lock(), False
        self._plain = _plain_file(file)
        self.name, self.size_bytes, self._opened_as = name, end - start, (end, self._changed_at())
        self.identity = None if path is None else (os.path.abspath(path), *self._opened_as)
        self.is_random_access = self._plain is not None or isinstance(_bare(file), io.BytesIO | mmap.mmap)
        if len(name) > _MAX_FILE_NAME_CHARACTERS:
            raise UploadKitFileError(f"has a name of {len(name)} characters; {_MAX_FILE_NAME_CHARACTERS} are allowed")
        if self.size_bytes <= 0:
            raise UploadKitFileError("is empty: a file of 0 bytes can't be uploaded", code="FILE_EMPTY")

    def read_at(self, offset: int, count: int) -> bytes:
        """Return up to `count` bytes from `offset` on, at least one."""
        block = self._read(offset, count)
        if len(block) > count:
            raise UploadKitFileError(f"is broken: it gives {len(block)} bytes where {count} are asked for", code="FILE_NOT_READABLE")
        return block or self._changed()

    def check_unchanged(self) -> None:
        """Raise UploadKitFileError if it has become longer or shorter, or its time is another than at the opening."""
        with self._lock, _its_errors():
            self._file.seek(0, io.SEEK_END)
            version = self._file.tell(), self._changed_at()
        if version != self._opened_as or self._read(self.size_bytes, 1):  # what it says, and what it gives
            self._changed()

    def close(self, *, rewound: bool) -> None:
        """Give the object back: where it stood at first, or at its end. Threads that outlive the upload read no more."""
        with self._lock:
            self._is_closed = True
            with suppress(Exception):  # it is the caller's, who may have closed it
                self._file.seek(self._start if rewound else self._start + self.size_bytes)

    def _read(self, offset: int, count: int) -> bytes:
        with self._lock:
            if self._is_closed:
                raise UploadKitFileError("is no longer read")
            with _its_errors():
                self._file.seek(self._start + offset)
                return _bytes_of(self._file, count)

    def _changed(self) -> bytes:
        message = "changed while it was uploaded; nothing was kept"
        raise UploadKitFileError(message, "Upload it again when it is complete", code="FILE_CHANGED")

    def _changed_at(self) -> int:
        """Return when a plain file was changed (nanoseconds); 0 of anything else."""
        with _its_errors():
            return 0 if self._plain is None else os.fstat(self._plain.fileno()).st_mtime_ns


@contextmanager
def open_source(what: object, file_name: str | None, max_stream_bytes: int = MAX_STREAM_BYTES) -> Iterator[Source]:
    """Open what `Client.upload` was given; a path is closed at the end, an object is the caller's to close.

    An object that can't be read anywhere is read to its end first, into a temporary file without a name, `max_stream_bytes` at most.
    """
    with contextlib.ExitStack() as opened:
        path = None
        if isinstance(what, str | os.PathLike):
            path = os.fsdecode(what)
            name = file_name or _sendable_name(path)
            file: object = opened.enter_context(_opened(path))
        elif isinstance(what, bytes | bytearray | memoryview):
            name, file = file_name or "", io.BytesIO(bytes(what))
        elif isinstance(what, Readable):
            name, file = file_name or _name_of(what), what
        else:
            message = f"is a {type(what).__name__}, which is neither a path nor bytes nor an object to read from"
            raise UploadKitFileError(message, "Open it in binary mode, or give its bytes; a socket has makefile('rb')")
        if not name:
            raise ValueError("file_name is needed: this object has no name")
        readable = cast("Readable", file)
        if isinstance(readable, io.TextIOBase):  # not a byte of it is taken
            raise _not_bytes("str")
        span = _span(readable)
        if span is None:
            file, path = opened.enter_context(_spooled(readable, max_stream_bytes)), None
            span = 0, file.tell()
        source = Source(cast("BinaryIO", file), name, *span, path)
        done = False
        try:
            yield source
            done = True
        finally:
            source.close(rewound=not done)


def _span(file: Readable) -> tuple[int, int] | None:
    """Return where `file` stands and where it ends, if it says so and can be read anywhere; else None. Refuses text."""
    if not _can_seek(file):
        return None
    seekable = cast("BinaryIO", file)
    try:
        start = seekable.tell()
        seekable.seek(0, io.SEEK_END)  # also writes what waits in a buffer
        end = seekable.tell()
    except (AttributeError, TypeError, io.UnsupportedOperation):
        return None
    except Exception as error:
        if isinstance(error, OSError) and error.errno in (errno.ESPIPE, errno.EINVAL):
            return None  # a pipe; a file of /proc
        raise _not_readable(error) from error
    with _its_errors():
        seekable.seek(start)
        if end <= start:
            return None  # files of /proc have no size, and bytes all the same
        _bytes_of(file, 1)
        seekable.seek(start)
    return start, end


def _can_seek(file: object, depth: int = 3) -> bool:
    """Say whether `file` can be read anywhere by what it says, and what it unpacks can."""
    ask = getattr(file, "seekable", None)
    with _its_errors():
        try:
            if not hasattr(file, "seek") or not hasattr(file, "tell") or (callable(ask) and not ask()):
                return False
        except AttributeError:  # tarfile asks something that may not be able to answer
            return False
    if isinstance(file, io.BufferedReader):
        return depth == 0 or _can_seek(file.raw, depth - 1)
    beneath = [getattr(file, name, None) for name in ("fileobj", "_fp")] if _unpacks(file) else []
    return depth == 0 or all(_can_seek(each, depth - 1) for each in beneath if each is not None)


@contextmanager
def _spooled(stream: Readable, max_bytes: int) -> Iterator[BinaryIO]:
    """Read `stream` to its end into a temporary file, and give that."""
    with contextlib.ExitStack() as opened:
        count = 0
        try:
            file = opened.enter_context(tempfile.TemporaryFile())
            while True:
                with _its_errors():
                    block = _bytes_of(stream, _SPOOL_BLOCK_BYTES)
                if not block:
                    break
                count += len(block)
                if count > max_bytes:
                    message = f"is a stream of more than {max_bytes} bytes; its size is needed first, so it is kept in a temporary file"
                    suggestion = "Write it to a file and upload that, or raise max_stream_bytes"
                    raise UploadKitFileError(message, suggestion, code="STREAM_TOO_LONG")
                file.write(block)
            file.flush()
        except OSError as error:
            message = f"is a stream, and can't be kept in a temporary file: {error.strerror}"
            raise UploadKitFileError(message, "Make room there, or let TMPDIR name another directory", code="NO_ROOM_FOR_STREAM") from error
        if isinstance(stream, http.client.HTTPResponse) and stream.length:
            message = f"ended early: {stream.length} bytes of the HTTP answer did not come"
            raise UploadKitFileError(message, "Ask for it again", code="FILE_NOT_READABLE")
        yield cast("BinaryIO", file)


def _bytes_of(file: Readable, count: int) -> bytes:
    """Read up to `count` bytes. Refuses what is no bytes."""
    block = file.read(count)
    if isinstance(block, bytes):
        return block
    if isinstance(block, bytearray | memoryview):
        return bytes(block)
    if block is None:
        raise UploadKitFileError("has nothing to read right now: it does not wait for data", "Make it blocking", code="FILE_NOT_READABLE")
    if inspect.iscoroutine(block):
        block.close()
        message = "is read asynchronously, and this client is not"
        raise UploadKitFileError(message, "Give what it wraps (of an UploadFile of Starlette `.file`), or its bytes")
    raise _not_bytes(type(block).__name__)


def _not_bytes(given: str) -> UploadKitFileError:
    message = f"gives {given}, not bytes: what is stored would not be what the file has"
    suggestion = 'Open it in binary mode: open(path, "rb"); of sys.stdin take sys.stdin.buffer, and text has encode()'
    return UploadKitFileError(message, suggestion, code="FILE_NOT_BINARY")


@contextmanager
def _its_errors() -> Iterator[None]:
    """Turn whatever an object of the caller's raises into UploadKitFileError: told apart from the network's, and never bare."""
    try:
        yield
    except UploadKitFileError:
        raise
    except Exception as error:
        raise _not_readable(error) from error


def _not_readable(error: Exception) -> UploadKitFileError:
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return UploadKitFileError(f"can't be read: {reason[:_MAX_REASON_CHARACTERS]}", code="FILE_NOT_READABLE")


def _bare(file: object) -> object:
    """Return what tempfile's and werkzeug's objects wrap, `file` itself otherwise."""
    if isinstance(file, tempfile.SpooledTemporaryFile):
        return getattr(file, "_file", file)
    if type(file).__module__.partition(".")[0] == "werkzeug":
        return _bare(getattr(file, "stream", file))
    return getattr(file, "file", file) if type(file).__module__ == "tempfile" else file


def _plain_file(file: object) -> io.FileIO | None:
    """Return the operating system's file of which `file` gives exactly the bytes; None if it is anything else."""
    bare = _bare(file)
    with _its_errors():
        raw = bare.raw if isinstance(bare, io.BufferedReader | io.BufferedRandom) else bare
        return raw if type(raw) is io.FileIO else None


def _unpacks(file: object) -> bool:
    return type(file).__module__.partition(".")[0] in _DECOMPRESSORS


def _name_of(file: object) -> str:
    """Return the name that an object has; "" if it has none. What is read out of `a.csv.gz` unpacked is `a.csv`."""
    for attribute in ("filename", "name"):
        with suppress(Exception):
            name = getattr(file, attribute, None)
            if isinstance(name, str | bytes) and name and not os.fsdecode(name).startswith("<"):
                sendable = _sendable_name(os.fsdecode(name))
                stem, ending = os.path.splitext(sendable)
                unpacked = any(_unpacks(each) for each in (file, getattr(file, "raw", None)))
                return stem if unpacked and stem and ending.lower() in _COMPRESSED_ENDINGS else sendable
    return ""


@contextmanager
def _opened(path: str) -> Iterator[BinaryIO]:
    try:
        # O_NONBLOCK: a named pipe must be refused below, not waited for. Windows has none of these, and O_BINARY.
        flags = (getattr(os, name, 0) for name in ("O_CLOEXEC", "O_NONBLOCK", "O_BINARY"))
        descriptor = os.open(path, os.O_RDONLY | sum(flags))
    except (OSError, ValueError) as error:
        if os.path.isdir(path):  # which Windows does not open at all
            raise _directory() from error
        raise UploadKitFileError(f"can't be opened: {getattr(error, 'strerror', error)}", code="FILE_NOT_READABLE") from error
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        if stat.S_ISDIR(mode):
            raise _directory()
        raise UploadKitFileError("is not a regular file", "Write the data to a file; a program may also give the opened pipe")
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        yield cast("BinaryIO", file)


def _directory() -> UploadKitFileError:
    return UploadKitFileError("is a directory", "Name the files in it, or pack it into an archive first")


def _sendable_name(path: str) -> str:
    """Return the last part of a path as the API takes it: what is not UTF-8, and control characters, become U+FFFD."""
    text = os.fsencode(os.path.basename(os.path.abspath(path))).decode("utf-8", "replace")
    return "".join("\ufffd" if unicodedata.category(character) == "Cc" else character for character in text)


def guess_content_type(name: str) -> str:
    """Return the content type that the ending of `name` stands for."""
    return type_of_name(name) or UNKNOWN
