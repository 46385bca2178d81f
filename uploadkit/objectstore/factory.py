"""The object store of a configuration, opened: started with the appliance, or found by a command that runs beside it.

A bundled store that serves is written down in `data/store/address` (0600, no secret in it) for as long as it does.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from uploadkit.config import Config
from uploadkit.core.data_dir import DataDirInUse, lock_data_dir
from uploadkit.core.durable_files import write_private
from uploadkit.core.errors import ConfigError, StorageUnavailable
from uploadkit.objectstore import bucket_rules
from uploadkit.objectstore.address import StoreAddress, byos_address
from uploadkit.objectstore.bundled.group_sync import GroupSync
from uploadkit.objectstore.bundled.supervisor import BundledStore, load_or_make_credentials
from uploadkit.objectstore.store import ObjectStore

log = logging.getLogger(__name__)


def store_name(config: Config) -> str:
    """Return what tells this configuration's store from any other: the same for as long as files stay where they are."""
    byos = config.storage.byos
    return "bundled" if config.storage.mode == "bundled" else f"{byos_address(byos).endpoint}/{byos.bucket}"


@contextmanager
def serving_store(config: Config) -> Iterator[ObjectStore]:
    """The store for an appliance that serves: a bundled one is started, and stopped at the end. The caller holds the data directory."""
    if config.storage.mode == "byos":
        yield _byos_store(config)
        return
    bundled = BundledStore(
        config.storage.bundled.model_copy(update={"cors_origins": config.uploading_origins}),
        config.data_dir,
        listen_host=config.server.host,
        public_host=urlsplit(config.server.base_url).hostname or "127.0.0.1",
    )
    written = _address_file(config)
    written.unlink(missing_ok=True)  # of an appliance that was killed
    bundled.start()
    try:
        store = _bundled_store(config, bundled.endpoint, bundled.public_endpoint, bundled.socket, bundled.problem, bundled.outage)
        store.create_bucket()
        bucket_rules.set_cors(store, config.uploading_origins)
        _close(store, bucket_rules.LifecycleDays.needed(config))
        found = {
            "endpoint": bundled.endpoint, "publicEndpoint": bundled.public_endpoint, "engine": bundled.engine, "base": bundled.base,
            "socket": None if bundled.socket is None else str(bundled.socket),
        }  # fmt: skip
        write_private(written, json.dumps(found) + "\n")
        yield store
    finally:
        written.unlink(missing_ok=True)
        bundled.stop()


def _close(store: ObjectStore, days: bucket_rules.LifecycleDays) -> None:
    """Undo what another user of the machine may have left in the store before its internal ports asked for a certificate."""
    try:
        found = bucket_rules.close_to_untrusted_clients(store, days)
    except StorageUnavailable as error:
        log.warning("could not look who may use the bundled store's bucket: %s", error.message)
        return
    if found:
        log.error(
            "SECURITY: the bundled store's bucket had %s that is not the appliance's: others may have read files. That is removed; "
            "docs/upgrading.md says what to check",
            " and ".join(found),
        )


@contextmanager
def reached_store(config: Config, tell: Callable[[str], None]) -> Iterator[ObjectStore]:
    """The store for a command, whether the appliance runs or not.

    While it runs, its bundled store is used; else that is started for as long as the command lasts, which `tell` says.
    Raises ConfigError when the appliance is just starting or stopping, or the store can't be started.
    """
    if config.storage.mode == "byos":
        yield running_store(config)
        return
    with ExitStack() as stack:
        try:
            stack.enter_context(lock_data_dir(config.data_dir))
        except DataDirInUse:
            yield running_store(config)
            return
        tell("The appliance does not run; its store is started for this.")
        yield stack.enter_context(serving_store(config))


def _byos_store(config: Config) -> ObjectStore:
    store = _reach_byos(config)
    try:
        store.probe()
    except StorageUnavailable as error:
        log.warning("the object store can't be used yet: %s. %s", error.message, error.suggestion)
    return store


def _reach_byos(config: Config) -> ObjectStore:
    byos, timeout_seconds = config.storage.byos, config.storage.timeout_seconds
    return ObjectStore(byos_address(byos), may_create_bucket=byos.create_bucket, timeout_seconds=timeout_seconds)


def running_store(config: Config) -> ObjectStore:
    """The store of an appliance that runs in another process. Raises ConfigError when its bundled store does not answer."""
    if config.storage.mode == "byos":
        return _reach_byos(config)
    try:
        found = json.loads(_address_file(config).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"data.dir: {config.data_dir} is in use, but its store does not answer yet or any more; try again in some seconds"
        ) from None
    return _bundled_store(config, found["endpoint"], found["publicEndpoint"], Path(found["socket"]) if found["socket"] else None)


def _bundled_store(
    config: Config,
    endpoint: str,
    public_endpoint: str,
    socket: Path | None,
    problem: Callable[[], str | None] = lambda: None,
    outage: Callable[[], str | None] = lambda: None,
) -> ObjectStore:
    credentials = load_or_make_credentials(config.data_dir / "store-credentials.json")
    address = StoreAddress(
        endpoint=endpoint,
        public_endpoint=public_endpoint,
        region=BundledStore.region,
        bucket=BundledStore.bucket,
        addressing_style="path",
        access_key_id=credentials.access_key_id,
        secret_access_key=credentials.secret_access_key,
        socket=socket,
    )
    timeout_seconds = config.storage.timeout_seconds
    if not config.storage.bundled.durable:
        return ObjectStore(address, problem, outage, timeout_seconds=timeout_seconds)
    disk = GroupSync(config.data_dir / "store")
    return ObjectStore(address, lambda: problem() or disk.trouble(), outage, sync=disk.wait, timeout_seconds=timeout_seconds)


def _address_file(config: Config) -> Path:
    return config.data_dir / "store" / "address"
