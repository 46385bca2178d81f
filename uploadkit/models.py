"""The tables as Python sees them. No verbs here: what may happen to a row stands in the service modules.

The schema itself is made by `migrations/*.sql`; a test keeps the two equal. Times are milliseconds since the epoch, UTC.
"""

from __future__ import annotations

from peewee import (
    AutoField,
    BigIntegerField,
    BooleanField,
    CompositeKey,
    ForeignKeyField,
    IntegerField,
    JSONField,
    Model,
    SqliteDatabase,
    TextField,
)

database = SqliteDatabase(None, lock_type="IMMEDIATE")
NUMBER_BITS = 20


class Table(Model):
    """Common ground of all tables."""

    class Meta:
        database = database


class Project(Table):
    """The unit of isolation: keys, file routes, files and quota belong to one project."""

    id = TextField(primary_key=True)
    name = TextField()
    slug = TextField(unique=True)
    tier = TextField()
    limit_overrides = JSONField(default=dict)
    retention_days = IntegerField(null=True)
    storage_used_bytes = BigIntegerField(default=0)
    storage_reserved_bytes = BigIntegerField(default=0)
    uploads_reserved = IntegerField(default=0)
    created_at = BigIntegerField()
    updated_at = BigIntegerField()
    deleted_at = BigIntegerField(null=True)


class ApiKey(Table):
    """A credential: only its SHA-256 and its masked form are kept."""

    id = TextField(primary_key=True)
    project = ForeignKeyField(Project)
    project_id: str
    name = TextField()
    key_hash = TextField(unique=True)
    masked_key = TextField()
    environment = TextField()
    access = TextField()
    created_at = BigIntegerField()
    last_used_at = BigIntegerField(null=True)
    revoked_at = BigIntegerField(null=True)

    class Meta:
        table_name = "api_key"


class FileRoute(Table):
    """Rules that uploads of one kind must follow."""

    id = TextField(primary_key=True)
    project = ForeignKeyField(Project)
    project_id: str
    slug = TextField()
    max_file_size_bytes = BigIntegerField(null=True)
    max_file_count = IntegerField(default=1)
    allowed_types = JSONField(default=lambda: ["*/*"])
    visibility = TextField(default="public")
    webhook_url = TextField(null=True)
    webhook_events = JSONField(default=lambda: ["onUploadComplete"])
    verify_content = BooleanField(default=True)
    anonymous_uploads = BooleanField(default=False)
    allowed_origins = JSONField(default=list)
    created_at = BigIntegerField()
    updated_at = BigIntegerField()

    class Meta:
        table_name = "file_route"


class UploadToken(Table):
    """Permission for a browser to upload some files by one file route: only its SHA-256 is kept."""

    id = TextField(primary_key=True)
    project = ForeignKeyField(Project)
    project_id: str
    api_key = ForeignKeyField(ApiKey, on_delete="CASCADE")
    api_key_id: str
    file_route = ForeignKeyField(FileRoute, on_delete="CASCADE")
    file_route_id: str
    token_hash = TextField(unique=True)
    environment = TextField()
    metadata = JSONField(default=dict)
    max_files = IntegerField()
    max_bytes = BigIntegerField(null=True)
    expires_at = BigIntegerField()
    created_at = BigIntegerField()
    revoked_at = BigIntegerField(null=True)

    class Meta:
        table_name = "upload_token"


class File(Table):
    """One upload and, once verified, one file. States: UPLOADING → UPLOADED → DELETED, or UPLOADING → FAILED (→ DELETED).

    `number` is created_at * 2^NUMBER_BITS plus a counter within that millisecond: the place of a file in every list.
    """

    number = BigIntegerField()
    id = TextField(primary_key=True)
    project = ForeignKeyField(Project)
    project_id: str
    environment = TextField()
    route_slug = TextField()
    api_key = ForeignKeyField(ApiKey, null=True)
    api_key_id: str | None
    key = TextField(unique=True)
    file_name = TextField()
    size_bytes = BigIntegerField()
    content_type = TextField()
    type_declared = BooleanField(default=True)
    visibility = TextField()
    metadata = JSONField(default=dict)
    client_metadata = JSONField(default=dict)
    upload_token_id = TextField(null=True)
    client_network = TextField(null=True)
    status = TextField()
    failure = TextField(null=True)
    failure_message = TextField(null=True)
    etag = TextField(null=True)
    part_size_bytes = BigIntegerField(null=True)
    upload_id = TextField(null=True)
    reserved_bytes = BigIntegerField(default=0)
    expires_at = BigIntegerField()
    deadline_at = BigIntegerField()
    sweep_at = BigIntegerField(null=True)
    sweep_attempts = IntegerField(default=0)
    created_at = BigIntegerField()
    updated_at = BigIntegerField()
    uploaded_at = BigIntegerField(null=True)
    deleted_at = BigIntegerField(null=True)

    @property
    def is_multipart(self) -> bool:
        """Whether the bytes come in parts to the final key, rather than in one PUT to `pending/`."""
        return self.part_size_bytes is not None

    @property
    def pending_key(self) -> str:
        """Where a single PUT is signed for; only a verified copy of it ever gets the final key (api.md section 6)."""
        return f"pending/{self.id}"


class Usage(Table):
    """What one project did in one month, live and test apart."""

    project = ForeignKeyField(Project)
    project_id: str
    environment = TextField()
    period = TextField()
    uploads = IntegerField(default=0)
    bytes_uploaded = BigIntegerField(default=0)
    bytes_deleted = BigIntegerField(default=0)
    purged_uploads = IntegerField(default=0)
    purged_bytes_uploaded = BigIntegerField(default=0)
    purged_bytes_deleted = BigIntegerField(default=0)

    class Meta:
        primary_key = CompositeKey("project", "environment", "period")


class RequestCount(Table):
    """How many requests a project got on one day, such as 2026-04-08 (UTC), live and test apart."""

    project = ForeignKeyField(Project)
    project_id: str
    environment = TextField()
    day = TextField()
    requests = IntegerField()

    class Meta:
        table_name = "request_count"
        primary_key = CompositeKey("project", "environment", "day")


class Event(Table):
    """One change of state of a file. `status` is the one it came to; `sequence` rises in the order of the transactions."""

    sequence = AutoField()
    id = TextField()
    at = BigIntegerField()
    event = TextField()
    project = ForeignKeyField(Project)
    project_id: str
    environment = TextField()
    file_id = TextField()
    key = TextField()
    file_name = TextField()
    route_slug = TextField()
    status = TextField()
    detail = TextField(null=True)
    metadata = JSONField(default=dict)
    size_bytes = BigIntegerField()
    content_type = TextField()
    visibility = TextField()
    file_created_at = BigIntegerField()
    client_metadata = JSONField(default=dict)


class EventForgotten(Table):
    """The last event of a project and environment that is no longer kept."""

    project = ForeignKeyField(Project)
    project_id: str
    environment = TextField()
    sequence = BigIntegerField()

    class Meta:
        table_name = "event_forgotten"
        primary_key = CompositeKey("project", "environment")


class WebhookDestination(Table):
    """One URL that a project's events of one environment go to. `origin` is scheme, host and port of it.

    `arrived` says whether the last attempt there did; distinct deliveries that died after `counted_from` are `dead_in_a_row`.
    """

    id = TextField(primary_key=True)
    project = ForeignKeyField(Project)
    project_id: str
    environment = TextField()
    url = TextField()
    origin = TextField()
    called_at = BigIntegerField(null=True)
    arrived = BooleanField(null=True)
    dead_in_a_row = IntegerField(default=0)
    counted_from = BigIntegerField(default=0)
    paused_at = BigIntegerField(null=True)
    created_at = BigIntegerField()

    class Meta:
        table_name = "webhook_destination"


class WebhookDelivery(Table):
    """One event on its way to one destination: the outbox. States: pending ⇄ delivering → delivered or dead (→ pending: redelivered).

    `attempts` counts all there ever were, `attempts_in_round` those since it was queued or redelivered last. `ended_at` is when it was
    delivered or dead last, also while it is tried again.
    """

    id = TextField(primary_key=True)
    destination = ForeignKeyField(WebhookDestination)
    destination_id: str
    project = ForeignKeyField(Project)
    project_id: str
    environment = TextField()
    event_id = TextField()
    event = TextField()
    file_id = TextField(null=True)
    payload = TextField()
    by_hand = BooleanField(default=False)
    status = TextField(default="pending")
    attempts = IntegerField(default=0)
    attempts_in_round = IntegerField(default=0)
    next_attempt_at = BigIntegerField(null=True)
    leased_until = BigIntegerField(null=True)
    last_status_code = IntegerField(null=True)
    last_error = TextField(null=True)
    created_at = BigIntegerField()
    ended_at = BigIntegerField(null=True)

    class Meta:
        table_name = "webhook_delivery"


class WebhookAttempt(Table):
    """One try at a delivery, with what was sent and what came back."""

    id = TextField(primary_key=True)
    delivery = ForeignKeyField(WebhookDelivery)
    started_at = BigIntegerField()
    duration_ms = IntegerField()
    request_headers = JSONField(default=dict)
    status_code = IntegerField(null=True)
    response_excerpt = TextField(null=True)
    error = TextField(null=True)

    class Meta:
        table_name = "webhook_attempt"


class WebhookSecret(Table):
    """What a project's deliveries are signed with."""

    project = ForeignKeyField(Project, primary_key=True)
    project_id: str
    current_secret = TextField()
    next_secret = TextField()
    created_at = BigIntegerField()
    rotated_at = BigIntegerField(null=True)

    class Meta:
        table_name = "webhook_secret"


class Audit(Table):
    """Who did what to which thing, written in the same transaction. Outlives what it speaks of."""

    id = TextField(primary_key=True)
    at = BigIntegerField()
    actor = TextField()
    action = TextField()
    subject_kind = TextField()
    subject_id = TextField()
    project_id = TextField()
    details = JSONField(default=dict)


class Idempotency(Table):
    """What a POST with an Idempotency-Key made; `endpoint` is method and path."""

    api_key = ForeignKeyField(ApiKey, on_delete="CASCADE")
    api_key_id: str
    endpoint = TextField()
    idempotency_key = TextField()
    body_hash = TextField()
    resource_id = TextField()
    created_at = BigIntegerField()

    class Meta:
        primary_key = CompositeKey("api_key", "endpoint", "idempotency_key")


class Admin(Table):
    """Somebody who may use the dashboard. The address is in small letters."""

    id = TextField(primary_key=True)
    email = TextField(unique=True)
    password_hash = TextField()
    created_at = BigIntegerField()
    password_changed_at = BigIntegerField()


class AdminSession(Table):
    """A browser that has signed in: of its cookie only the SHA-256 is kept. `notice` is what its next page has to tell."""

    token_hash = TextField(primary_key=True)
    admin = ForeignKeyField(Admin, on_delete="CASCADE")
    admin_id: str
    client = TextField()
    user_agent = TextField()
    notice = TextField(null=True)
    created_at = BigIntegerField()
    seen_at = BigIntegerField()
    expires_at = BigIntegerField()

    class Meta:
        table_name = "admin_session"


class SetupLink(Table):
    """A one-time link that makes an admin: of its token only the SHA-256 is kept."""

    token_hash = TextField(primary_key=True)
    created_at = BigIntegerField()
    expires_at = BigIntegerField()

    class Meta:
        table_name = "setup_link"


class Setting(Table):
    """Facts about this appliance that outlive a restart and are no configuration."""

    name = TextField(primary_key=True)
    value = TextField()


TABLES: tuple[type[Table], ...] = (
    Project,
    ApiKey,
    FileRoute,
    UploadToken,
    File,
    Usage,
    RequestCount,
    Event,
    EventForgotten,
    WebhookDestination,
    WebhookDelivery,
    WebhookAttempt,
    WebhookSecret,
    Audit,
    Idempotency,
    Admin,
    AdminSession,
    SetupLink,
    Setting,
)
