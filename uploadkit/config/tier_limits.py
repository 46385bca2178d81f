"""Tiers: which limits apply to a project now. Pure; the figures come from the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from uploadkit.config import Config, TierConfig


def limits_of(config: Config, tier: str, overrides: Mapping[str, Any]) -> TierConfig:
    """Return the limits of `tier` with a project's own `overrides` laid over them.

    A tier that went from the configuration while the program runs can't happen: the appliance refuses to start.
    """
    limits = config.tiers[tier]
    return limits.model_copy(update=dict(overrides)) if overrides else limits
