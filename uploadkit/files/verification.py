"""Is what the store has what was declared? No file is UPLOADED that was not held against this."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import psutil

from uploadkit.context import Context
from uploadkit.core.errors import FileTypeNotAllowed, UploadKitError, UploadNotVerified
from uploadkit.core.first_bytes import as_it_is, contradiction, recognised, with_charset
from uploadkit.core.media_types import PLAYLIST, UNKNOWN, in_words, is_allowed, is_unknown, strict
from uploadkit.core.sizes import MIB
from uploadkit.db.models import File
from uploadkit.objectstore.boto import AccessDenied
from uploadkit.objectstore.objects import StoredObject
from uploadkit.projects import file_routes

_READ_BYTES = MIB
# Between the machine's start and the first upload pass some seconds, and clocks are set about then.
_AFTER_START_MS = 60_000
_SEND_FIRST = "PUT the bytes to uploadUrl, wait for its 200, then complete again; uploadUrl is good until expiresAt"


class NotInStorage(UploadNotVerified):
    """Nothing is there to look at. The upload stays as it is: the PUT may still be under way, or permissions be set right."""


def head(ctx: Context, key: str) -> StoredObject | None:
    """Return what is in storage.

    Raises NotInStorage where we may not look.
    """
    try:
        return ctx.store.head(key)
    except AccessDenied:
        raise NotInStorage(
            "The store answers 403 for the object: it is not there, or the appliance may not read it",
            "PUT the bytes first, then complete again; if that was done, give the appliance's credentials s3:GetObject",
        ) from None


def require_readable(ctx: Context, file: File, stored: StoredObject) -> None:
    """Read the object whole if parts of it may have come before this machine started, whose store is the bundled one.

    A power cut can leave the entry of a part without its bytes, and joining the parts reads none of them. Raises StorageUnavailable.
    """
    if ctx.config.storage.mode == "bundled" and file.created_at < started_at_ms() + _AFTER_START_MS:
        for _ in ctx.store.read(file.key, stored.etag, 0, stored.size_bytes, _READ_BYTES):
            pass


def started_at_ms() -> int:
    """Return when this machine started, by the clock that is shown."""
    return int(psutil.boot_time() * 1000)


@dataclass(frozen=True)
class Refusal:
    """Why an upload is not what was declared: `message` for the person in front of the page, `suggestion` for the developer.

    `code` is that of the error to answer.
    """

    message: str
    suggestion: str = ""
    code: str = UploadNotVerified.code

    @classmethod
    def read(cls, kept: str | None) -> Refusal:
        """Read one that was kept as text."""
        return cls(*(kept or "").split("\n", 2))

    def __str__(self) -> str:
        """The text to keep of it: a line for each, as far as needed."""
        return "\n".join((self.message, self.suggestion, self.code)).removesuffix(f"\n{UploadNotVerified.code}").rstrip("\n")

    @property
    def error(self) -> UploadKitError:
        """What to raise."""
        kind = FileTypeNotAllowed if self.code == FileTypeNotAllowed.code else UploadNotVerified
        return kind(self.message, ". ".join(filter(None, (self.suggestion, "Start again with POST /api/v1/upload/request"))))


def for_history(message: str) -> str:
    """Return the first two lines of why an upload failed as one: what happened, and what a developer may do."""
    return ". ".join(filter(None, message.split("\n")[:2]))


def verdict(file: File, stored: StoredObject | None) -> str | Refusal:
    """Return the media type of a stored object, to be recorded and served; a Refusal when it is not what was declared.

    Raises NotInStorage for a single upload that has not arrived. Parts that are gone never come again: that is a Refusal.
    What the store says of its type decides nothing: some guess it from the key, and what is served is ours in any case.
    """
    if stored is None:
        if file.is_multipart:
            return Refusal("The object is not in storage: its parts are gone")
        raise NotInStorage("The file is not in storage yet", _SEND_FIRST)
    if stored.size_bytes != file.size_bytes:
        return Refusal(
            "What arrived has another size than the file that was chosen. Was it changed meanwhile?",
            f"The object in storage has {stored.size_bytes} bytes, {file.size_bytes} were declared",
        )
    judged = _type_of(file, stored.first_bytes)
    if isinstance(judged, Refusal):
        return judged
    return with_charset(judged, stored.first_bytes, whole=len(stored.first_bytes) == stored.size_bytes)


def _type_of(file: File, first_bytes: bytes) -> str | Refusal:
    """Return what a file is: what was declared, unless that is unknown, or its first bytes plainly are of something else."""
    route = file_routes.route_of(file)
    kept, allowed = strict(file.content_type), ["*/*"] if route is None else route.allowed_types
    declared = declared_type(file)
    rather = as_it_is(kept, first_bytes)
    is_playlist = rather == PLAYLIST  # not shown as a video: a player would follow the addresses in it
    found = contradiction(kept, first_bytes) if route is None or route.verify_content else None
    if is_unknown(declared):
        seen = rather or found or (kept if kept != UNKNOWN else recognised(first_bytes))
        possible = (seen, kept if found is None and not is_playlist else None, UNKNOWN)
        return next((kind for kind in possible if kind and is_allowed(kind, allowed)), None) or _not_taken(file, seen, allowed)
    if rather is not None and is_allowed(rather, allowed):
        return rather
    if found is None and not is_playlist:
        return kept
    if rather is not None:
        return _not_taken(file, rather, allowed)
    assert found is not None
    return Refusal(
        f"This looks like {in_words(found)}, not {_other_than(found, kept)}",
        f"The file begins like {found}, {declared!r} was declared; where that is meant, "
        f"switch the check of first bytes (verifyContent) off on file route '{file.route_slug}'",
    )


def declared_type(file: File) -> str:
    """Return the media type as the client wrote it, which its PUT has to repeat; "" where it declared none."""
    if not file.type_declared:
        return ""
    return str(file.content_type if file.declared_type is None else file.declared_type)


def _not_taken(file: File, seen: str | None, allowed: Sequence[str]) -> Refusal:
    looks = "Files of unknown type" if seen is None else f"This looks like {in_words(seen)} ({seen}), and that"
    return Refusal(
        f"{looks} can't be uploaded here",
        f"File route '{file.route_slug}' takes {', '.join(allowed)}; send another file or change its allowedTypes",
        FileTypeNotAllowed.code,
    )


def _other_than(found: str, declared: str) -> str:
    """Return what was declared in a person's words, told from what was found."""
    words = in_words(declared)
    return words if words != in_words(found) else f"{words} of type {declared}"
