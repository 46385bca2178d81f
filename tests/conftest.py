"""Fixtures for all tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.appliance import Appliance, running


@pytest.fixture(scope="session")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    """One appliance for all tests that leave it as they found it. Rates and key limits are out of the way."""
    with running(tmp_path_factory.mktemp("appliance"), TIERS__PRO__MAX_KEYS="1000", TIERS__PRO__REQUESTS_PER_MINUTE="") as running_appliance:
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
