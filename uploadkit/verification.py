"""Is what the store has what was declared? No file is UPLOADED that was not held against this (api.md section 6)."""

from __future__ import annotations

from uploadkit import file_routes
from uploadkit.context import Context
from uploadkit.errors import UploadNotVerified
from uploadkit.media_types import contradiction, same_type
from uploadkit.models import File
from uploadkit.storage.s3_client import AccessDenied
from uploadkit.storage.stored import StoredObject


def look_at(ctx: Context, key: str) -> StoredObject | None:
    """Return what is in storage.

    Raises UploadNotVerified where we may not look, and leaves the upload as it is: permissions can be mended.
    """
    try:
        return ctx.store.look_at(key)
    except AccessDenied:
        raise UploadNotVerified(
            "The store answers 403 for the object: it is not there, or the appliance may not read it",
            "PUT the bytes first, then complete again; if that was done, give the appliance's credentials s3:GetObject",
        ) from None


def difference(file: File, stored: StoredObject | None) -> str | None:
    """Say in one sentence in what the stored object is not what was declared; None when it is."""
    if stored is None:
        sent = "its parts are gone" if file.is_multipart else "the PUT to uploadUrl did not happen or did not succeed"
        return f"The object is not in storage: {sent}"
    if stored.size_bytes != file.size_bytes:
        return f"The object in storage has {stored.size_bytes} bytes, {file.size_bytes} were declared"
    if file.type_declared and not same_type(stored.content_type, file.content_type):
        return f"The object in storage has the type {stored.content_type!r}, {file.content_type!r} was declared"
    found = contradiction(file.content_type, stored.first_bytes)
    if found is not None and file_routes.verifies_content(file):
        return (
            f"The file begins like {found}, {file.content_type!r} was declared; where that is meant, "
            f"switch the check of first bytes (verifyContent) off on file route '{file.route_slug}'"
        )
    return None
