"""Uploads that are complete as far as the rows go."""

from __future__ import annotations

from tests.conftest import App
from uploadkit.auth import api_keys
from uploadkit.db.models import File
from uploadkit.files import lifecycle, single_upload


def completed(app: App, caller: api_keys.Caller | None = None, slug: str = "default") -> File:
    """An upload that is complete, as far as the rows go."""
    request = single_upload.UploadRequest("a.jpg", 5, "image/jpeg", slug, {"by": "ann"})
    file = single_upload.request_upload(app.ctx, caller or app.caller, request).file
    return lifecycle.finish(app.ctx, file, "etag", file.content_type, {}, sweep_at=None)
