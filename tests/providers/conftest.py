"""A real store behind every provider that is played: MinIO where its program is found, else SeaweedFS."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.providers.playing import Stage, on_stage
from tests.providers.profiles import ALL
from tests.providers.stores import store_behind
from uploadkit.objectstore.address import StoreAddress


@pytest.fixture(scope="session")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], StoreAddress]]:
    """Makes a bucket of that name in the store behind."""
    with store_behind(tmp_path_factory.mktemp("behind")) as bucket:
        yield bucket


@pytest.fixture(params=list(ALL.values()), ids=list(ALL))
def stage(request: pytest.FixtureRequest, behind: Callable[[str], StoreAddress], tmp_path: Path) -> Iterator[Stage]:
    """Each provider in turn, its bucket new."""
    with on_stage(request.param, behind(f"as-{request.param.name}-{uuid4().hex}"), tmp_path) as stage:
        yield stage


@pytest.fixture
def address(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> StoreAddress:
    """The provider's address by its settings, and the environment set in which its name leads to the player."""
    return stage.address(monkeypatch)
