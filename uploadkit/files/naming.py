"""File names and metadata: what may stand in keys, headers and rows. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import orjson

from uploadkit.core.errors import ValidationFailed
from uploadkit.core.media_types import INLINE, essence, strict

MAX_METADATA_BYTES = 8 * 1024
MAX_SAFE_NAME_BYTES = 200
# What file systems hold, and more than any of them shows. In a header each of these is up to 3 bytes, in a URL that carries it up to 5: S3
# takes 2 KB of metadata, nginx an answer's headers of 4 KB.
MAX_DISPLAY_NAME_BYTES = 255
_JOINER = "\u200d"
_EXTENSION = re.compile(r"[A-Za-z0-9]{1,20}")


def safe_name(file_name: str) -> str:
    """Return the part of `file_name` that is safe in an object key: ASCII letters, digits, `.`, `_` and `-`; no leading dot,
    never empty, at most 200 bytes with the extension kept. The original name lives on in the database.
    """
    plain = unicodedata.normalize("NFKD", file_name).encode("ascii", "ignore").decode()
    stem, dot, extension = plain.rpartition(".")
    if not dot or not _EXTENSION.fullmatch(extension):
        stem, extension = plain, ""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip(".-")
    stem = stem[: MAX_SAFE_NAME_BYTES - len(extension) - 1] or "file"
    return f"{stem}.{extension}" if extension else stem


def display_name(file_name: str) -> str:
    """Return `file_name` cut to 255 bytes as UTF-8, with its ending, and not within what people see as one character."""
    if len(file_name.encode()) <= MAX_DISPLAY_NAME_BYTES:
        return file_name
    stem, dot, extension = file_name.rpartition(".")
    if not (stem and _EXTENSION.fullmatch(extension)):
        stem, dot, extension = file_name, "", ""
    room = MAX_DISPLAY_NAME_BYTES - len(f"{dot}{extension}".encode())
    end = len(stem.encode()[:room].decode(errors="ignore"))
    least = max(0, end - 32)  # a heap of marks on one letter is cut
    while end > least and (_continues(stem[end]) or stem[end - 1] == _JOINER):
        end -= 1
    return f"{stem[: end if end > least else least + 32]}{dot}{extension}"


def _continues(character: str) -> bool:
    """Say whether a character belongs to the one before it: marks, joiners, skin tones, Hangul vowels and finals."""
    return (
        unicodedata.category(character) in ("Mn", "Me", "Mc")
        or character == _JOINER
        or "\U0001f3fb" <= character <= "\U0001f3ff"
        or "\u1160" <= character <= "\u11ff"
    )


def is_inline(content_type: str) -> bool:
    """Say whether browsers may show a file of this type, and not only save it: never what they would execute."""
    return essence(strict(content_type)) in INLINE


def disposition(file_name: str, content_type: str, *, download: bool = False) -> str:
    """Return a Content-Disposition that carries the original name (RFC 6266, RFC 8187).

    Only what a browser shows without executing it is `inline` (media_types.INLINE): HTML, SVG, XML, JavaScript and anything that is
    not on that list is an `attachment`. `content_type` is the one that is served. A name over 255 bytes as UTF-8 is cut, its ending kept.
    """
    file_name = display_name(file_name)
    kind = "inline" if not download and is_inline(content_type) else "attachment"
    decomposed = "".join(c for c in unicodedata.normalize("NFKD", file_name) if not unicodedata.combining(c))
    fallback = re.sub(r"[^A-Za-z0-9 !#$&+.^_`{}~()\[\],;=@-]", "_", decomposed)
    return f"{kind}; filename=\"{fallback}\"; filename*=UTF-8''{quote(file_name, safe='!#$&+-.^_`|~')}"


def merged_metadata(present: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return `changes` laid over `present`. Raises ValidationFailed when the result is over 8 KiB as JSON."""
    merged = {**present, **changes}
    size = len(orjson.dumps(merged))
    if size > MAX_METADATA_BYTES:
        raise ValidationFailed(
            f"metadata has {size} bytes as JSON, {MAX_METADATA_BYTES} are allowed",
            "Keep large things in a file and only their key in metadata",
            details={"metadata": [f"must have at most {MAX_METADATA_BYTES} bytes as JSON"]},
        )
    return merged
