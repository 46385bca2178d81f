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
from uploadkit.core.values import is_loopback, parse_size

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
    "is_loopback",
    "known_keys",
    "load",
    "parse_size",
    "with_storage_mode",
]
