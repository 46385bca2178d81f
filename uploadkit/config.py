"""Configuration: defaults → `config.toml` → environment, validated once, then passed to whoever needs it.

`config.toml` in the repository is the reference: a test keeps it equal to the defaults below (operations.md, "Configuration").
"""

from __future__ import annotations

import difflib
import ipaddress
import json
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError

from uploadkit import providers
from uploadkit.errors import ConfigError

ENVIRONMENT_PREFIX = "UPLOADKIT_"
_SIZE = re.compile(r"(\d+)\s*(B|KB|MB|GB|TB)?", re.IGNORECASE)
_UNIT_BYTES = {"": 1, "B": 1, "KB": 1024, "MB": 1024**2, "GB": 1024**3, "TB": 1024**4}


def parse_size(value: Any) -> Any:
    """Turn `"4MB"` into bytes; KB, MB, GB and TB are powers of 1024 (api.md section 7). Anything else passes through.

    Raises ValueError for text that is no size.
    """
    if not isinstance(value, str):
        return value
    match = _SIZE.fullmatch(value.strip())
    if not match:
        raise ValueError('write a size as bytes or as "4MB" (KB, MB, GB and TB are powers of 1024)')
    return int(match[1]) * _UNIT_BYTES[(match[2] or "").upper()]


def _empty_is_unset(value: Any) -> Any:
    return None if value == "" else value


def _http_url(value: str) -> str:
    parts = urlsplit(value)
    try:
        port_is_possible = parts.port is None or parts.port > 0
    except ValueError:
        port_is_possible = False
    plain = parts.scheme in ("http", "https") and parts.hostname and not parts.query and not parts.fragment and "@" not in parts.netloc
    if not plain or not port_is_possible or not re.fullmatch(r"[!-~]+", value):
        raise ValueError('write a URL such as "https://uploads.example.com"')
    return value.rstrip("/").replace(value[: len(parts.scheme)], parts.scheme, 1)


def _http_origin(value: str) -> str:
    if urlsplit(value).path.strip("/"):
        raise ValueError('write scheme, host and port only, such as "https://s3.example.com": a path breaks the signatures')
    return value


def _no_boolean(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("must be a number")
    return value


def _not_empty(value: Any) -> Any:
    if value == "":
        raise ValueError("must not be empty; leave it out for the default")
    return value


def _network(value: str) -> str:
    return str(ipaddress.ip_network(value))


Size = Annotated[int, BeforeValidator(parse_size), Field(ge=0)]
SizeLimit = Annotated[Annotated[int, Field(gt=0)] | None, BeforeValidator(parse_size), BeforeValidator(_empty_is_unset)]
Limit = Annotated[Annotated[int, Field(gt=0)] | None, BeforeValidator(_empty_is_unset)]
OptionalUrl = Annotated[Annotated[str, AfterValidator(_http_url)] | None, BeforeValidator(_empty_is_unset)]
OptionalOrigin = Annotated[Annotated[str, AfterValidator(_http_url), AfterValidator(_http_origin)] | None, BeforeValidator(_empty_is_unset)]
OptionalText = Annotated[str | None, BeforeValidator(_empty_is_unset)]
Cidr = Annotated[str, AfterValidator(_network)]
Port = Annotated[int, BeforeValidator(_no_boolean), Field(ge=0, le=65535)]
FilePath = Annotated[Path, BeforeValidator(_not_empty)]


class Section(BaseModel):
    """A table of the configuration: unknown keys are errors, values never change after the start, secrets stay out of `repr()`."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class ServerConfig(Section):
    """The HTTP server and what it believes about the network in front of it."""

    host: Annotated[str, BeforeValidator(_not_empty)] = "127.0.0.1"
    port: Annotated[Port, Field(ge=1)] = 8080
    public_url: OptionalUrl = None
    threads: Annotated[int, Field(ge=1, le=256)] = 16
    require_https: Literal["auto", "on", "off"] = "auto"
    trusted_proxies: tuple[Cidr, ...] = ()
    max_body_bytes: Annotated[Size, Field(ge=1024)] = 1024**2
    log_format: Literal["text", "json"] = "text"

    @property
    def base_url(self) -> str:
        """The address that people and programs reach the appliance under, without a trailing slash."""
        if self.public_url:
            return self.public_url
        listens_everywhere = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104
        host = listens_everywhere.get(self.host, f"[{self.host}]" if ":" in self.host else self.host)
        return f"http://{host}:{self.port}"

    @property
    def https_enforced(self) -> bool:
        """Whether plain HTTP requests to the API are refused (api.md section 11)."""
        if self.require_https == "auto":
            reached_at = urlsplit(self.public_url).hostname if self.public_url else self.host
            return not is_loopback(reached_at or "")
        return self.require_https == "on"


class DataConfig(Section):
    """Where everything is kept."""

    dir: FilePath = Path("data")


class DatabaseConfig(Section):
    """The SQLite file."""

    path: FilePath = Path("uploadkit.db")
    synchronous: Literal["FULL", "NORMAL"] = "FULL"


class BundledConfig(Section):
    """The store that the appliance starts itself (storage.md section 1)."""

    engine: Literal["auto", "minio", "seaweedfs"] = "auto"
    port: Port = 9000
    minio_binary: OptionalText = None
    public_endpoint: OptionalOrigin = None
    max_disk_bytes: Size = 0
    cors_origins: tuple[str, ...] = ("*",)


class ByosConfig(Section):
    """A bucket of one's own (storage.md section 2)."""

    endpoint: OptionalOrigin = None
    region: OptionalText = None
    access_key_id: OptionalText = None
    secret_access_key: Annotated[SecretStr | None, BeforeValidator(_empty_is_unset)] = None
    bucket: OptionalText = None
    public_endpoint: OptionalOrigin = None
    addressing_style: Literal["auto", "path", "virtual"] = "auto"
    create_bucket: bool = False
    cors_origins: tuple[str, ...] = ("*",)


class StorageConfig(Section):
    """Where the bytes of files go."""

    mode: Literal["bundled", "byos"] = "bundled"
    # SigV4 allows seven days; a leaked URL should die sooner.
    presign_expires_seconds: Annotated[int, Field(ge=1, le=86400)] = 3600
    public_url: OptionalUrl = None
    bundled: BundledConfig = BundledConfig()
    byos: ByosConfig = ByosConfig()


class LimitsConfig(Section):
    """Limits of the whole appliance."""

    max_projects: Annotated[int, Field(ge=0)] = 0
    default_tier: str = "pro"


class TierConfig(Section):
    """The limits of one tier; None is unlimited (api.md section 8)."""

    requests_per_minute: Limit = None
    max_keys: Limit = None
    max_file_size: SizeLimit = None
    max_storage: SizeLimit = None
    max_uploads_per_month: Limit = None


class RateLimitsConfig(Section):
    """Where the windows of the rate limits are kept, and how many wrong keys an address may try."""

    # The address of a Redis may hold a password.
    storage_uri: SecretStr = SecretStr("memory://")
    auth_failures_per_minute: Limit = 60


class WebhooksConfig(Section):
    """Deliveries of events: how long a receiver has, when to try again, and which private networks may be called."""

    timeout_seconds: Annotated[int, Field(ge=1, le=300)] = 30
    # The pauses between one attempt and the next; one attempt more than there are pauses.
    retry_schedule_seconds: Annotated[tuple[Annotated[int, Field(ge=1, le=7 * 86400)], ...], Field(max_length=20)] = (60, 300, 1800)
    allowed_private_cidrs: tuple[Cidr, ...] = ()
    pause_after_dead_deliveries: Annotated[int, Field(ge=1)] = 20


class BrowserConfig(Section):
    """What browsers without an API key may do at /api/uploadkit, each of them and all together."""

    requests_per_minute: Limit = 300
    anonymous_pending_uploads: Limit = 20
    anonymous_pending_bytes: SizeLimit = 1024**3
    anonymous_quota_percent: Annotated[int, Field(ge=0, le=100)] = 10


class HousekeepingConfig(Section):
    """What happens by itself, and when."""

    interval_seconds: Annotated[int, Field(ge=1)] = 60
    abandoned_upload_seconds: Annotated[int, Field(ge=1)] = 900
    test_file_ttl_seconds: Annotated[int, Field(ge=1)] = 86400
    history_days: Limit = 90


def _default_tiers() -> dict[str, TierConfig]:
    return {
        "free": TierConfig(
            requests_per_minute=60, max_keys=2, max_file_size=4 * 1024**2, max_storage=5 * 1024**3, max_uploads_per_month=1_000
        ),
        "pro": TierConfig(
            requests_per_minute=300, max_keys=10, max_file_size=512 * 1024**2, max_storage=100 * 1024**3, max_uploads_per_month=50_000
        ),
        "team": TierConfig(
            requests_per_minute=1000, max_keys=50, max_file_size=5 * 1024**3, max_storage=1024**4, max_uploads_per_month=500_000
        ),
        "enterprise": TierConfig(),
    }


class Config(Section):
    """Everything that can be set, with its default."""

    server: ServerConfig = ServerConfig()
    data: DataConfig = DataConfig()
    database: DatabaseConfig = DatabaseConfig()
    storage: StorageConfig = StorageConfig()
    limits: LimitsConfig = LimitsConfig()
    tiers: dict[str, TierConfig] = Field(default_factory=_default_tiers)
    rate_limits: RateLimitsConfig = RateLimitsConfig()
    webhooks: WebhooksConfig = WebhooksConfig()
    browser: BrowserConfig = BrowserConfig()
    housekeeping: HousekeepingConfig = HousekeepingConfig()

    @property
    def data_dir(self) -> Path:
        """The absolute path of the data directory."""
        return self.data.dir

    @property
    def database_path(self) -> Path:
        """The absolute path of the SQLite file."""
        return self.data.dir / self.database.path


def is_loopback(host: str) -> bool:
    """Say whether a host name or address (IPv6 with or without brackets) means this very machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def find_config_file(named: Path | None, environment: Mapping[str, str]) -> Path | None:
    """Return the file to read: the one named, else `UPLOADKIT_CONFIG`, else `config.toml` beside `app.py`, else none.

    Raises ConfigError when a file was named that is not there.
    """
    chosen = named or (Path(environment["UPLOADKIT_CONFIG"]) if environment.get("UPLOADKIT_CONFIG") else None)
    if chosen is None:
        beside_app = Path(__file__).resolve().parent.parent / "config.toml"
        return beside_app if beside_app.is_file() else None
    if not chosen.is_file():
        raise ConfigError(f"{chosen}: no such configuration file; check --config or UPLOADKIT_CONFIG")
    return chosen.resolve()


def load(named: Path | None = None, environment: Mapping[str, str] | None = None) -> Config:
    """Read, merge and check the configuration.

    `named` is the file given by `--config`; `environment` defaults to the process's. A relative `data.dir` is taken from the
    folder of the configuration file, a relative `database.path` from the data directory.
    Raises ConfigError, one line that names the key and the mend.
    """
    environment = os.environ if environment is None else environment
    path = find_config_file(named, environment)
    merged = _expand(_read_toml(path), environment, "") if path else {}
    sources: dict[str, str] = {}
    _merge_environment(merged, environment, sources)
    _merge_tier_defaults(merged)
    try:
        config = Config.model_validate(merged)
    except ValidationError as error:
        raise ConfigError(_one_line(error, path, sources)) from None
    base = path.parent if path else Path.cwd()
    return _checked(config.model_copy(update={"data": DataConfig(dir=(base / config.data.dir.expanduser()).resolve())}))


def with_storage_mode(config: Config, mode: Literal["bundled", "byos"]) -> Config:
    """Return `config` as it would be with another `storage.mode`, checked. Raises ConfigError."""
    return _checked(config.model_copy(update={"storage": config.storage.model_copy(update={"mode": mode})}))


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None
    except OSError as error:
        raise ConfigError(f"{path}: can't be read: {error.strerror}") from None


def _merge_environment(merged: dict[str, Any], environment: Mapping[str, str], sources: dict[str, str]) -> None:
    for name in sorted(environment):
        if not name.startswith(ENVIRONMENT_PREFIX) or "__" not in name:
            continue
        keys = name.removeprefix(ENVIRONMENT_PREFIX).lower().split("__")
        if not all(keys):
            raise ConfigError(f"{name}: unknown setting; the form is UPLOADKIT_<SECTION>__<KEY>")
        table = merged
        for key in keys[:-1]:
            table = table.setdefault(key, {})
            if not isinstance(table, dict):
                raise ConfigError(f"{name}: {key} is a value, not a table; the form is UPLOADKIT_<SECTION>__<KEY>")
        table[keys[-1]] = _environment_value(keys, environment[name])
        sources[".".join(keys)] = name


def _environment_value(keys: list[str], text: str) -> Any:
    """Lists and tables come as JSON; everything else stays text, which the schema turns into numbers and booleans."""
    if _holds_several(keys):
        try:
            return json.loads(text)
        except ValueError:
            raise ConfigError(f"{ENVIRONMENT_PREFIX}{'__'.join(keys).upper()}: must be JSON: a list or a table") from None
    return text


def _holds_several(keys: list[str]) -> bool:
    """Whether the setting is a list or a table."""
    model: type[BaseModel] = Config
    for depth, key in enumerate(keys):
        if key not in model.model_fields:
            return False
        annotation = model.model_fields[key].annotation
        if key == "tiers":
            return len(keys) - depth <= 2
        if get_origin(annotation) is tuple:
            return True
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return False
        model = annotation
    return True


def _expand(value: Any, environment: Mapping[str, str], where: str) -> Any:
    if isinstance(value, dict):
        return {key: _expand(item, environment, f"{where}.{key}".lstrip(".")) for key, item in value.items()}
    if isinstance(value, list):
        return [_expand(item, environment, where) for item in value]
    if not isinstance(value, str):
        return value

    def lookup(match: re.Match[str]) -> str:
        if match[1] not in environment:
            raise ConfigError(f"{where}: the environment variable {match[1]} is not set; set it, or write the value in its place")
        return environment[match[1]]

    return re.sub(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}", lookup, value)


def _merge_tier_defaults(merged: dict[str, Any]) -> None:
    """A tier that is only partly given keeps the other defaults of the tier of that name."""
    given = merged.get("tiers", {})
    if isinstance(given, dict):
        defaults = {name: tier.model_dump() for name, tier in _default_tiers().items()}
        for name, values in given.items():
            defaults[name] = defaults.get(name, {}) | values if isinstance(values, dict) else values
        merged["tiers"] = defaults


def _one_line(error: ValidationError, path: Path | None, sources: Mapping[str, str]) -> str:
    first = min(error.errors(), key=lambda item: item["type"] != "extra_forbidden")
    location = [str(part) for part in first["loc"] if not str(part).startswith("function-")]
    key = ".".join(location)
    named = next((name for given, name in sources.items() if f"{key}.".startswith(f"{given}.") or given.startswith(f"{key}.")), None)
    where = named or (f"{path.name}: {key}" if path else key)
    if first["type"] == "extra_forbidden":
        nearest = _nearest(location)
        return f"{where}: unknown setting" + (f"; did you mean {nearest}?" if nearest else "; config.toml lists every setting")
    message = "must be a table" if first["type"] in ("model_type", "dict_type") else first["msg"].removeprefix("Value error, ")
    return f"{where}: {message}"


def _nearest(location: list[str]) -> str | None:
    section, name = location[:-1], location[-1]
    if section[:1] == ["tiers"]:
        candidates = list(TierConfig.model_fields)
    else:
        paths = [key.split(".") for key in [*known_keys(), "tiers.pro"]]
        candidates = [path[len(section)] for path in paths if path[: len(section)] == section and len(path) > len(section)]
    close = difflib.get_close_matches(name, candidates, n=1, cutoff=0.5)
    return ".".join([*section, close[0]]) if close else None


def known_keys(model: type[BaseModel] = Config, prefix: str = "") -> list[str]:
    """Return every setting's dotted name, tiers apart."""
    keys: list[str] = []
    for name, field in model.model_fields.items():
        annotation = field.annotation
        nested = next((a for a in (annotation, *get_args(annotation)) if isinstance(a, type) and issubclass(a, BaseModel)), None)
        if name == "tiers":
            continue
        keys += known_keys(nested, f"{prefix}{name}.") if nested else [f"{prefix}{name}"]
    return keys


def _checked(config: Config) -> Config:
    """The rules that need more than one key."""
    if config.limits.default_tier not in config.tiers:
        raise ConfigError(f"limits.default_tier: there is no tier {config.limits.default_tier!r}; tiers are {', '.join(config.tiers)}")
    if config.storage.mode == "byos":
        _check_byos(config.storage.byos)
    else:
        _check_bundled(config)
    if config.server.base_url.startswith("https://"):
        _check_no_mixed_content(config)
    return config


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
    for key, value in (("access_key_id", byos.access_key_id), ("secret_access_key", byos.secret_access_key.get_secret_value())):
        if value != value.strip() or not value.isprintable():
            raise ConfigError(f"storage.byos.{key}: has a space at an end or an unprintable character in it; copy it once more")
    if found := providers.mistake(byos.endpoint, byos.region, byos.bucket):
        raise ConfigError(f"storage.byos.{found[0]}: {found[1]}")
