"""Where backups are kept: a folder, or a bucket with a prefix. Both hold small pieces under names, each whole or not there."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from uploadkit.config import ByosConfig, Config
from uploadkit.core import file_locks, path_ownership
from uploadkit.core.durable_files import sync
from uploadkit.core.errors import ConfigError, Conflict, StorageUnavailable
from uploadkit.objectstore import listing
from uploadkit.objectstore.address import byos_address
from uploadkit.objectstore.store import ObjectStore


class Place(Protocol):
    """A target of backups. Every call raises StorageUnavailable when the target can't do it now."""

    def __str__(self) -> str:
        """Return the target as its owner wrote it, without credentials."""

    def read(self, name: str, most_bytes: int) -> bytes | None:
        """Return what is under `name`, at most `most_bytes`; None when there is nothing."""

    def write(self, name: str, content: bytes) -> None:
        """Put `content` under `name`, in place of what was there."""

    def settle(self) -> None:
        """Return once all that was written stays after a power cut."""

    def names(self, folder: str) -> Iterator[str]:
        """Yield the names of all that is below `folder`, which ends in a slash."""

    def delete(self, name: str) -> None:
        """Delete what is under `name`, if there is something."""

    def alone(self) -> AbstractContextManager[None]:
        """Keep other backups away from this target for a block. Raises Conflict."""


class Folder:
    """A folder of this machine, or one that is mounted here. Made, readable by its owner only, if the folder above it is there."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._written: set[Path] = set()
        self._lock = threading.Lock()

    def __str__(self) -> str:
        return str(self._path)

    def read(self, name: str, most_bytes: int) -> bytes | None:
        """See Place."""
        try:
            with (self._path / name).open("rb") as file:
                return file.read(most_bytes)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise self._trouble("read", error) from None

    def write(self, name: str, content: bytes) -> None:
        """See Place."""
        path = self._path / name
        partial = path.with_name(f".{path.name}.{threading.get_ident()}.part")
        try:
            self._make(path.parent)
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        except OSError as error:
            with suppress(OSError):
                partial.unlink(missing_ok=True)
            raise self._trouble("written", error) from None
        with self._lock:
            self._written.add(path.parent)

    def settle(self) -> None:
        """See Place. What is in a file was synced when it was written; here are the names."""
        with self._lock:
            folders, self._written = self._written, set()
        try:
            for folder in folders:
                sync(folder)
        except OSError as error:
            raise self._trouble("written", error) from None

    def names(self, folder: str) -> Iterator[str]:
        """See Place."""
        try:
            for above, folders, files in os.walk(self._path / folder, onerror=self._raise):
                folders.sort()
                relative = Path(above).relative_to(self._path).as_posix()
                yield from (f"{relative}/{name}" for name in sorted(files) if not name.startswith("."))
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._trouble("read", error) from None

    def delete(self, name: str) -> None:
        """See Place."""
        path = self._path / name
        try:
            path.unlink(missing_ok=True)
            with suppress(OSError):  # others are in it
                path.parent.rmdir()
        except OSError as error:
            raise self._trouble("written", error) from None

    @contextmanager
    def alone(self) -> Iterator[None]:
        """See Place."""
        try:
            self._make(self._path)
            if path_ownership.is_foreign(self._path):
                raise ConfigError(
                    f"backup: {self._path} belongs to another user, who could replace what is in it; take a folder of your own"
                )
            lock = (self._path / ".lock").open("a")
        except OSError as error:
            raise self._trouble("written", error) from None
        with lock:
            with suppress(OSError):  # a network file system without locks
                if not file_locks.take(lock):
                    raise Conflict(f"Another command is at work on the backups in {self._path}", "Wait for its end, or stop it")
            yield

    def _make(self, folder: Path) -> None:
        if folder.is_dir():
            return
        if folder != self._path:
            self._make(folder.parent)
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
            sync(folder.parent)

    @staticmethod
    def _raise(error: OSError) -> None:
        raise error

    def _trouble(self, what: str, error: OSError) -> StorageUnavailable:
        return StorageUnavailable(
            f"The backups in {self._path} can't be {what}: {error.strerror or error}",
            "Check that the disk is mounted and has space, and the folder's owner",
        )


class Bucket:
    """A bucket with S3, under a prefix."""

    def __init__(self, store: ObjectStore, prefix: str) -> None:
        self._store, self._prefix = store, f"{prefix}/" if prefix else ""

    def __str__(self) -> str:
        return f"s3://{self._store.address.bucket}/{self._prefix}".rstrip("/")

    def read(self, name: str, most_bytes: int) -> bytes | None:
        """See Place."""
        found = self._store.read_piece(self._prefix + name, 0, most_bytes)
        return None if found is None else found.content

    def write(self, name: str, content: bytes) -> None:
        """See Place."""
        md5 = base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()
        self._store.put(self._prefix + name, io.BytesIO(content), md5, "application/octet-stream", "attachment")

    def settle(self) -> None:
        """See Place. What a store has answered, it has."""

    def names(self, folder: str) -> Iterator[str]:
        """See Place."""
        for page in listing.objects(self._store, self._prefix + folder):
            yield from (item.key.removeprefix(self._prefix) for item in page)

    def delete(self, name: str) -> None:
        """See Place."""
        self._store.delete(self._prefix + name)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """See Place. Another machine is kept away by the mark, which says whose backups these are."""
        yield


def name_of(target: str) -> str:
    """Return `target` as the place that it names calls itself."""
    if "://" in target:
        parts = urlsplit(target)
        return f"s3://{parts.netloc}/{parts.path.strip('/')}".rstrip("/")
    return os.path.abspath(Path(target).expanduser())


def opened(config: Config, target: str) -> Place:
    """Return the place that `target` names: a folder, or `s3://bucket/prefix` with what `[backup.s3]` says. Raises ConfigError."""
    if "://" not in target:
        path = Path(name_of(target))
        _refuse_inside(config, path)
        return Folder(path)
    parts = urlsplit(target)
    if parts.scheme != "s3" or not parts.hostname or parts.query or parts.fragment or parts.port or parts.username:
        raise ConfigError(f'backup: the target {target!r} is neither a folder nor "s3://bucket/prefix"')
    s3 = config.backup.s3
    for key in ("region", "access_key_id", "secret_access_key"):
        if getattr(s3, key) is None:
            raise ConfigError(f"backup.s3.{key}: must be set for backups to {target}")
    byos = ByosConfig(bucket=parts.netloc, **{name: getattr(s3, name) for name in type(s3).model_fields})
    return Bucket(ObjectStore(byos_address(byos), timeout_seconds=config.storage.timeout_seconds), parts.path.strip("/"))


def _refuse_inside(config: Config, path: Path) -> None:
    data_dir = config.data_dir.resolve()
    if path.resolve().is_relative_to(data_dir):
        raise ConfigError(f"backup: the folder {path} is inside the data directory, and would be lost with it; take another disk")
    if data_dir.is_relative_to(path.resolve()):
        raise ConfigError(f"backup: the data directory is inside {path}; take a folder of its own")
