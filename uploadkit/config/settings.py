"""Every setting with its type and default. `config.toml` in the repository is the reference: a test keeps the two equal."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from uploadkit.core.host_names import origin_as_sent
from uploadkit.core.values import (
    Cidr,
    CorsOrigins,
    Endpoint,
    FilePath,
    Limit,
    OptionalOrigin,
    OptionalPath,
    OptionalSecret,
    OptionalSite,
    OptionalText,
    OptionalUrl,
    Port,
    Region,
    Size,
    SizeLimit,
    Text,
    TimeOfDay,
    is_loopback,
)


class Section(BaseModel):
    """A table of the configuration: unknown keys are errors, values never change after the start, secrets stay out of `repr()`."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104
"""What means every interface, and what its owner reaches it under."""


class ServerConfig(Section):
    """The HTTP server and what it believes about the network in front of it."""

    host: Text = "127.0.0.1"
    port: Annotated[Port, Field(ge=1)] = 8080
    public_url: OptionalSite = None
    threads: Annotated[int, Field(ge=1, le=256)] = 16
    require_https: Literal["auto", "on", "off"] = "auto"
    trusted_proxies: tuple[Cidr, ...] = ()
    max_body_bytes: Annotated[Size, Field(ge=1024)] = 1024**2
    one_core: bool = True
    log_format: Literal["text", "json"] = "text"

    @property
    def base_url(self) -> str:
        """The address that people and programs reach the appliance under, without a trailing slash."""
        if self.public_url:
            return self.public_url
        host = _EVERYWHERE.get(self.host, f"[{self.host}]" if ":" in self.host else self.host)
        return f"http://{host}:{self.port}"

    @property
    def is_lost_elsewhere(self) -> bool:
        """Whether other machines reach the appliance, but by its own URLs only themselves."""
        return self.public_url is None and self.host in _EVERYWHERE

    @property
    def own_origins(self) -> tuple[str, ...]:
        """The origins of the appliance's own pages: that of its address, and where that is this machine, what else means it.

        Without `public_url`, an appliance that listens everywhere can't know under which other addresses people open it.
        """
        own = urlsplit(self.base_url)
        port = f":{own.port}" if own.port else ""
        hosts = [own.netloc.lower().removesuffix(port)]
        if is_loopback(own.hostname or ""):
            hosts += ["localhost", *(["[::1]"] if ":" in self.host else []), *(["127.0.0.1"] if self.host != "::1" else [])]
        return tuple(dict.fromkeys(origin_as_sent(f"{own.scheme}://{host}{port}") for host in hosts))

    @property
    def https_enforced(self) -> bool:
        """Whether plain HTTP requests to the API are refused."""
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
    read_timeout_seconds: Annotated[int, Field(ge=1, le=60)] = 5


class BundledConfig(Section):
    """The store that the appliance starts itself."""

    engine: Literal["auto", "minio", "seaweedfs"] = "auto"
    port: Port = 9000
    minio_binary: OptionalText = None
    public_endpoint: OptionalOrigin = None
    durable: bool = True
    max_disk_bytes: Size = 0
    scrub_bytes_per_hour: SizeLimit = 256 * 1024**2
    cors_origins: CorsOrigins = ("*",)


class ByosConfig(Section):
    """A bucket of one's own."""

    endpoint: Endpoint = None
    region: Region = None
    access_key_id: OptionalText = None
    secret_access_key: OptionalSecret = None
    bucket: OptionalText = None
    public_endpoint: Endpoint = None
    addressing_style: Literal["auto", "path", "virtual"] = "auto"
    upload_access_key_id: OptionalText = None
    upload_secret_access_key: OptionalSecret = None
    bar_headers: Literal["auto", "off"] = "auto"
    allow_unsafe_store: bool = False
    create_bucket: bool = False
    ca_bundle: OptionalPath = None
    cors_origins: CorsOrigins = ("*",)


class StorageConfig(Section):
    """Where the bytes of files go."""

    mode: Literal["bundled", "byos"] = "bundled"
    # SigV4 allows seven days; a leaked URL should die sooner.
    presign_expires_seconds: Annotated[int, Field(ge=1, le=86400)] = 3600
    # The link behind it is as good as the URL; this is how long a film may be paused. SigV4 allows seven days.
    read_expires_seconds: Annotated[int, Field(ge=1, le=604800)] = 86400
    public_url: OptionalUrl = None
    timeout_seconds: Annotated[int, Field(ge=1, le=300)] = 10
    bundled: BundledConfig = BundledConfig()
    byos: ByosConfig = ByosConfig()


class LimitsConfig(Section):
    """Limits of the whole appliance, and those of each project that no tier has."""

    max_projects: Annotated[int, Field(ge=0)] = 0
    default_tier: str = "pro"
    max_upload_tokens: Limit = 20_000


class SandboxConfig(Section):
    """What the test keys of one project may have in the sandbox at a time."""

    max_files: Limit = 1_000
    max_storage: SizeLimit = 5 * 1024**3
    max_rows: Limit = 10_000


class TierConfig(Section):
    """The limits of one tier; None is unlimited."""

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
    max_waiting: Annotated[int, Field(ge=1)] = 50_000


class BrowserConfig(Section):
    """What browsers without an API key may do at /api/uploadkit, each of them and all together."""

    requests_per_minute: Limit = 300
    anonymous_pending_uploads: Limit = 20
    anonymous_pending_bytes: SizeLimit = 1024**3
    anonymous_quota_percent: Annotated[int, Field(ge=0, le=100)] = 10
    anonymous_uploads_per_hour: Limit = 1_000
    anonymous_uploads_per_day: Limit = 20_000


class DashboardConfig(Section):
    """The pages for people: whether there are any, how long a sign-in lasts, and how often one may try."""

    enabled: bool = True
    session_hours: Annotated[int, Field(ge=1, le=8760)] = 12
    sign_ins_per_minute: Limit = 10


class HousekeepingConfig(Section):
    """What happens by itself, and when."""

    interval_seconds: Annotated[int, Field(ge=1)] = 60
    abandoned_upload_seconds: Annotated[int, Field(ge=1)] = 900
    test_file_ttl_seconds: Annotated[int, Field(ge=1)] = 86400
    history_days: Limit = 90


class BackupS3Config(Section):
    """The store of a bucket that backups go to."""

    endpoint: Endpoint = None
    region: Region = None
    access_key_id: OptionalText = None
    secret_access_key: OptionalSecret = None
    addressing_style: Literal["auto", "path", "virtual"] = "auto"
    ca_bundle: OptionalPath = None


class BackupConfig(Section):
    """Where backups go, and when."""

    to: OptionalText = None
    schedule: TimeOfDay = None
    keep: Annotated[int, Field(ge=1)] = 7
    passphrase_file: OptionalPath = None
    s3: BackupS3Config = BackupS3Config()


def default_tiers() -> dict[str, TierConfig]:
    """Return the four tiers."""
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
    tiers: dict[str, TierConfig] = Field(default_factory=default_tiers)
    sandbox: SandboxConfig = SandboxConfig()
    rate_limits: RateLimitsConfig = RateLimitsConfig()
    webhooks: WebhooksConfig = WebhooksConfig()
    browser: BrowserConfig = BrowserConfig()
    dashboard: DashboardConfig = DashboardConfig()
    housekeeping: HousekeepingConfig = HousekeepingConfig()
    backup: BackupConfig = BackupConfig()

    @property
    def uploading_origins(self) -> tuple[str, ...]:
        """The web sites whose pages may PUT into the store: those that are configured, and the appliance's own; "*" alone for all."""
        storage = self.storage
        named = storage.byos.cors_origins if storage.mode == "byos" else storage.bundled.cors_origins
        return ("*",) if "*" in named else tuple(dict.fromkeys((*named, *self.server.own_origins)))

    @property
    def data_dir(self) -> Path:
        """The absolute path of the data directory."""
        return self.data.dir

    @property
    def database_path(self) -> Path:
        """The absolute path of the SQLite file."""
        return self.data.dir / self.database.path
