"""What it takes to go on with an upload after this process has ended: a small file, locked while in use. Shared within uploadkit.client.

Refuses to hold the API key or a URL.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

from uploadkit.client.errors import UploadKitClientError, UploadKitFileError

_GIVEN_UP_AFTER_SECONDS = 30 * 24 * 3600  # the appliance has long forgotten the upload


def default_resume_store() -> Path:
    """Return the directory where unfinished uploads are remembered: `$XDG_STATE_HOME/uploadkit/uploads`."""
    state_home = os.environ.get("XDG_STATE_HOME", "")
    return (Path(state_home) if os.path.isabs(state_home) else Path.home() / ".local" / "state") / "uploadkit" / "uploads"


def forget_given_up(directory: Path) -> None:
    """Remove what is left of uploads that nobody has gone on with for 30 days."""
    for path in directory.glob("[0-9a-f]" * 64 + ".json"):  # the directory may hold other things too
        with suppress(OSError, UploadKitClientError):
            if path.stat().st_mtime < time.time() - _GIVEN_UP_AFTER_SECONDS:
                descriptor = _open_locked(path)
                path.unlink(missing_ok=True)
                os.close(descriptor)


class UploadState:
    """The ids of one multipart upload: in memory, and where a path is given in a file (0600) too."""

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
