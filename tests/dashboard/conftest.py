"""An appliance with an admin, for tests that leave both as they found them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.dashboard.visitors import Visitor, new_admin
from tests.support.appliance import Appliance, running


@pytest.fixture(scope="session")
def with_admins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    settings = {
        "DASHBOARD__SIGN_INS_PER_MINUTE": "",
        "TIERS__PRO__MAX_KEYS": "1000",
        "BACKUP__TO": str(tmp_path_factory.mktemp("backups")),
    }
    with running(tmp_path_factory.mktemp("dashboard"), **settings) as appliance:
        yield appliance


@pytest.fixture(scope="session")
def admin(with_admins: Appliance) -> Visitor:
    return new_admin(with_admins)


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Appliance]:
    """An appliance that nobody has set up."""
    with running(tmp_path) as appliance:
        yield appliance
