"""The bundled object store: chosen, started, watched and stopped as a child process of the appliance.

Owns `data/store/` (0700: one directory per engine, and the record of which engine wrote it), `data/store-credentials.json`
(0600, made once), `data/store.pid` and `data/store.log` (0600, at most some 16 MiB with its predecessor). It speaks no S3:
buckets and objects are `objectstore/store.py`'s. It never hands out a store that accepts forged writes, and never ends a process that
isn't its own. One appliance per data directory: the caller holds that lock before `start`.
"""

from __future__ import annotations

import json
import logging
import secrets
import shutil
import threading
import time
from dataclasses import asdict
from pathlib import Path

import urllib3

from uploadkit.config import BundledConfig
from uploadkit.core.durable_files import write_private
from uploadkit.objectstore.bundled import processes
from uploadkit.objectstore.bundled.disk import DiskUse
from uploadkit.objectstore.bundled.engine_process import RunningEngine, check_limit, s3_offset
from uploadkit.objectstore.bundled.engines import (
    LOOPBACK,
    REGION,
    Credentials,
    Engine,
    Minio,
    SeaweedFS,
    StoreStartError,
    choose_base_port,
    find_minio,
    find_weed,
)
from uploadkit.objectstore.forged_writes import NoClearAnswer, accepted_forgery

__all__ = ["BundledStore", "DiskUse", "StoreStartError"]

logger = logging.getLogger("uploadkit.objectstore")

_LOOK_SECONDS = 0.2
_START_ATTEMPTS = 3
_NOT_RUNNING = "the bundled store is not running"


class BundledStore:
    """The store and its supervisor: one thread, from `start` to `stop`, spawns and watches all children.

    `data_dir` is the data directory, `listen_host` is server.host, `public_host` the host name that browsers know the
    appliance by. The attributes `engine`, `base` (the first of its ports), `endpoint`, `public_endpoint`, `socket` (the appliance's own
    way to S3, None where it has to be `endpoint`), `access_key_id` and `secret_access_key` hold from `start` on, through every restart
    of the engine.
    """

    region = REGION
    bucket = "uploads"

    def __init__(self, settings: BundledConfig, data_dir: Path, *, listen_host: str, public_host: str) -> None:
        self._settings = settings
        self._data_dir = data_dir.absolute()
        self._store_dir = self._data_dir / "store"
        self._listen_host, self._public_host = listen_host, public_host
        self.engine = self.endpoint = self.public_endpoint = self.access_key_id = self.secret_access_key = ""
        self.socket: Path | None = None
        self._running: RunningEngine | None = None
        self._thread: threading.Thread | None = None
        self._stopping, self._settled = threading.Event(), threading.Event()
        self._start_error: StoreStartError | None = None
        self.base = 0
        self._deadline = 0.0

    def __repr__(self) -> str:
        return f"<BundledStore {self.engine or 'not started'} {self.endpoint}>"

    def start(self, timeout_seconds: float = 60) -> None:
        """Bring the store up; return when it answers and has refused forged writes. To be called once.

        Ends what an earlier appliance that was killed left running. Raises StoreStartError: one line, why and what to do.
        """
        self._deadline = time.monotonic() + timeout_seconds
        self._thread = threading.Thread(target=self._run, name="bundled-store", daemon=True)
        self._thread.start()
        self._settled.wait()
        if self._start_error is not None:
            self._thread.join()
            raise self._start_error

    def stop(self) -> None:
        """End the store: SIGTERM, 10 s, SIGKILL. Returns when it is gone; may be repeated, and called without `start`."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
        self._running = None

    def outage(self) -> str | None:
        """Say in one sentence why the store can't answer now, None when it can. Reads memory only."""
        running = self._running
        return _NOT_RUNNING if running is None else running.trouble

    def problem(self) -> str | None:
        """Say in one sentence why no upload may be issued now; None when all is well. Reads memory only."""
        running = self._running
        return _NOT_RUNNING if running is None else running.trouble or running.disk_trouble

    def disk(self) -> DiskUse:
        """Return the use of the disk as last measured, a second ago or so. Reads memory only."""
        running = self._running
        return DiskUse(0, 0) if running is None else running.disk_use

    def _run(self) -> None:
        try:
            running = self._choose_engine(self._prepare())
        except StoreStartError as error:
            self._start_error = error
        except Exception as error:  # An unwritable directory, a program that can't be run …
            self._start_error = StoreStartError(f"the bundled store can't be started: {error}")
        self._settled.set()
        if self._start_error is None:
            self._watch(running)

    def _watch(self, running: RunningEngine) -> None:
        try:
            while not self._stopping.wait(_LOOK_SECONDS):
                try:
                    running.look_after()
                except Exception:
                    # This thread's end would be the store's: it has to survive what nobody foresaw.
                    logger.exception("the bundled store's supervisor stumbled")
                    self._stopping.wait(1)
        finally:
            running.end()

    def _prepare(self) -> Credentials:
        check_limit(self._settings.max_disk_bytes)
        for directory in (self._data_dir, self._store_dir):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._store_dir.chmod(0o700)
        ended = processes.end_orphans(self._data_dir / "store.pid")
        if ended:
            logger.warning("ended %d store process(es) that an earlier run had left behind", ended)
        credentials = load_or_make_credentials(self._data_dir / "store-credentials.json")
        self.access_key_id, self.secret_access_key = credentials.access_key_id, credentials.secret_access_key
        return credentials

    def _choose_engine(self, credentials: Credentials) -> RunningEngine:
        record = self._store_dir / "engine"
        candidates = self._candidates(record.read_text(encoding="utf-8").strip() if record.exists() else None)
        for engine in candidates:
            was_there = engine.directory.exists()
            running = self._launch(engine, credentials)
            forged = self._accepted_forgery(running)
            if forged is None:
                write_private(record, f"{engine.name}\n")
                self._announce(running)
                return running
            running.end()
            if engine is candidates[-1]:
                raise StoreStartError(
                    f"storage.bundled.engine: this build of {engine.name} ({engine.binary}) accepts {forged}: anybody could write to "
                    "the store; install a build that refuses it"
                )
            logger.warning("passing over %s (%s): it accepts %s", engine.name, engine.binary, forged)
            if not was_there:
                shutil.rmtree(engine.directory)
        raise AssertionError("there is always a candidate")

    def _candidates(self, recorded: str | None) -> list[Engine]:
        """The engines to try, in this order."""
        wanted = self._settings.engine
        if recorded and wanted not in ("auto", recorded):
            raise StoreStartError(
                f'storage.bundled.engine: the files in {self._store_dir} were written by {recorded}, which "{wanted}" can\'t read; '
                f'set it to "{recorded}" or "auto", or use another data.dir'
            )
        name = recorded or wanted
        minio = None if name == "seaweedfs" else find_minio(self._settings.minio_binary)
        if name == "minio" and minio is None:
            raise StoreStartError("storage.bundled.minio_binary: found no minio program; name one here, or put one on PATH")
        found: list[Engine] = [Minio(minio, self._store_dir / "minio", self._settings.cors_origins)] if minio else []
        if name != "minio":
            found.append(SeaweedFS(find_weed(), self._store_dir / "seaweedfs"))
        return found

    def _launch(self, engine: Engine, credentials: Credentials) -> RunningEngine:
        for _ in range(_START_ATTEMPTS):
            base = choose_base_port(engine, self._settings.port, sorted({0, s3_offset(engine, self._listen_host)}))
            running = RunningEngine(
                engine, base, self._listen_host, credentials, self._settings.max_disk_bytes, self._data_dir, self._stopping
            )
            try:
                running.launch()
                if running.wait_until_ready(self._deadline):
                    return running
            except BaseException:
                running.end()
                raise
            running.end()
            # Somebody may have been quicker at a port of our own choice; a configured one was free a moment ago.
            if self._settings.port or self._stopping.is_set() or time.monotonic() > self._deadline:
                break
        raise StoreStartError(f"the bundled store ({engine.name}) did not come up; see the end of {self._data_dir / 'store.log'}")

    def _accepted_forgery(self, running: RunningEngine) -> str | None:
        try:
            return accepted_forgery(running.endpoint, self.bucket, self.access_key_id, self.region)
        except NoClearAnswer as error:
            running.end()
            reason = f"answered {error} each time that it was tried out, and not that it refuses"
            raise StoreStartError(f"the bundled store ({running.engine.name}) {reason}; see {self._data_dir / 'store.log'}") from None
        except urllib3.exceptions.HTTPError:
            running.end()
            log = self._data_dir / "store.log"
            raise StoreStartError(f"the bundled store ({running.engine.name}) broke off while it was tried out; see {log}") from None

    def _announce(self, running: RunningEngine) -> None:
        self.engine, self.endpoint, self.base = running.engine.name, running.endpoint, running.base
        self.socket = running.engine.socket()
        named = public_name(self._public_host, self._listen_host)
        self.public_endpoint = self._settings.public_endpoint or f"http://{named}:{running.base}"
        self._running = running


def public_name(public_host: str, listen_host: str) -> str:
    """Return the host by which clients are sent to the store: the appliance's own, but for localhost, which has two addresses.

    Browsers try ::1 first. The store listens on one of them alone, and on the other anybody on this machine may.
    """
    host = public_host.strip("[]")
    if host == "localhost" or host.endswith(".localhost"):
        host = {"::": "::1", "::1": "::1"}.get(listen_host.strip("[]"), LOOPBACK)
    return f"[{host}]" if ":" in host else host


def load_or_make_credentials(path: Path) -> Credentials:
    """Return the store's credentials, made at random on first use and kept in `path` (JSON, 0600).

    Raises StoreStartError when the file is there but can't be used: new credentials are for the owner to decide on.
    """
    if not path.exists():
        made = Credentials(f"uk{secrets.token_hex(9)}", *(secrets.token_urlsafe(32) for _ in range(4)))
        write_private(path, json.dumps(asdict(made), indent=2) + "\n")
        return made
    try:
        path.chmod(0o600)
        return Credentials(**{name: str(value) for name, value in json.loads(path.read_text(encoding="utf-8")).items()})
    except (OSError, ValueError, TypeError, AttributeError):
        # No detail: it might quote a secret.
        raise StoreStartError(f"{path} can't be read as the store's credentials; restore it, or remove it to have new ones made") from None
