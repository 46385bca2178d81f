"""Files whose bytes a check can read again, single and in parts."""

from __future__ import annotations

import os

from tests.conftest import App
from tests.support.stored import put
from uploadkit.core.sizes import MIB
from uploadkit.db.models import File
from uploadkit.files import multipart_upload, single_upload
from uploadkit.files.single_upload import UploadRequest

SINGLE_BYTES = 6000


def single(app: App, content: bytes) -> File:
    slot = single_upload.request_upload(app.ctx, app.caller, UploadRequest("a", len(content), "image/jpeg", "default", {}))
    assert put(slot.upload_url, content) == 200
    return single_upload.complete_upload(app.ctx, app.caller, slot.file.id, {})


def in_parts(app: App, *contents: bytes) -> File:
    size = sum(map(len, contents))
    slot = multipart_upload.start_multipart(app.ctx, app.caller, UploadRequest("b", size, "video/mp4", "default", {}))
    for part, content in zip(slot.part_urls, contents, strict=True):
        assert put(part.upload_url, content, None) == 200
    return multipart_upload.complete_multipart(app.ctx, app.caller, slot.file.id, slot.file.upload_id or "", None, {})


def jpeg(mark: bytes = b"") -> bytes:
    return b"\xff\xd8\xff\xe0" + os.urandom(SINGLE_BYTES // 2) + mark + os.urandom(SINGLE_BYTES // 2)


def film(mark: bytes = b"") -> tuple[bytes, bytes, bytes]:
    return (b"\x00\x00\x00\x20ftypisom" + os.urandom(5 * MIB - 12), mark + os.urandom(5 * MIB - len(mark)), b"end")
