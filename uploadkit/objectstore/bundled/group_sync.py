"""Group sync: the threads that need the bundled store's files on the disk share one sync (docs/decisions/0026-group-sync.md).

The engines answer from the page cache. Before an upload is acknowledged, everything that its engine wrote for it has to be on the disk: its
volume, its index, the journal of its directory, and the names of files that are new. So a thread waits for a sync that *began* after its
bytes were written; all that come while one runs wait for the next, together. Nobody waits for company: there is no timer.
"""

from __future__ import annotations

import ctypes
import errno
import logging
import os
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from uploadkit.core import durable_files
from uploadkit.core.errors import StorageUnavailable
from uploadkit.core.packaged_files import PROGRAM

log = logging.getLogger("uploadkit.objectstore")

LONGEST_WAIT_SECONDS = 60.0
"""How long a call may wait for the disk. A disk that does not answer at all would keep it for ever."""
# The clock of files may be behind ours by a tick, or, on FAT, by two seconds.
_COARSE_NS = 2_000_000_000
_MOST_WALKS = 10


class GroupSync:
    """Syncs of what lies below `directory`. Made before the first byte is written, so that no error of the disk is missed.

    A failed sync is final for this process: Linux tells each failure to write back once and then takes the pages for clean, so the next
    sync would succeed without them. `sync` stands in for the system's in tests.
    """

    def __init__(self, directory: Path, sync: Callable[[], None] | None = None, *, wait_seconds: float = LONGEST_WAIT_SECONDS) -> None:
        self._sync = sync or system_sync(directory)
        self._directory, self._wait_seconds = directory, wait_seconds
        self._changed = threading.Condition()
        self._wanted = self._begun = self._ended = 0  # numbers of syncs: the last that is waited for, that began, that ended well
        self._failure: OSError | None = None
        self._thread: threading.Thread | None = None

    def trouble(self) -> str | None:
        """Say in one sentence why nothing can be acknowledged any more; None when all is well. Reads memory only."""
        failure = self._failure
        return None if failure is None else f"the disk under the store has failed to write ({failure.strerror}); see the kernel's log"

    def wait(self) -> None:
        """Return once all that was written below the directory before this call is on the disk.

        Raises StorageUnavailable when the disk has failed, or does not get there in time; then nothing is certain.
        """
        until = time.monotonic() + self._wait_seconds
        with self._changed:
            mine = self._begun + 1
            self._wanted = max(self._wanted, mine)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="store-sync", daemon=True)
                self._thread.start()
            self._changed.notify_all()
            while self._ended < mine and self._failure is None:
                if not self._changed.wait(until - time.monotonic()) and time.monotonic() >= until:
                    raise StorageUnavailable(
                        f"The store's disk has not written everything within {self._wait_seconds:.0f} s",
                        "Complete the upload again in a while; if this stays, look at the disk and at the kernel's log",
                    )
            if self._ended < mine:
                raise StorageUnavailable(
                    f"The upload can't be kept safe: {self.trouble()}",
                    f"Look at the disk, restart the appliance, then run '{PROGRAM} reconcile': what was in memory alone may be lost",
                )

    def _work(self) -> None:
        while self._failure is None:
            with self._changed:
                while self._begun >= self._wanted:
                    self._changed.wait()
                self._begun += 1
            failure = None
            try:
                self._sync()
            except Exception as error:  # any: without this thread nobody would ever get an answer
                failure = error if isinstance(error, OSError) else OSError(errno.EIO, f"{type(error).__name__}: {error}")
                log.error("%s can't be synced: %s; no upload is acknowledged until the appliance is restarted", self._directory, error)
            with self._changed:
                self._failure = failure
                if failure is None:
                    self._ended = self._begun
                self._changed.notify_all()


def system_sync(directory: Path) -> Callable[[], None]:
    """Return the system's best way to have everything below `directory` on the disk. It raises OSError when that fails."""
    return WholeFileSystem(directory) if sys.platform == "linux" else FileByFile(directory)


class WholeFileSystem:
    """One call for the file system that `directory` is on, which no new, renamed or rotated file escapes.

    Since Linux 5.8 it tells of pages that could not be written. Source: syncfs(2).
    """

    def __init__(self, directory: Path) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        # Open for as long as there are syncs: from here on it counts which errors it has told.
        self._descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def __del__(self) -> None:
        os.close(self._descriptor)

    def __call__(self) -> None:
        """Sync. Raises OSError."""
        if self._libc.syncfs(self._descriptor):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))


class FileByFile:
    """Sync each file and folder below `directory` that has changed since the last time that this went well."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._since_ns = 0

    def __call__(self) -> None:
        """Sync what has changed. Raises OSError."""
        began_ns = time.time_ns()
        for _ in range(_MOST_WALKS):
            try:
                for path in self._changed(self._directory):
                    durable_files.sync(path)
            except FileNotFoundError:
                continue  # renamed since it was listed, perhaps to a name that had been passed: look again
            self._since_ns = began_ns - _COARSE_NS
            return
        raise OSError(0, f"files below {self._directory} come and go too quickly")

    def _changed(self, directory: Path) -> Iterator[Path]:
        """The files that have changed, and each folder after what is in it."""
        with os.scandir(directory) as entries:
            found = list(entries)
        for entry in found:
            if entry.is_dir(follow_symlinks=False):
                yield from self._changed(Path(entry.path))
            else:
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(status.st_mode) and status.st_ctime_ns >= self._since_ns:
                    yield Path(entry.path)
        if directory.stat().st_ctime_ns >= self._since_ns:
            yield directory
