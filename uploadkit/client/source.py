"""The local file: opened once, read from several threads, and watched for changes. Shared within uploadkit.client."""

from __future__ import annotations

import io
import os
import stat
import threading
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, cast

from uploadkit.client.errors import UploadKitFileError
from uploadkit.client.media_types import UNKNOWN, type_of_name

_MAX_FILE_NAME_CHARACTERS = 255


class Source:
    """What is uploaded: an open file from where it stands to its end.

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
        if len(name) > _MAX_FILE_NAME_CHARACTERS:
            raise UploadKitFileError(f"has a name of {len(name)} characters; {_MAX_FILE_NAME_CHARACTERS} are allowed")

    def read_at(self, offset: int, count: int) -> bytes:
        """Return up to `count` bytes from `offset` on, at least one."""
        try:
            with self._lock:
                self._file.seek(self._start + offset)
                block = self._file.read(count)
        except OSError as error:  # told apart from the network's
            raise UploadKitFileError(f"can't be read: {error.strerror}", code="FILE_NOT_READABLE") from error
        return block or self._changed()

    def check_unchanged(self) -> None:
        """Raise UploadKitFileError if size or time are not those of the opening."""
        if self._version() != self._opened_as:
            self._changed()

    def close(self) -> None:
        """Close the file."""
        with self._lock:  # a thread that outlives the upload must find it closed, not closed under its read
            self._file.close()

    def _changed(self) -> bytes:
        message = "changed while it was uploaded; nothing was kept"
        raise UploadKitFileError(message, "Upload it again when it is complete", code="FILE_CHANGED")

    def _version(self) -> tuple[int, int]:
        with self._lock:
            try:
                standing = os.fstat(self._file.fileno())
            except OSError:  # in memory
                return self._file.seek(0, io.SEEK_END), 0
            return standing.st_size, standing.st_mtime_ns


@contextmanager
def open_source(path_or_file: str | os.PathLike[str] | BinaryIO, file_name: str | None) -> Iterator[Source]:
    """Open what `Client.upload` was given; a path is closed at the end, a file object is the caller's to close."""
    if isinstance(path_or_file, str | os.PathLike):
        path = os.fspath(path_or_file)
        with _opened(path) as file:
            source = Source(file, file_name or _sendable_name(path), path)
            try:
                yield source
            finally:
                source.close()
        return
    own_name = getattr(path_or_file, "name", None)
    name = file_name or (_sendable_name(own_name) if isinstance(own_name, str) else "")
    if not name:
        raise ValueError("file_name is needed: this file object has no name")
    yield Source(path_or_file, name)


def _opened(path: str) -> BinaryIO:
    try:
        # O_NONBLOCK: a named pipe must be refused below, not waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        raise UploadKitFileError(f"can't be opened: {getattr(error, 'strerror', error)}", code="FILE_NOT_READABLE") from error
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return cast("BinaryIO", os.fdopen(descriptor, "rb", buffering=0))
    os.close(descriptor)
    if stat.S_ISDIR(mode):
        raise UploadKitFileError("is a directory", "Name the files in it, or pack it into an archive first")
    raise UploadKitFileError("is not a regular file", "An upload declares its size first: write the data to a file")


def _sendable_name(path: str) -> str:
    """Return the last part of a path as the API takes it: what is not UTF-8, and control characters, become U+FFFD."""
    text = os.fsencode(os.path.basename(os.path.abspath(path))).decode("utf-8", "replace")
    return "".join("\ufffd" if unicodedata.category(character) == "Cc" else character for character in text)


def guess_content_type(name: str) -> str:
    """Return the content type that the ending of `name` stands for."""
    return type_of_name(name) or UNKNOWN
