"""One engine at work: launched, asked for its health, measured, restarted when it dies or hangs, ended.

Used by one thread only, the supervisor's in `supervisor.py`, because on Linux the children die with the thread that spawned
them; `trouble`, `disk_trouble` and `disk_use` may be read by any.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import urllib3

from uploadkit.core import clock, disk_space
from uploadkit.core.sizes import MIB
from uploadkit.objectstore.bundled import disk, identities, internal_ports, listeners, processes
from uploadkit.objectstore.bundled.engines import LOOPBACK, Command, Credentials, Engine, StoreStartError
from uploadkit.objectstore.bundled.reclaiming import Reclaiming

logger = logging.getLogger("uploadkit.objectstore")

RESTARTING = "the bundled store is restarting"
HEALTH_SECONDS, HEALTH_TIMEOUT_SECONDS = 2.0, 5.0
# Two loaded cores may well leave the store without an answer for some seconds.
SILENT_SECONDS, HUNG_SECONDS = 15.0, 60.0
MEASURE_SECONDS = 1.0
FIRST_PORT_CHECK_SECONDS, PORT_CHECK_SECONDS = 10.0, 600.0
FIRST_RESTART_SECONDS, LONGEST_RESTART_SECONDS, HEALTHY_SECONDS = 0.2, 30.0, 60.0
LOG_BYTES = 8 * MIB


class RunningEngine:
    """The children of one engine, from `launch` to `end`. `base` is the port that browsers use."""

    def __init__(
        self,
        engine: Engine,
        base: int,
        listen_host: str,
        credentials: Credentials,
        max_disk_bytes: int,
        data_dir: Path,
        stopping: threading.Event,
    ) -> None:
        self.engine, self.base = engine, base
        self._gate_hosts = gate_hosts(engine, listen_host)
        self.s3_port = base + s3_offset(engine, listen_host)
        self._listen_host, self._credentials, self._max_disk_bytes = listen_host, credentials, max_disk_bytes
        self._data_dir = data_dir
        self._log, self._pid_file = data_dir / "store.log", data_dir / "store.pid"
        self._stopping = stopping
        self._http = urllib3.PoolManager(retries=False, timeout=HEALTH_TIMEOUT_SECONDS)
        self._children: list[tuple[subprocess.Popen[bytes], Command]] = []
        self._reclaiming = Reclaiming(engine, base, self._log, self._http)
        self._restart_seconds = FIRST_RESTART_SECONDS
        self._next_health = self._next_measure = self._launched_at = self._last_answer = 0.0
        self._next_port_check = self._next_identity_check = 0.0
        self.trouble: str | None = RESTARTING
        self.disk_trouble: str | None = None
        self.disk_use = disk.DiskUse(0, 0)

    @property
    def endpoint(self) -> str:
        """The address under which S3 is reached on this machine: the gate's, where the engine is to be reached by its socket alone."""
        return f"http://{LOOPBACK}:{self.base if self.engine.socket() else self.s3_port}"

    def launch(self) -> None:
        """Spawn the engine and, where it needs one, the gate before its S3. Returns before they answer."""
        directory = self.engine.directory
        directory.mkdir(mode=0o700, exist_ok=True)
        self.engine.tidy_up()
        self._limit_bytes = disk.limit_bytes(self._max_disk_bytes, directory)
        self._plan = self.engine.plan(self._limit_bytes)
        commands = [self.engine.serve(self.base, self.s3_port, self._credentials, self._plan)]
        if self._gate_hosts:
            program = [sys.executable, "-I", str(Path(__file__).with_name("s3_gate.py"))]
            # By its name alone, since it works in the socket's folder: paths of sockets are short.
            socket = self.engine.socket()
            argv = [*program, str(self.base), str(self.s3_port) if socket is None else socket.name, *self._gate_hosts]
            commands.append(Command(argv, {"PATH": os.defpath}, directory))
        for command in commands:
            self._children.append((processes.spawn(command, self._log), command))
        processes.record(self._pid_file, self._children)
        self._launched_at = self._last_answer = time.monotonic()

    def wait_until_ready(self, deadline: float) -> bool:
        """Return True as soon as the store answers; False when a child ends, on `stopping`, or at `deadline` (monotonic seconds).

        Raises StoreStartError, with all children ended, when an internal port accepts clients without a certificate.
        """
        while self._dead() is None:
            if self._answers() and self._shows_ready() and self._gate_answers() and self._holds_its_ports():
                self._require_closed_ports()
                self._next_port_check = time.monotonic() + FIRST_PORT_CHECK_SECONDS
                self._last_answer = time.monotonic()
                self._measure()
                self.trouble = None
                return True
            if time.monotonic() > deadline or self._stopping.wait(0.05):
                return False
        return False

    def look_after(self) -> None:
        """One round: is everybody alive, does it answer, is there room? Restarts what is not."""
        dead = self._dead()
        if dead is not None:
            self._restart(f"{dead} ended", processes.STOP_SECONDS)
            return
        now = time.monotonic()
        if now >= self._next_health:
            self._check_health()
        if now >= self._next_measure:
            began = time.monotonic()
            self._measure()
            self._reclaiming.look()
            self._bound_log()
            # A directory of millions of files takes its time: never more than a twentieth of ours.
            self._next_measure = time.monotonic() + max(MEASURE_SECONDS, 20 * (time.monotonic() - began))
        if now >= self._next_port_check:
            # Again: the admin worker's port opens seconds after S3's.
            self._require_closed_ports()
            self._next_port_check = time.monotonic() + PORT_CHECK_SECONDS
        if now >= self._next_identity_check:
            self._next_identity_check = time.monotonic() + PORT_CHECK_SECONDS
            self._remove_foreign_identities()
        if self._reclaiming.go_on(now, self.disk_use):
            self._measure()
            self._reclaiming.ended(self.disk_use)

    def end(self, seconds: float = processes.STOP_SECONDS) -> None:
        """End all children (SIGTERM, `seconds`, SIGKILL) and remove what they leave about."""
        self.trouble = RESTARTING
        self._reclaiming.stop(0.1)
        # The gate first: nothing new comes in while the engine finishes.
        for child, _ in reversed(self._children):
            processes.stop(child, seconds)
        self._children = []
        self._pid_file.unlink(missing_ok=True)
        for path in self.engine.leftovers(self.base):
            path.unlink(missing_ok=True)

    def _require_closed_ports(self) -> None:
        """An engine that can't read its certificates opens its ports to everybody, with no more than a warning: better none at all."""
        for name, port in self.engine.grpc_ports(self.base).items():
            try:
                accepted = internal_ports.accepted_untrusted_client(port)
            except internal_ports.NoAnswer:
                continue
            if accepted is not None:
                self.end()
                raise StoreStartError(
                    f"the bundled store was stopped: its internal port {port} ({name}) accepts {accepted}, so any user of this machine "
                    f"could read and change every file; see {self._log}"
                )

    def _remove_foreign_identities(self) -> None:
        """Remove S3 identities and settings that aren't ours, and start the engine anew, so that it forgets them."""
        if self.engine.shell(self.base) is None:
            return
        try:
            found = identities.find(self.engine, self.base, self._stopping)
        except identities.Unknown as error:
            if not self._stopping.is_set():
                logger.warning("could not look for S3 identities and settings of others in the bundled store: %s", error)
            return
        if found is None:
            return
        logger.error(
            "SECURITY: the bundled store has S3 identities or settings that are not the appliance's: %r. Somebody could read and change "
            "every file. They are removed; docs/upgrading.md says what to check",
            found,
        )
        identities.report(self._data_dir, found, clock.now_ms())
        identities.remove(self.engine, self.base)
        self._restart("identities of others were removed", processes.STOP_SECONDS)

    def _dead(self) -> str | None:
        if not self._children:
            return "the engine"
        return next((Path(command.argv[0]).name for child, command in self._children if child.poll() is not None), None)

    def _answers(self) -> bool:
        try:
            return self._http.request("GET", self.endpoint + self.engine.health_path).status == 200
        except urllib3.exceptions.HTTPError:
            return False

    def _shows_ready(self) -> bool:
        page = self.engine.ready_page(self.base)
        try:
            return page is None or page[1] in self._http.request("GET", page[0]).data
        except urllib3.exceptions.HTTPError:
            return False

    def _holds_its_ports(self) -> bool:
        """Whether it was our children who answered: on a port that was free for a moment anybody may listen. Who lives, keeps its ports."""
        return listeners.hold([child.pid for child, _ in self._children], {self.base, self.s3_port, *self.engine.http_ports(self.base)})

    def _gate_answers(self) -> bool:
        for host in self._gate_hosts:
            reached = {"0.0.0.0": LOOPBACK, "::": "::1"}.get(host, host)  # noqa: S104
            try:
                urllib3.util.connection.create_connection((reached, self.base), timeout=HEALTH_TIMEOUT_SECONDS).close()
            except OSError:
                return False
        return True

    def _check_health(self) -> None:
        if self._answers() and (self.trouble is None or (self._shows_ready() and self._holds_its_ports())):
            self._last_answer = time.monotonic()
            self.trouble = None
            if self._last_answer - self._launched_at > HEALTHY_SECONDS:
                self._restart_seconds = FIRST_RESTART_SECONDS
        silent_seconds = time.monotonic() - self._last_answer
        if silent_seconds > HUNG_SECONDS:
            # What doesn't answer won't heed SIGTERM either.
            self._restart(f"no answer for {silent_seconds:.0f} s", 0.1)
        elif silent_seconds > SILENT_SECONDS:
            self.trouble = "the bundled store does not answer"
        self._next_health = time.monotonic() + HEALTH_SECONDS

    def _restart(self, reason: str, stop_seconds: float) -> None:
        self.trouble = RESTARTING
        logger.error("the bundled store: %s; restarting in %.1f s, its words are in %s", reason, self._restart_seconds, self._log)
        self.end(stop_seconds)
        wait_seconds, self._restart_seconds = self._restart_seconds, min(2 * self._restart_seconds, LONGEST_RESTART_SECONDS)
        if self._stopping.wait(wait_seconds):
            return
        self.launch()
        # If it doesn't come up, the next round finds it dead or silent, and waits longer.
        if self.wait_until_ready(time.monotonic() + HUNG_SECONDS):
            logger.warning("the bundled store answers again")

    def _measure(self) -> None:
        directory = self.engine.directory
        usage = shutil.disk_usage(directory)
        used, full_at = disk.used_bytes(directory), disk.full_at_bytes(self._limit_bytes, self._plan, directory)
        self.disk_use = disk.DiskUse(used, full_at)
        if used >= full_at:
            suggestion = "free some or raise storage.bundled.max_disk_bytes"
            self.disk_trouble = f"the bundled store is full: {_amount(used)} of {_amount(full_at)} used; {suggestion}"
        elif usage.free < disk_space.reserve_bytes(usage.total):
            self.disk_trouble = f"the disk under the bundled store is nearly full: {_amount(usage.free)} free; free some"
        else:
            self.disk_trouble = None

    def _bound_log(self) -> None:
        # The children keep the file open, so it is copied and cut, not renamed; they append, so a cut file has no hole.
        if self._log.stat().st_size > LOG_BYTES:
            older = self._log.with_name("store.log.1")
            older.unlink(missing_ok=True)
            with open(os.open(older, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as copy, self._log.open("rb") as log:
                shutil.copyfileobj(log, copy)
            os.truncate(self._log, 0)


def gate_hosts(engine: Engine, listen_host: str) -> list[str]:
    """Return the interfaces that a gate before the engine's S3 has to listen on, for a server.host of `listen_host`; none without a gate.

    An engine with a socket has one in any case, on loopback as well; one without is reached by others than this machine's through a gate.
    """
    outer = [] if listen_host in (LOOPBACK, "localhost") else [listen_host]
    if engine.socket() is None or "0.0.0.0" in outer:  # noqa: S104
        return outer
    return [LOOPBACK, *outer]


def s3_offset(engine: Engine, listen_host: str) -> int:
    """Return where the engine's own S3 port lies in its block: behind a gate the tenth, as 0.0.0.0:P excludes 127.0.0.1:P."""
    return 9 if gate_hosts(engine, listen_host) else 0


def check_limit(max_disk_bytes: int) -> None:
    """Raise StoreStartError when `max_disk_bytes` (0 = as the disk allows) is too small to work with."""
    if 0 < max_disk_bytes < disk.SMALLEST_LIMIT_BYTES:
        raise StoreStartError('storage.bundled.max_disk_bytes: the store needs at least "256MB" (0 = as much as the disk allows)')


def _amount(size_bytes: int) -> str:
    return f"{size_bytes / 1024**3:.1f} GB" if size_bytes >= 1024**3 else f"{size_bytes // MIB} MB"
