"""The checks of the bundled engine itself: can another user of this machine get in, or has somebody been in?

Made from outside, without credentials: the store may be another process's. Nothing is changed in it.
"""

from __future__ import annotations

import json
import stat
import time
from collections.abc import Generator
from pathlib import Path

import urllib3

from uploadkit.config import Config
from uploadkit.objectstore.bundled import identities, internal_ports
from uploadkit.objectstore.bundled.engines import LOOPBACK, SeaweedFS, StoreStartError, find_weed
from uploadkit.objectstore.doctor.examination import Finding

_RESTART = "Stop the appliance, end every other weed process on these ports, start it again, and look at the end of data/store.log"
# A store that was only just started for this: the admin worker's port opens some seconds after S3's.
_OPENING_SECONDS = 10.0
_UNCLEAR = "Start the appliance again, then run doctor again"


def examine_engine(config: Config) -> Generator[Finding]:
    """Try the internal ports, look for identities and at the files' modes; nothing for MinIO, which has neither."""
    data_dir = config.data_dir
    yield _private_files(data_dir)
    try:
        found = json.loads((data_dir / "store" / "address").read_text(encoding="utf-8"))
        name, base = str(found["engine"]), int(found["base"])
    except (OSError, ValueError, KeyError, TypeError):
        yield Finding("internal-ports", "skipped", "the store was started by an older version, or is just stopping", _UNCLEAR)
        return
    if name != SeaweedFS.name:
        return
    try:
        engine = SeaweedFS(find_weed(), data_dir / "store" / name)
    except StoreStartError as error:
        yield Finding("internal-ports", "skipped", str(error))
        return
    yield _internal_ports(engine, base)
    yield _internal_http(base)
    yield _identities(engine, base, data_dir)


def _internal_ports(engine: SeaweedFS, base: int) -> Finding:
    """Is a client refused that comes without TLS, without a certificate, or with a foreign one, and is the port ours?"""
    name, deadline = "internal-ports", time.monotonic() + _OPENING_SECONDS
    sockets = [path for path in engine.leftovers(base) if path.exists()]
    addresses: list[internal_ports.Address] = [*engine.grpc_ports(base).values(), *sockets]
    for address in addresses:
        what = f"port {address}" if isinstance(address, int) else str(address)
        try:
            accepted = _accepted_untrusted_client(address, deadline)
            if accepted is not None:
                return Finding(name, "failed", f"{what} accepts {accepted}: any user of this machine can change every file", _RESTART)
            if not internal_ports.accepts_us(address, engine.directory):
                return Finding(name, "failed", f"{what} does not belong to this store, or it shut us out", _RESTART)
        except internal_ports.NoAnswer as error:
            return Finding(name, "warning", f"{what} {error}", _UNCLEAR)
        except OSError as error:
            return Finding(name, "failed", f"the store's certificate can't be read: {error.strerror or error}", _RESTART)
    return Finding(name, "ok", "the store's internal ports refuse clients without TLS, without a certificate and with a foreign one")


def _accepted_untrusted_client(address: internal_ports.Address, deadline: float) -> str | None:
    while True:
        try:
            return internal_ports.accepted_untrusted_client(address)
        except internal_ports.NoAnswer:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def _internal_http(base: int) -> Finding:
    """Do the ports that speak HTTP refuse who has no token, or do nothing?"""
    name = "internal-http"
    tried = (
        ("GET", base + 2, "/buckets/"), ("DELETE", base + 2, "/buckets/doctor"), ("GET", base + 4, "/dir/assign"),
        ("GET", base + 6, "/1,01637037d6"), ("PUT", base + 6, "/1,01637037d6"), ("DELETE", base + 6, "/1,01637037d6"),
        ("GET", base + 8, "/object-store/users"),
    )  # fmt: skip
    with urllib3.PoolManager(retries=False, timeout=internal_ports.TIMEOUT_SECONDS) as pool:
        for method, port, path in tried:
            try:
                status = pool.request(method, f"http://{LOOPBACK}:{port}{path}", redirect=False).status
            except urllib3.exceptions.HTTPError as error:
                return Finding(name, "warning", f"port {port} does not answer ({type(error).__name__})", _UNCLEAR)
            if status not in (401, 403, 404):
                return Finding(name, "failed", f"port {port} answers {status} to {method} {path} without a token", _RESTART)
    return Finding(name, "ok", "the store's internal HTTP ports do nothing without a token")


def _identities(engine: SeaweedFS, base: int, data_dir: Path) -> Finding:
    """Are there S3 identities or settings that the appliance did not make, or have there been?"""
    name, report = "identities", identities.report_path(data_dir)
    try:
        found = identities.find(engine, base)
    except (identities.Unknown, OSError) as error:
        return Finding(name, "warning", f"could not look for S3 identities and settings of others: {error}", _UNCLEAR)
    if found is not None:
        suggestion = "Start the appliance again: it removes them. Then see docs/upgrading.md, and find out who could run programs here"
        return Finding(name, "failed", f"the store has S3 identities or settings that are not the appliance's: {found!r}", suggestion)
    if report.exists():
        suggestion = f"See docs/upgrading.md for what to check; then delete {report}"
        return Finding(
            name, "failed", "S3 identities or settings that were not the appliance's had been in the store, and were removed", suggestion
        )
    return Finding(name, "ok", "nobody but the appliance has an identity or settings at the store")


def _private_files(data_dir: Path) -> Finding:
    """Are the files with secrets their owner's only?"""
    name = "private-files"
    for path in (data_dir / "store", data_dir / "store-credentials.json", *sorted((data_dir / "store").glob("*/tls/*"))):
        try:
            found = path.stat()
        except OSError:
            continue
        if stat.S_IMODE(found.st_mode) & 0o077:
            return Finding(name, "failed", f"{path} may be read by other users of this machine", f"chmod go= {path}")
    return Finding(name, "ok", "the store's keys and credentials are their owner's only")
