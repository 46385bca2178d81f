"""Files, what became of them, and what is counted."""

from __future__ import annotations

from peewee import AutoField, BigIntegerField, BooleanField, CompositeKey, ForeignKeyField, IntegerField, JSONField, TextField

from uploadkit.db.models.base import Table
from uploadkit.db.models.projects import ApiKey, Project

NUMBER_BITS = 20


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
    declared_type = TextField(null=True)
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
    joining_at = BigIntegerField(null=True)
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
        """Where a single PUT is signed for; only a verified copy of it ever gets the final key."""
        return f"pending/{self.id}"


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
