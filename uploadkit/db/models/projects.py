"""A project and what belongs to it: keys, file routes, upload tokens."""

from __future__ import annotations

from peewee import BigIntegerField, BooleanField, CompositeKey, ForeignKeyField, IntegerField, JSONField, TextField

from uploadkit.db.models.base import Table


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
    files_stored = IntegerField(default=0)
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
    short_origins = JSONField(default=list)
    created_at = BigIntegerField()
    updated_at = BigIntegerField()

    class Meta:
        table_name = "file_route"


class UploadToken(Table):
    """Permission for a browser to upload some files by some file routes: only its SHA-256 is kept."""

    id = TextField(primary_key=True)
    project = ForeignKeyField(Project)
    project_id: str
    api_key = ForeignKeyField(ApiKey, on_delete="CASCADE")
    api_key_id: str
    token_hash = TextField(unique=True)
    environment = TextField()
    metadata = JSONField(default=dict)
    max_files = IntegerField()
    max_bytes = BigIntegerField(null=True)
    uploads_begun = IntegerField(default=0)
    expires_at = BigIntegerField()
    created_at = BigIntegerField()
    revoked_at = BigIntegerField(null=True)

    class Meta:
        table_name = "upload_token"


class UploadTokenRoute(Table):
    """One file route that an upload token is for; `place` is where it stands among them."""

    upload_token = ForeignKeyField(UploadToken, on_delete="CASCADE")
    upload_token_id: str
    file_route = ForeignKeyField(FileRoute, on_delete="CASCADE")
    file_route_id: str
    place = IntegerField()

    class Meta:
        table_name = "upload_token_route"
        primary_key = CompositeKey("upload_token", "file_route")


class AnonymousBegun(Table):
    """How many uploads an address (all of a project: '') began without a token in the hour (day) from `began_at` on."""

    project = ForeignKeyField(Project, on_delete="CASCADE")
    project_id: str
    network = TextField()
    began_at = BigIntegerField()
    uploads = IntegerField()

    class Meta:
        table_name = "anonymous_begun"
        primary_key = CompositeKey("project", "network", "began_at")


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
