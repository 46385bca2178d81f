"""What it takes to go on with an upload after this process has ended: a small file, locked while in use. Shared within uploadkit.client.

Locked by flock, on Windows by msvcrt; on a system with neither, only against other threads of this process. Refuses to hold the API key
or a URL.
"""

from __future__ import annotations

import json
import os
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

from uploadkit.client.errors import UploadKitClientError, UploadKitFileError

try:
    import fcntl
except ImportError:
    fcntl = None  # type: ignore[assignment]
try:
    import msvcrt
except ImportError:
    msvcrt = None  # type: ignore[assignment]

_FLAGS = os.O_RDWR | os.O_CREAT | sum(getattr(os, name, 0) for name in ("O_CLOEXEC", "O_NOFOLLOW", "O_BINARY"))
_MAX_STATE_BYTES = 64 * 1024
_LOCKED_BYTE = 1024**2  # behind all content: what msvcrt locks can't be read
_GIVEN_UP_AFTER_SECONDS = 30 * 24 * 3600  # the appliance has long forgotten the upload


def default_resume_store() -> Path:
    """Return the directory where unfinished uploads are remembered: `$XDG_STATE_HOME/uploadkit/uploads`, on Windows in `%LOCALAPPDATA%`."""
    state_home = os.environ.get("XDG_STATE_HOME", "")
    if os.name == "nt" and os.path.isabs(local := os.environ.get("LOCALAPPDATA", "")):
        return Path(local) / "uploadkit" / "uploads"
    return (Path(state_home) if os.path.isabs(state_home) else Path.home() / ".local" / "state") / "uploadkit" / "uploads"


def forget_given_up(directory: Path) -> None:
    """Remove what is left of uploads that nobody has gone on with for 30 days."""
    for path in directory.glob("[0-9a-f]" * 64 + ".json"):  # the directory may hold other things too
        with suppress(OSError, UploadKitClientError):
            if path.stat().st_mtime < time.time() - _GIVEN_UP_AFTER_SECONDS:
                _close(path, _open_locked(path), remove=True)


class UploadState:
    """The ids of one multipart upload: in memory, and where a path is given in a file (0600) too."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.content: dict[str, str] = {}
        if path is not None:
            self._descriptor = _open_locked(path)
            with suppress(ValueError):  # torn by a kill: nothing to go on with
                found = json.loads(os.read(self._descriptor, _MAX_STATE_BYTES))
                self.content = found if isinstance(found, dict) else {}

    @property
    def is_kept(self) -> bool:
        """Whether it outlives this process."""
        return self._path is not None

    @property
    def upload(self) -> dict[str, str]:
        """What the API's multipart calls want to know."""
        return {"fileId": self.content["fileId"], "uploadId": self.content["uploadId"]}

    def save(self, content: dict[str, str]) -> None:
        """Remember `content` instead; nothing, for an upload that has ended."""
        self.content = content
        if self._path is not None:
            try:
                os.lseek(self._descriptor, 0, os.SEEK_SET)
                written = os.write(self._descriptor, json.dumps(content).encode())
                os.ftruncate(self._descriptor, written)
            except OSError as error:
                raise _state_unusable(self._path, error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._path is not None:
            _close(self._path, self._descriptor, remove=not self.content)


_held: set[str] = set()
_held_lock = threading.Lock()


def _open_locked(path: Path) -> int:
    while True:
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(path, _FLAGS, 0o600)
        except OSError as error:
            raise _state_unusable(path, error) from error
        try:
            _lock(path, descriptor)
            if os.path.samestat(os.stat(path), os.fstat(descriptor)):
                return descriptor
        except FileNotFoundError:
            pass  # its owner finished and removed it between our open and our lock
        except (BlockingIOError, PermissionError):
            os.close(descriptor)
            raise UploadKitFileError("is being uploaded by another process", "Wait for it to end", code="FILE_IN_USE") from None
        _close(path, descriptor, remove=False)


def _lock(path: Path, descriptor: int) -> None:
    """Lock an open file without waiting. Raises BlockingIOError, on Windows PermissionError."""
    if fcntl is not None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    elif msvcrt is not None:
        os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined, unused-ignore]
        os.lseek(descriptor, 0, os.SEEK_SET)
    else:
        with _held_lock:
            if os.path.abspath(path) in _held:
                raise BlockingIOError
            _held.add(os.path.abspath(path))


def _close(path: Path, descriptor: int, *, remove: bool) -> None:
    """Give a locked file back, and remove it: while it is locked, but on Windows, where what is open can't be removed."""
    if remove and fcntl is not None:
        path.unlink(missing_ok=True)
    os.close(descriptor)
    if remove and fcntl is None:
        with suppress(OSError):  # another process has opened it meanwhile, and removes it then
            path.unlink(missing_ok=True)
    with _held_lock:
        _held.discard(os.path.abspath(path))


def _state_unusable(path: Path, error: OSError) -> UploadKitClientError:
    message = f"what it takes to resume can't be kept in {path.parent}: {error.strerror}"
    return UploadKitClientError(message, "Make it writable, or choose another directory", code="RESUME_STORE_UNUSABLE")
