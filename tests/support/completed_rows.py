"""Uploads that are complete as far as the rows go."""

from __future__ import annotations

from tests.conftest import House
from uploadkit.auth import api_keys
from uploadkit.db.models import File
from uploadkit.files import lifecycle, single_upload


def completed(house: House, caller: api_keys.Caller | None = None, slug: str = "default") -> File:
    """An upload that is complete, as far as the rows go."""
    request = single_upload.UploadRequest("a.jpg", 5, "image/jpeg", slug, {"by": "ann"})
    file = single_upload.request_upload(house.ctx, caller or house.caller, request).file
    return lifecycle.finish(house.ctx, file, "etag", file.content_type, {}, sweep_at=None)
