"""`make bench` is run by hand, so it must not break unseen when modules move."""

from __future__ import annotations

from importlib import import_module

import pytest

from bench.__main__ import COMPARISONS


@pytest.mark.parametrize("name", COMPARISONS)
def test_a_comparison_can_be_loaded(name: str) -> None:
    assert callable(import_module(f"bench.{name}").measure)
