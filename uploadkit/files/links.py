"""The URLs that read a file: signed links with an expiry, and the store's own behind these and the lasting one.

A signed link is checked at each use: signature, expiry, and that the file still is UPLOADED. The answer never says what is wrong with one.
"""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass
from typing import Literal

from uploadkit.auth.callers import Caller
from uploadkit.context import Context
from uploadkit.core import clock
from uploadkit.core.errors import Conflict, NotFound
from uploadkit.core.media_types import strict
from uploadkit.db import key_value
from uploadkit.db.connection import write
from uploadkit.db.models import File
from uploadkit.files import service as files
from uploadkit.files.naming import display_name, disposition, is_inline
from uploadkit.files.queries import files as queries
from uploadkit.objectstore.address import object_url

LONGEST_LINK_SECONDS = 7 * 86400
_SECRET_NAME = "link_secret"  # noqa: S105
# A link in its last second must still leave the time to follow its redirect.
_SHORTEST_READ_SECONDS = 5


@dataclass(frozen=True)
class Link:
    """A signed link and when it ends (milliseconds since the epoch)."""

    url: str
    expires_at: int


@dataclass(frozen=True)
class SignedLinkRequest:
    """What a request to `/f/` says it may do: `expires` in seconds since the epoch, and our signature over it."""

    expires: str
    signature: str
    download: bool


def make_link(ctx: Context, caller: Caller, key: str, expires_seconds: int, *, download: bool) -> Link:
    """Return a link that reads a file, public or private, for `expires_seconds` from now; `download` has browsers save it, not show it.

    Raises NotFound, and Conflict for a file that is not UPLOADED.
    """
    file = files.find_file(caller, key)
    if file.status != "UPLOADED":
        raise Conflict(f"This file is {file.status}; only an UPLOADED one can be read", "Complete its upload first")
    expires = -(-clock.now_ms() // 1000) + expires_seconds
    query = f"expires={expires}&signature={_signature(file.key, str(expires), download)}" + ("&download=1" if download else "")
    return Link(f"{object_url(f'{ctx.config.server.base_url}/f', file.key)}?{query}", expires * 1000)


def read_url(ctx: Context, key: str, method: Literal["GET", "HEAD"], signed: SignedLinkRequest | None, *, for_script: bool = False) -> str:
    """Return the store's URL for reading an UPLOADED file: a public one, or any one by a `signed` link that is genuine.

    The URL `for_script` is another one than that for an `<img>`: what the browser has kept from a store that does not say `Vary: Origin`
    to the one has no CORS headers, and would be refused to the other. Raises NotFound, whatever the reason.
    """
    seconds = ctx.config.storage.read_expires_seconds
    if signed is not None:
        seconds = min(seconds, max(_seconds_left(key, signed), _SHORTEST_READ_SECONDS))
    file = queries.find_readable(key)
    if file is None or (signed is None and file.visibility != "public"):
        raise _nothing()
    content_type = strict(file.content_type)  # an old row has what its client declared
    download = signed is not None and signed.download
    content_disposition = (
        None if not download and _shows_itself(file, content_type) else disposition(file.file_name, content_type, download=download)
    )
    return ctx.store.presign_read(method, file.key, content_type, content_disposition, seconds, for_script=for_script)


def _shows_itself(file: File, content_type: str) -> bool:
    """Whether the object has the disposition that it is to be shown with: `inline`, and the name. Then the URL need not carry it.

    It never is so of what has to be saved, nor of uploads in parts, whose object was begun before anybody knew what it is; nor of a name
    that is cut, which an object of a version before has whole.
    """
    is_whole = display_name(file.file_name) == file.file_name
    return is_whole and not file.is_multipart and content_type == file.content_type and is_inline(content_type)


def _seconds_left(key: str, signed: SignedLinkRequest) -> int:
    """How long a signed link still holds. Raises NotFound when it does not, or never did."""
    genuine = hmac.compare_digest(signed.signature.encode(), _signature(key, signed.expires, signed.download).encode())
    left = int(signed.expires) - clock.now_ms() // 1000 if genuine else 0
    if left <= 0:
        raise _nothing()
    return left


def _signature(key: str, expires: str, download: bool) -> str:
    return hmac.digest(_secret(), f"link\n{expires}\n{download:d}\n{key}".encode(), "sha256").hex()


def _secret() -> bytes:
    """The appliance's own secret for links, made at the first one. It is in the database, so that a restored backup keeps links alive."""
    found = _read_secret()
    if found is None:
        with write():
            key_value.put_first(_SECRET_NAME, secrets.token_hex(32))
        found = _read_secret()
    assert found is not None
    return found


def _read_secret() -> bytes | None:
    kept = key_value.get(_SECRET_NAME)
    return None if kept is None else bytes.fromhex(kept)


def _nothing() -> NotFound:
    return NotFound("There is no such file, or it is not public")
