"""Configuration: defaults → `config.toml` → environment, validated once, then passed to whoever needs it."""

from uploadkit.config.checks import with_storage_mode
from uploadkit.config.loading import find_config_file, known_keys, load
from uploadkit.config.settings import (
    BundledConfig,
    ByosConfig,
    Config,
    HousekeepingConfig,
    RateLimitsConfig,
    SandboxConfig,
    ServerConfig,
    TierConfig,
)

__all__ = [
    "BundledConfig",
    "ByosConfig",
    "Config",
    "HousekeepingConfig",
    "RateLimitsConfig",
    "SandboxConfig",
    "ServerConfig",
    "TierConfig",
    "find_config_file",
    "known_keys",
    "load",
    "with_storage_mode",
]
