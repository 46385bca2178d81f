"""The black-box suite runs once per kind of storage where bytes move, and nothing in the tests knows which."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator

import pytest

from tests.providers.playing import on_stage
from tests.providers.profiles import ALL
from tests.providers.stores import store_behind
from tests.support.appliance import Appliance, running
from tests.support.stores import byos_settings, started_store
from uploadkit.objectstore.address import StoreAddress

# A bucket of a real provider, for whoever has one: TEST_STORE_ENDPOINT, _REGION, _BUCKET, _ACCESS_KEY_ID and _SECRET_ACCESS_KEY.
OWN_BUCKET = {name: value for name, value in os.environ.items() if name.startswith("TEST_STORE_")}
# Which store lies behind makes no difference to keys, projects or limits: other files run on the first; with EVERY_STORE=1, on all.
WHERE_BYTES_MOVE = {"test_uploads", "test_files", "test_links", "test_sandbox", "test_sdk", "test_browser_endpoint", "test_byos"}
STORES = ["bundled", "byos", *["minio"] * bool(shutil.which("minio")), *["own"] * bool(OWN_BUCKET)]
# The six providers as tests/providers plays them, each in front of one store that they share. Where uploads and links are all; with
# EVERY_STORE=1, wherever bytes move.
PLAYED = [f"as-{name}" for name in ALL]
WHERE_PROVIDERS_DIFFER = {"test_uploads", "test_links"}
LONG = {"test_a_large_file_comes_back_byte_for_byte"}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Say on which stores a test runs."""
    if "appliance" in metafunc.fixturenames:
        module = metafunc.module.__name__.rpartition(".")[2]
        everything = "EVERY_STORE" in os.environ
        stores = STORES if module in WHERE_BYTES_MOVE or OWN_BUCKET or everything else STORES[:1]
        differs = module in WHERE_PROVIDERS_DIFFER and metafunc.function.__name__ not in LONG
        played = PLAYED if differs or (everything and module in WHERE_BYTES_MOVE) else []
        metafunc.parametrize("appliance", [*stores, *played], indirect=True, scope="session")


@pytest.fixture(scope="session")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], StoreAddress]]:
    """Makes a bucket of that name in the store behind the providers that are played."""
    with store_behind(tmp_path_factory.mktemp("behind-the-players")) as bucket:
        yield bucket


@pytest.fixture(scope="session")
def appliance(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    """One appliance for all tests that leave it as they found it: on the bundled SeaweedFS, on a bucket of somebody else's, and on a
    bundled MinIO where there is one, on a bucket that the environment names, and on the six providers as they are played. Rates and key
    limits are out of the way.
    """
    home = tmp_path_factory.mktemp(f"appliance-on-{request.param}")
    settings = {"TIERS__PRO__MAX_KEYS": "1000", "TIERS__PRO__REQUESTS_PER_MINUTE": ""}
    with contextlib.ExitStack() as stack:
        if request.param in PLAYED:
            profile = ALL[request.param.removeprefix("as-")]
            bucket = request.getfixturevalue("behind")(request.param)
            stage = stack.enter_context(on_stage(profile, bucket, tmp_path_factory.mktemp(f"stage-of-{profile.name}")))
            yield stack.enter_context(running(home, stage.surroundings, clients=stage.browser, **settings, **stage.settings()))
            return
        if request.param == "byos":
            other = stack.enter_context(started_store(tmp_path_factory.mktemp("other-store-of-the-suite")))
            settings |= byos_settings(other.address)
        if request.param == "own":
            settings |= {"STORAGE__MODE": "byos"} | {
                name.replace("TEST_STORE_", "STORAGE__BYOS__"): value for name, value in OWN_BUCKET.items()
            }
        if request.param == "minio":
            settings["STORAGE__BUNDLED__ENGINE"] = "minio"
        yield stack.enter_context(running(home, **settings))


@pytest.fixture(scope="session")
def with_minio() -> None:
    """Skips, once and with the reason, where the suite could not run on MinIO."""
    if "minio" not in STORES:
        pytest.skip("no minio program on PATH: the suite ran on SeaweedFS alone, bundled and as a store of its own")
