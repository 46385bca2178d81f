"""The doctor, asked for this appliance: what its bucket is held against comes from the configuration and from the rows."""

from __future__ import annotations

import logging
import threading
from collections.abc import Generator

import urllib3

from uploadkit.config import Config
from uploadkit.context import Context
from uploadkit.core import clock, path_ownership
from uploadkit.core.errors import StorageUnavailable
from uploadkit.db import connection
from uploadkit.objectstore import doctor
from uploadkit.objectstore.doctor import Expectations, Finding
from uploadkit.objectstore.doctor.engine import examine_engine
from uploadkit.objectstore.store import ObjectStore
from uploadkit.observability import health, queries
from uploadkit.projects import file_routes

log = logging.getLogger(__name__)

_OWN_PLACE = "Only this user and root should own the data directory and the folders above it, and nobody else be able to write there"


def examine(config: Config, store: ObjectStore, *, fix: bool = False) -> Generator[Finding]:
    """Check `store` against this appliance, whose database is open, or which has none yet; yield each finding as it comes.

    With `fix`, the bucket's CORS and lifecycle rules are set where they are wrong. Who stops early closes the generator, which clears up.
    """
    if config.data_dir.exists():  # else the first start makes it
        yield _data_dir(config)
    if config.database_path.exists():
        yield _database()
        yield _addresses()
    if config.storage.mode == "bundled":
        yield from examine_engine(config)
    yield from doctor.examine(store, _expectations(config), fix=fix)


def _data_dir(config: Config) -> Finding:
    refused = health.unwritable(config)
    if refused is None and (other := path_ownership.who_may_replace(config.data_dir)):
        return Finding("data directory", "warning", f"{config.data_dir} is in reach of others: {other}", _OWN_PLACE)
    if refused is None:
        return Finding("data directory", "ok", f"{config.data_dir} can be written")
    suggestion = (
        "Look at its owner and mode, at how its disk is mounted, and at df and df -i: no upload goes through until it can be written"
    )
    return Finding("data directory", "failed", refused, suggestion)


def warn_of_shared_place(config: Config) -> None:
    """Log who else on this machine could replace the data directory."""
    if other := path_ownership.who_may_replace(config.data_dir):
        log.warning("SECURITY: others can replace the database and the store's files: %s. %s", other, _OWN_PLACE)


def _database() -> Finding:
    damaged = connection.damage()
    if damaged is None:
        return Finding("database", "ok", "SQLite has read all of it")
    return Finding("database", "failed", f"SQLite says {damaged}", "Stop the appliance and put a backup in the database's place")


def _addresses() -> Finding:
    """Look at what pages upload to without a token: slugs that are reserved now, and file routes that still have the short address."""
    if reserved := file_routes.reserved_in_use():
        named = ", ".join(f"'{route.slug}' of project {route.project.slug}" for route in reserved)
        return Finding("addresses", "warning", f"these slugs are reserved now, pages can't use them: {named}", "Give them another slug")
    if short := file_routes.short_of_others():
        named = ", ".join(f"'{route.slug}' of project {route.project.slug}" for route in short)
        suggestion = "Have their pages use anonymousEndpoint, which names the project, then: docs/upgrading.md"
        return Finding("addresses", "warning", f"anonymous file routes still have the short address from before: {named}", suggestion)
    return Finding("addresses", "ok", "anonymous file routes name their project")


def warn_of_reserved_slugs() -> None:
    """Log which file routes have slugs that were reserved since."""
    for route in file_routes.reserved_in_use():
        log.warning(
            "the file route %r of project %s has a slug that is reserved now: pages can't use it. Rename it", route.slug, route.project_id
        )


class Examiner:
    """Runs the doctor of one appliance in the background, one examination at a time; what it has found so far may be read at any time."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._lock = threading.Lock()
        self.findings: list[Finding] = []
        self.is_running = False
        self.ended_at: int | None = None

    def start(self) -> bool:
        """Begin an examination and return at once; False when one is under way."""
        with self._lock:
            if self.is_running:
                return False
            self.is_running, self.findings = True, []
        # The rows are read here: a thread that ends would leave its connection to the database behind.
        threading.Thread(target=self._examine, args=(_expectations(self._ctx.config),), name="doctor", daemon=True).start()
        return True

    def _examine(self, expected: Expectations) -> None:
        try:
            if self._ctx.config.storage.mode == "bundled":
                self.findings.extend(examine_engine(self._ctx.config))
            for finding in doctor.examine(self._ctx.store, expected, fix=False):
                self.findings.append(finding)
        except Exception:  # whatever it is, the next examination must be possible
            log.exception("the doctor did not get to the end")
        finally:
            self.ended_at, self.is_running = clock.now_ms(), False


def warn_of_open_bucket(ctx: Context) -> None:
    """Have a warning logged when anybody can read the bucket though there are private file routes. Returns at once."""
    if ctx.config.storage.mode == "byos":
        expected = _expectations(ctx.config)
        if expected.has_private_routes:
            threading.Thread(target=_look, args=(ctx.store, expected), name="open-bucket", daemon=True).start()


def _look(store: ObjectStore, expected: Expectations) -> None:
    try:
        found = doctor.is_open_to_anybody(store, expected)
    except (StorageUnavailable, doctor.Refused, urllib3.exceptions.HTTPError):
        return  # /readyz tells of a store that can't be used, and the doctor finds out why
    if found.outcome == "failed":
        log.warning("%s. %s", found.detail, found.suggestion)


def _expectations(config: Config) -> Expectations:
    if not config.database_path.exists():
        return Expectations.of(config)
    private_key = queries.newest_private_key()
    has_private_routes = private_key is not None or queries.is_there_a_private_route()
    return Expectations.of(config, has_private_routes=has_private_routes, private_key=private_key)
