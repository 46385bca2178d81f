"""The tables as Python sees them. No verbs here: what reads and changes rows is in each package's queries.

The schema itself is made by `migrations/*.sql`; a test keeps the two equal. Times are milliseconds since the epoch, UTC.
"""

from __future__ import annotations

from uploadkit.db.models.appliance import Admin, AdminSession, Audit, Setting, SetupLink
from uploadkit.db.models.base import Table, database
from uploadkit.db.models.files import NUMBER_BITS, Event, EventForgotten, File, RequestCount, Usage
from uploadkit.db.models.projects import AnonymousBegun, ApiKey, FileRoute, Idempotency, Project, UploadToken, UploadTokenRoute
from uploadkit.db.models.webhooks import WebhookAttempt, WebhookDelivery, WebhookDestination, WebhookSecret

__all__ = [
    "NUMBER_BITS",
    "Admin",
    "AdminSession",
    "AnonymousBegun",
    "ApiKey",
    "Audit",
    "Event",
    "EventForgotten",
    "File",
    "FileRoute",
    "Idempotency",
    "Project",
    "RequestCount",
    "Setting",
    "SetupLink",
    "Table",
    "UploadToken",
    "UploadTokenRoute",
    "Usage",
    "WebhookAttempt",
    "WebhookDelivery",
    "WebhookDestination",
    "WebhookSecret",
    "database",
]
