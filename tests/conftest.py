"""Fixtures for all tests."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from hypothesis import settings

from tests.support.appliance import Appliance, running
from tests.support.stores import OtherStore, started_store
from uploadkit import config
from uploadkit.auth import api_keys
from uploadkit.config import BundledConfig
from uploadkit.context import Context
from uploadkit.coordination.rate_limits import RateLimits
from uploadkit.core.data_dir import lock_data_dir
from uploadkit.db import connection
from uploadkit.db.models import Project
from uploadkit.objectstore.address import StoreAddress
from uploadkit.objectstore.bundled.supervisor import BundledStore
from uploadkit.objectstore.store import ObjectStore
from uploadkit.server import first_run
from uploadkit.web.app import create_app

# Its deadline is by the wall clock, of which neighbours on the machine take what they like.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")

# Browsers, kills and broken stores, the played providers, programs in processes of their own: four fifths of the time of all tests.
# `make test` leaves them out; `make test-all`, and so CI, does not. A test elsewhere that takes long says so itself: pytest.mark.long.
_LONG_FOLDERS = ("browser/", "dashboard/", "faults/", "providers/", "unit/cli/", "unit/client/", "unit/objectstore/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what stands in the folders whose tests take long, and what runs on the played providers."""
    here = Path(__file__).parent
    for item in items:
        if item.path.relative_to(here).as_posix().startswith(_LONG_FOLDERS) or "[as-" in item.name:
            item.add_marker(pytest.mark.long)


@dataclass
class App:
    """What tests of the services need at hand."""

    ctx: Context
    project: Project
    caller: api_keys.Caller
    api_key: str = field(repr=False)

    def client(self, limits: RateLimits | None = None) -> FlaskClient:
        """The web application over these services in this process, for tests that hold the clock. Sends the first key by itself."""
        app = create_app(self.ctx, limits or RateLimits(self.ctx.config.rate_limits))
        client = app.test_client()
        client.environ_base["HTTP_X_API_KEY"] = self.api_key
        return client


@pytest.fixture(scope="session")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    """One appliance for all tests that leave it as they found it. Rates and key limits are out of the way."""
    with running(
        tmp_path_factory.mktemp("appliance"), TIERS__PRO__MAX_KEYS="1000", TIERS__PRO__REQUESTS_PER_MINUTE=""
    ) as running_appliance:
        yield running_appliance


@pytest.fixture(scope="session")
def test_key(appliance: Appliance) -> str:
    """A key for the sandbox of the first project."""
    return appliance.new_key("--test")


@pytest.fixture(scope="session")
def outsider_key(appliance: Appliance) -> str:
    """A key of another project."""
    appliance.run("projects", "create", "Other")
    return appliance.new_key("--project", "other")


@pytest.fixture(scope="session")
def bundled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BundledStore]:
    """A real store for tests that call the services themselves."""
    settings = BundledConfig(engine="seaweedfs", port=0, max_disk_bytes="2GB")
    store = BundledStore(settings, tmp_path_factory.mktemp("bundled"), listen_host="127.0.0.1", public_host="127.0.0.1")
    store.start()
    yield store
    store.stop()


@pytest.fixture(scope="session")
def other_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OtherStore]:
    """A store of somebody else's, for appliances in BYOS mode: `running(home, **byos_settings(other_store.address))`."""
    with started_store(tmp_path_factory.mktemp("other-store")) as store:
        yield store


@pytest.fixture(scope="session")
def app_bucket(bundled: BundledStore) -> ObjectStore:
    """The bucket that all apps share."""
    address = StoreAddress(
        bundled.endpoint, bundled.public_endpoint, bundled.region, "app", "path", bundled.access_key_id, bundled.secret_access_key
    )
    made = ObjectStore(address, bundled.problem)
    made.create_bucket()
    return made


@pytest.fixture
def app(tmp_path: Path, app_bucket: ObjectStore) -> Iterator[App]:
    """Services, a fresh database and a real store: everything but HTTP."""
    with new_app(tmp_path / "data", app_bucket) as made:
        yield made


@contextlib.contextmanager
def new_app(data_dir: Path, store: ObjectStore) -> Iterator[App]:
    """A app with its database in `data_dir`. No test of ours cuts the power, so none waits for the disk."""
    settings = config.load(None, {"UPLOADKIT_DATA__DIR": str(data_dir), "UPLOADKIT_DATABASE__SYNCHRONOUS": "NORMAL"})
    with lock_data_dir(settings.data_dir):
        start = first_run.prepare(settings)
        assert start.api_key
        yield App(Context(settings, store), start.project, api_keys.find_caller(settings, start.api_key), start.api_key)
        connection.close()
