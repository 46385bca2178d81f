"""The outbox of webhooks: destinations, deliveries, attempts, secrets."""

from __future__ import annotations

from peewee import BigIntegerField, BooleanField, ForeignKeyField, IntegerField, JSONField, TextField

from uploadkit.db.models.base import Table
from uploadkit.db.models.projects import Project


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
