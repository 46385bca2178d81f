"""Single uploads through the services, with the clock in our hand."""

from __future__ import annotations

from tests.conftest import App
from uploadkit.auth.callers import Caller
from uploadkit.db.models import File
from uploadkit.files import single_upload
from uploadkit.files.single_upload import UploadRequest, UploadSlot


def request(app: App, caller: Caller, content: bytes = b"12345") -> UploadSlot:
    return single_upload.request_upload(app.ctx, caller, UploadRequest("a.jpg", len(content), "image/jpeg", "default", {}))


def upload(app: App, caller: Caller, content: bytes = b"12345") -> File:
    """A file of the present moment of the held clock; the store only takes what is signed now."""
    slot = request(app, caller, content)
    app.ctx.store._client.put_object(Bucket=app.ctx.store.address.bucket, Key=slot.file.pending_key, Body=content, ContentType="image/jpeg")
    return single_upload.complete_upload(app.ctx, caller, slot.file.id, {})
