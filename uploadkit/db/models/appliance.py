"""What belongs to the appliance as a whole: who may use the dashboard, the audit trail, facts that outlive a restart."""

from __future__ import annotations

from peewee import BigIntegerField, ForeignKeyField, JSONField, TextField

from uploadkit.db.models.base import Table


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


class Setting(Table):
    """Facts about this appliance that outlive a restart and are no configuration."""

    name = TextField(primary_key=True)
    value = TextField()
