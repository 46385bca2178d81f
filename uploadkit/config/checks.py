"""The rules that one setting alone can't break: tiers that are named but not there, ports in each other's way, mixed content, BYOS."""

from __future__ import annotations

import re
import ssl
from pathlib import Path
from typing import Literal

from uploadkit.config import s3_providers
from uploadkit.config.settings import BackupConfig, ByosConfig, Config
from uploadkit.core.errors import ConfigError


def with_storage_mode(config: Config, mode: Literal["bundled", "byos"]) -> Config:
    """Return `config` as it would be with another `storage.mode`, checked. Raises ConfigError."""
    return checked(config.model_copy(update={"storage": config.storage.model_copy(update={"mode": mode})}))


def checked(config: Config) -> Config:
    """Return `config`, which keeps all rules that need more than one key. Raises ConfigError."""
    if config.limits.default_tier not in config.tiers:
        raise ConfigError(f"limits.default_tier: there is no tier {config.limits.default_tier!r}; tiers are {', '.join(config.tiers)}")
    if config.storage.mode == "byos":
        _check_byos(config.storage.byos)
    else:
        _check_bundled(config)
    if config.server.base_url.startswith("https://"):
        _check_no_mixed_content(config)
    _check_backup(config.backup)
    return config


def _check_backup(backup: BackupConfig) -> None:
    if backup.to is None:
        if backup.schedule is not None:
            raise ConfigError("backup.schedule: backup.to must say where backups go")
    elif not backup.to.startswith(("/", "~/", "s3://")):
        raise ConfigError('backup.to: must be the absolute path of a folder, or "s3://bucket/prefix"')


def _check_bundled(config: Config) -> None:
    first = config.storage.bundled.port
    if first > 54_999:
        raise ConfigError("storage.bundled.port: choose a port below 55000; the engine also uses the nine after it and port + 10008")
    if first and config.server.port in (*range(first, first + 10), first + 10_008):
        raise ConfigError(
            f"storage.bundled.port: the bundled store uses {first} to {first + 9} and {first + 10_008}, and server.port "
            f"{config.server.port} is one of them; move one of the two"
        )


def _check_no_mixed_content(config: Config) -> None:
    storage = config.storage
    name, store = {
        "byos": ("storage.byos.public_endpoint", storage.byos.public_endpoint or storage.byos.endpoint or "https://"),
        "bundled": ("storage.bundled.public_endpoint", storage.bundled.public_endpoint or ""),
    }[storage.mode]
    for setting, address in ((name, store), ("storage.public_url", storage.public_url or "https://")):
        if not address.startswith("https://"):
            raise ConfigError(
                f"{setting}: must be an https:// address when server.public_url is one, or browsers refuse it (mixed content)"
            )


def _check_byos(byos: ByosConfig) -> None:
    for key in ("bucket", "access_key_id", "secret_access_key"):
        if getattr(byos, key) is None:
            raise ConfigError(f'storage.byos.{key}: must be set when storage.mode is "byos"')
    assert byos.bucket
    assert byos.access_key_id
    assert byos.secret_access_key
    if byos.region is None:
        raise ConfigError(
            'storage.byos.region: must be set: the bucket\'s region on AWS, "auto" on Cloudflare R2, any name such as "us-east-1" on MinIO'
        )
    if not re.fullmatch(r"[a-z0-9][a-z0-9.\-]{1,61}[a-z0-9]", byos.bucket):
        raise ConfigError("storage.byos.bucket: a bucket name has 3 to 63 lower-case letters, digits, dots and hyphens")
    if (byos.upload_access_key_id is None) != (byos.upload_secret_access_key is None):
        missing = "upload_access_key_id" if byos.upload_access_key_id is None else "upload_secret_access_key"
        raise ConfigError(f"storage.byos.{missing}: must be set with the other half of the second pair; or leave both out")
    pairs = (
        ("access_key_id", byos.access_key_id),
        ("secret_access_key", byos.secret_access_key.get_secret_value()),
        ("upload_access_key_id", byos.upload_access_key_id or ""),
        ("upload_secret_access_key", byos.upload_secret_access_key.get_secret_value() if byos.upload_secret_access_key else ""),
    )
    for key, value in pairs:
        if value != value.strip() or not value.isprintable():
            raise ConfigError(f"storage.byos.{key}: has a space at an end or an unprintable character in it; copy it once more")
        if key.endswith("access_key_id") and value.startswith("ASIA"):
            raise ConfigError(
                f"storage.byos.{key}: this one is temporary: it needs a session token, which is not supported, and ends within hours; "
                "make a lasting key for a user of the appliance's own"
            )
    if found := s3_providers.mistake(byos.endpoint, byos.region, byos.bucket):
        raise ConfigError(f"storage.byos.{found[0]}: {found[1]}")
    if byos.ca_bundle:
        _check_ca_bundle(byos.ca_bundle)


def _check_ca_bundle(path: Path) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
    except ssl.SSLError:
        raise ConfigError(f"storage.byos.ca_bundle: {path} holds no certificate in PEM format (-----BEGIN CERTIFICATE-----)") from None
    except OSError as error:
        raise ConfigError(f"storage.byos.ca_bundle: {path} can't be read: {error.strerror}") from None
