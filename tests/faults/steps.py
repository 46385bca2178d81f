"""One act on the services in a process of its own, which is killed at the n-th moment at which anything outside it can change.

Such moments are not guessed. They are watched: every request to the store (before it is sent, and after its answer has come), and every
commit to the database. Between two of them nothing happens that could outlast the process.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.clock import travelled_to
from uploadkit import config
from uploadkit.auth.callers import Caller
from uploadkit.context import Context
from uploadkit.core import clock
from uploadkit.core.clock import DAY_MS
from uploadkit.core.data_dir import lock_data_dir
from uploadkit.core.errors import UploadKitError
from uploadkit.db.connection import open_database
from uploadkit.db.models import database
from uploadkit.files import multipart_upload, single_upload
from uploadkit.files import service as files
from uploadkit.maintenance import old_files, project_removal, retention, sweeper
from uploadkit.objectstore.address import StoreAddress
from uploadkit.objectstore.store import ObjectStore
from uploadkit.projects import service as projects

Facts = dict[str, Any]


def complete(ctx: Context, caller: Caller, facts: Facts) -> None:
    single_upload.complete_upload(ctx, caller, facts["id"], {"a": 1})
    sweeper.sweep_due(ctx)


def complete_in_parts(ctx: Context, caller: Caller, facts: Facts) -> None:
    multipart_upload.complete_multipart(ctx, caller, facts["id"], facts["upload_id"], None, {"a": 1})


def start_in_parts(ctx: Context, caller: Caller, facts: Facts) -> None:
    multipart_upload.start_multipart(ctx, caller, single_upload.UploadRequest("c", 11 * 1024**2, "video/mp4", "default", {}))


def abort_in_parts(ctx: Context, caller: Caller, facts: Facts) -> None:
    multipart_upload.abort_multipart(ctx, caller, facts["id"], facts["upload_id"])


def delete(ctx: Context, caller: Caller, facts: Facts) -> None:
    files.delete_file(ctx, caller, facts["key"])
    sweeper.sweep_due(ctx)


def purge(ctx: Context, caller: Caller, facts: Facts) -> None:
    """The sandbox is emptied, and what ended long ago is forgotten."""
    with travelled_to(clock.now_ms() + DAY_MS):
        for _ in range(2):
            old_files.purge_test_files(ctx)
            sweeper.sweep_due(ctx)
    with travelled_to(clock.now_ms() + 100 * DAY_MS):
        retention.forget(ctx)


def delete_project(ctx: Context, caller: Caller, facts: Facts) -> None:
    projects.delete_project(caller, facts["project"])
    with travelled_to(clock.now_ms() + DAY_MS):
        for _ in range(2):
            project_removal.remove_deleted_projects(ctx)
            sweeper.sweep_due(ctx)


ACTS: dict[str, Callable[[Context, Caller, Facts], None]] = {
    act.__name__: act for act in (complete, complete_in_parts, start_in_parts, abort_in_parts, delete, purge, delete_project)
}
_forkserver = multiprocessing.get_context("forkserver")
_forkserver.set_forkserver_preload([__name__])


def run(data_dir: Path, address: StoreAddress, act: str, caller: Caller, facts: Facts, kill_at: int) -> int | None:
    """Do `act` in a process that is killed at its moment number `kill_at`; return how many it had when it came to its end, else None."""
    ours, theirs = _forkserver.Pipe(duplex=False)
    process = _forkserver.Process(target=_child, args=(theirs, data_dir, address, act, caller, facts, kill_at))
    process.start()
    theirs.close()
    counted: int | None = None
    with contextlib.suppress(EOFError):
        counted = ours.recv()
    ours.close()
    process.join()
    assert process.exitcode == (0 if counted is not None else -signal.SIGKILL)
    process.close()
    return counted


class _Moments:
    def __init__(self, kill_at: int) -> None:
        self.count, self._kill_at = 0, kill_at

    def passed(self, **_: Any) -> None:
        self.count += 1
        if self.count == self._kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*given: Any) -> Any:
            self.passed()
            try:
                return function(*given)
            finally:
                self.passed()

        return watched

    def statement(self, sql: str) -> None:
        if sql.startswith("COMMIT"):
            self.passed()


def _child(pipe: Any, data_dir: Path, address: StoreAddress, act: str, caller: Caller, facts: Facts, kill_at: int) -> None:
    settings = config.load(None, {"UPLOADKIT_DATA__DIR": str(data_dir), "UPLOADKIT_DATABASE__SYNCHRONOUS": "NORMAL"})
    moments = _Moments(kill_at)
    with lock_data_dir(settings.data_dir):
        open_database(settings, upgrade=False)
        store = ObjectStore(address)
        for client in (store._quick_client, store._slow_client):
            client.meta.events.register("before-send.s3", moments.passed)
            client.meta.events.register("response-received.s3", moments.passed)
        for requests in (store._quick_requests, store._slow_requests):
            requests._send_once = moments.around(requests._send_once)
        connection: sqlite3.Connection = database.writer.connection()
        connection.set_trace_callback(moments.statement)
        with contextlib.suppress(UploadKitError):
            ACTS[act](Context(settings, store), caller, facts)
        connection.set_trace_callback(None)
    pipe.send(moments.count)
