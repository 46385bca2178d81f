"""Media types: what a client may declare, which of it is kept, how types compare. Pure.

What a client declares is signed as it wrote it, and never kept or served so (`strict`). Names and endings are in `client/media_types.py`,
what the bytes say in `first_bytes.py`. Sources: RFC 9110 section 8.3, WHATWG MIME Sniffing.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from functools import lru_cache

from uploadkit.client.media_types import UNKNOWN as UNKNOWN
from uploadkit.client.media_types import canonical, type_of_name

_WORD = r"[A-Za-z0-9!#$%&'+.^_`|~-]+"
# What a client may declare: type and subtype, then whatever parameters browsers write, in printable ASCII. Their grammar (RFC 9110
# section 8.3.1) is no business of ours, since only what `strict` knows of them is kept; but a comma makes a list of it for whoever
# reads the header, so no second type may follow one. Every character has one place in these patterns: they take linear time.
DECLARED = re.compile(rf" *{_WORD}/{_WORD} *(;[ -+\--~]*(,[ -.0-~]*)?)?")
# What a file route may allow, and what a list may be asked for.
RANGE = re.compile(rf"\*/\*|{_WORD}/(\*|{_WORD})")
_ESSENCE = re.compile(rf"{_WORD}/{_WORD}")
_CHARSET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+-]{0,39}")
_CODECS = re.compile(r"[A-Za-z0-9][A-Za-z0-9., _+-]{0,99}")
_WITH_CODECS = ("audio/", "video/")
_WITH_CHARSET = ("text/", "application/")

# All that a browser may show by itself. None of these can run a script: no markup, nothing that browsers guess further from.
INLINE = frozenset(
    {
        "image/png",
        "image/apng",
        "image/jpeg",
        "image/gif",
        "image/webp",
        "image/avif",
        "image/bmp",
        "image/x-icon",
        "image/tiff",
        "image/jxl",
        "image/jp2",
        "image/heic",
        "image/heif",
        "image/heic-sequence",
        "image/heif-sequence",
        "video/mp4",
        "video/webm",
        "video/ogg",
        "video/quicktime",
        "video/mpeg",
        "video/mp2t",
        "video/x-matroska",
        "video/x-msvideo",
        "video/3gpp",
        "video/3gpp2",
        "audio/mpeg",
        "audio/mp4",
        "audio/aac",
        "audio/ogg",
        "audio/webm",
        "audio/wav",
        "audio/flac",
        "audio/midi",
        "audio/aiff",
        "audio/x-matroska",
        "audio/amr",
        "audio/3gpp",
        "audio/3gpp2",
        "application/ogg",
        "application/pdf",
        "text/plain",
    }
)
# HTTP Live Streaming (RFC 8216). Players go by its first bytes and follow the addresses in it, whatever it is called.
PLAYLIST = "application/vnd.apple.mpegurl"
PACKED = frozenset({"application/gzip", "application/x-bzip2", "application/x-xz", "application/zstd"})
ARCHIVES = PACKED | {"application/zip", "application/x-7z-compressed", "application/vnd.rar", "application/x-tar"}
_BY_NAME = (UNKNOWN, "application/vnd.ms-excel")


def essence(content_type: str) -> str:
    """Return a media type without its parameters, in lower case."""
    return content_type.partition(";")[0].strip().lower()


@lru_cache(maxsize=512)
def strict(content_type: str) -> str:
    """Return what is kept and served of a media type, whoever wrote it: its one name, `charset` as a token, `codecs` of audio and video.

    What is no media type at all is `application/octet-stream`. Written as WHATWG MIME Sniffing section 4.5 has it.
    """
    name = canonical(essence(content_type))
    if not _ESSENCE.fullmatch(name):
        return UNKNOWN
    given = dict(reversed(list(_parameters(content_type.partition(";")[2][:255]))))  # of several, the first one counts
    charset, codecs = given.get("charset", ""), given.get("codecs", "")
    if name.startswith(_WITH_CODECS) and _CODECS.fullmatch(codecs):
        return f'{name};codecs="{codecs}"' if set(codecs) & {",", " "} else f"{name};codecs={codecs}"
    if name.startswith(_WITH_CHARSET) and name != UNKNOWN and _CHARSET.fullmatch(charset):
        return f"{name};charset={charset.lower()}"
    return name


def _parameters(text: str) -> Iterator[tuple[str, str]]:
    """Yield the parameters of a media type as lenient readers see them: quotes may be missing, and so may anything else."""
    at = 0
    while at < len(text):
        end = _first_of(text, ";", at)
        equals = text.find("=", at, end)
        if equals < 0:
            at = end + 1
            continue
        name, at = text[at:equals].strip(" ").lower(), equals + 1
        while text[at : at + 1] == " ":
            at += 1
        if text[at : at + 1] == '"':
            close = _first_of(text, '"', at + 1)  # no value that is kept has a backslash in it
            value, end = text[at + 1 : close], _first_of(text, ";", close)
        else:
            end = _first_of(text, ";", at)
            value = text[at:end].strip(" ")
        yield name, value
        at = end + 1


def _first_of(text: str, character: str, start: int) -> int:
    """Return where `character` stands first from `start` on; the end of `text` when it does not."""
    found = text.find(character, start)
    return len(text) if found < 0 else found


def is_unknown(declared: str) -> bool:
    """Say whether a client that declares this says no more than that it does not know: "", `application/octet-stream` and its like."""
    return not declared or canonical(essence(declared)) == UNKNOWN


def recorded(declared: str, file_name: str) -> str:
    """Return the media type to keep for what a client declares ("": nothing), as long as nobody has seen the bytes.

    The ending of the name decides where the client does not know, and where a type is a habit: Windows calls CSV a spreadsheet of Excel.
    """
    kept = strict(declared)
    if kept not in _BY_NAME:
        return kept
    by_name = type_of_name(file_name)
    if kept == UNKNOWN:
        return by_name or UNKNOWN
    return by_name if by_name == "text/csv" else kept


def is_allowed(content_type: str, allowed_types: Collection[str]) -> bool:
    """Say whether a media type, by whichever of its names, is one of `allowed_types`, such as `image/*`."""
    if "*/*" in allowed_types:
        return True
    named = essence(content_type)
    first = canonical(named)
    ranges = {"*/*", f"{named.partition('/')[0]}/*", f"{first.partition('/')[0]}/*"}
    return any(allowed in ranges or canonical(allowed) == first for allowed in map(str.lower, allowed_types))


_NOUNS = {
    "application/pdf": "a PDF",
    "image/svg+xml": "an SVG drawing",
    "text/html": "a web page",
    "text/plain": "plain text",
    "application/xml": "XML",
    PLAYLIST: "a playlist",
    "audio/mpegurl": "a playlist",
    "application/x-php": "a program",
    "text/x-shellscript": "a program",
    "application/x-executable": "a program",
    "application/x-mach-binary": "a program",
    "application/java-vm": "a program",
    "application/wasm": "a program",
    "application/vnd.microsoft.portable-executable": "a program",
    "application/x-ole-storage": "an Office document",
    "application/vnd.sqlite3": "a database",
    "application/vnd.ms-cab-compressed": "an archive",
}
_NOUNS_OF_KINDS = {"image": "a picture", "video": "a film", "audio": "a sound recording", "text": "text"}


def in_words(content_type: str) -> str:
    """Return what a person calls a file of this media type, such as "a picture"."""
    name = canonical(essence(content_type))
    if noun := _NOUNS.get(name) or _NOUNS_OF_KINDS.get(name.partition("/")[0]):
        return noun
    return "an archive" if name in ARCHIVES else f"a file of type {name}"
