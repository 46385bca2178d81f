"""Tiers: which limits apply to a project now (api.md section 8). Pure; the figures come from the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from uploadkit.config import Config, TierConfig
from uploadkit.errors import ConfigError
from uploadkit.models import Project


def limits_of(config: Config, tier: str, overrides: Mapping[str, Any]) -> TierConfig:
    """Return the limits of `tier` with a project's own `overrides` laid over them.

    A tier that went from the configuration while the program runs can't happen: `check_tiers` refuses to start.
    """
    limits = config.tiers[tier]
    return limits.model_copy(update=dict(overrides)) if overrides else limits


def check_tiers(config: Config) -> None:
    """Refuse to go on when a project has a tier that the configuration no longer has. Raises ConfigError."""
    for project in Project.select(Project.name, Project.tier).where(Project.tier.not_in(list(config.tiers))).limit(1):
        raise ConfigError(f"tiers.{project.tier}: project {project.name!r} has this tier, but the configuration lacks it; put it back")
