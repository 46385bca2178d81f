"""Media types: how they compare, and what the first bytes of a file plainly say about its own. Pure.

Only what is recognised counts as evidence: bytes that nothing here knows never contradict a type, so that a format we have not heard of
passes (docs/decisions/0012-first-bytes.md). Sources: WHATWG MIME Sniffing section 6, and the formats' own specifications.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_WORD = r"[A-Za-z0-9!#$%&'+.^_`|~-]+"
# What a client may declare: type and subtype, then whatever parameters browsers write, in printable ASCII. Their grammar (RFC 9110
# section 8.3.1) is no business of ours, since only what `recorded` knows of them is kept; but a comma makes a list of it for whoever
# reads the header, so no second type may follow one. Every character has one place in these patterns: they take linear time.
DECLARED = re.compile(rf" *{_WORD}/{_WORD} *(;[ -+\--~]*(,[ -.0-~]*)?)?")
# What a file route may allow, and what a list may be asked for.
RANGE = re.compile(rf"\*/\*|{_WORD}/(\*|{_WORD})")

# (offset, first bytes there, what it is). The more specific ones come first.
_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (257, b"ustar", "application/x-tar"),  # before it stands the name of the first file, which may look like anything
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"GIF87a", "image/gif"),
    (0, b"GIF89a", "image/gif"),
    (0, b"II*\x00", "image/tiff"),
    (0, b"MM\x00*", "image/tiff"),
    (0, b"\x00\x00\x01\x00", "image/x-icon"),
    (0, b"8BPS\x00", "image/vnd.adobe.photoshop"),
    (0, b"%PDF-", "application/pdf"),
    (0, b"\x1aE\xdf\xa3", "video/webm"),
    (0, b"OggS\x00", "application/ogg"),
    (0, b"fLaC", "audio/flac"),
    (0, b"ID3", "audio/mpeg"),
    (0, b"MThd\x00\x00", "audio/midi"),
    (0, b"FLV\x01", "video/x-flv"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "video/x-ms-asf"),
    (0, b"PK\x03\x04", "application/zip"),
    (0, b"PK\x05\x06", "application/zip"),
    (0, b"\x1f\x8b\x08", "application/gzip"),
    (0, b"BZh", "application/x-bzip2"),
    (0, b"\xfd7zXZ\x00", "application/x-xz"),
    (0, b"\x28\xb5\x2f\xfd", "application/zstd"),
    (0, b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (0, b"Rar!\x1a\x07", "application/vnd.rar"),
    (0, b"\x7fELF", "application/x-executable"),
    (0, b"\xcf\xfa\xed\xfe", "application/x-mach-binary"),
    (0, b"\xce\xfa\xed\xfe", "application/x-mach-binary"),
    (0, b"\xfe\xed\xfa", "application/x-mach-binary"),
    (0, b"\xca\xfe\xba\xbe", "application/java-vm"),
    (0, b"\x00asm", "application/wasm"),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "application/x-ole-storage"),
    (0, b"MSCF\x00\x00", "application/vnd.ms-cab-compressed"),
    (0, b"SQLite format 3\x00", "application/vnd.sqlite3"),
)
_RIFF = {b"WEBP": "image/webp", b"WAVE": "audio/wav", b"AVI ": "video/x-msvideo"}
_ISO_BRANDS = {b"avif": "image/avif", b"avis": "image/avif", b"heic": "image/heic", b"heix": "image/heic", b"mif1": "image/heif"}
_MARKUP = (
    (
        re.compile(rb"(<!doctype html|<(html|head|body|script|iframe|style|title|table|div|h1|p|a|br|!--)[\s>/])", re.IGNORECASE),
        "text/html",
    ),
    (re.compile(rb"<svg[\s>]", re.IGNORECASE), "image/svg+xml"),
    (re.compile(rb"<\?xml\s", re.IGNORECASE), "text/xml"),
    (re.compile(rb"<\?php\s", re.IGNORECASE), "application/x-php"),
    (re.compile(rb"#!\s*/"), "text/x-shellscript"),
)
# Printable bytes alone prove little; words do.
_WORDS = re.compile(rb"\S\s+\S")
_BYTES_OF_NO_TEXT = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")

# What may stand in a file of the type on the left; images, video and audio that are not named here are in _KINDS below.
_OGG = frozenset({"application/ogg"})
_ISO = frozenset({"video/mp4", "image/heif"})
_HEIF = frozenset({"image/heic", "image/heif", "image/avif"})
_SVG = frozenset({"image/svg+xml", "text/xml", "text/html", "text/plain", "application/gzip"})
_CONTENTS: Mapping[str, frozenset[str]] = {
    **{name: frozenset({"image/png"}) for name in ("image/png", "image/apng", "image/x-png", "image/vnd.mozilla.apng")},
    **{name: frozenset({"image/jpeg"}) for name in ("image/jpeg", "image/jpg", "image/pjpeg")},
    **{name: frozenset({name}) for name in ("image/gif", "image/webp", "image/tiff", "application/pdf", "application/zip")},
    **dict.fromkeys(("audio/flac", "audio/x-flac"), frozenset({"audio/flac", "application/ogg", "audio/mpeg"})),  # tags of MP3 before it
    **dict.fromkeys(("image/bmp", "image/x-ms-bmp", "image/x-bmp"), frozenset({"image/bmp"})),
    **dict.fromkeys(
        ("image/x-icon", "image/vnd.microsoft.icon"), frozenset({"image/x-icon", "image/png", "image/bmp", "image/gif", "image/jpeg"})
    ),
    **dict.fromkeys(("image/avif", "image/heic", "image/heif", "image/heic-sequence", "image/heif-sequence"), _HEIF | _ISO),
    "image/svg+xml": _SVG,
    **dict.fromkeys(("video/mp4", "audio/mp4", "audio/x-m4a", "video/x-m4v", "video/quicktime", "video/3gpp", "video/3gpp2"), _ISO),
    **dict.fromkeys(("video/webm", "audio/webm", "video/x-matroska", "audio/x-matroska"), frozenset({"video/webm"})),
    **dict.fromkeys(("video/ogg", "audio/ogg", "audio/opus", "application/ogg"), _OGG),
    **dict.fromkeys(("audio/mpeg", "audio/mp3"), frozenset({"audio/mpeg", "audio/wav"})),
    **dict.fromkeys(("audio/aac", "audio/x-aac"), frozenset({"audio/mpeg", "video/mp4"})),
    **dict.fromkeys(("video/x-msvideo", "video/avi", "video/msvideo"), frozenset({"video/x-msvideo"})),
    **dict.fromkeys(
        ("video/x-ms-wmv", "video/x-ms-asf", "audio/x-ms-wma"), frozenset({"video/x-ms-asf", "text/plain", "text/xml"})
    ),  # playlists are called so, too
    "video/x-flv": frozenset({"video/x-flv"}),
    **dict.fromkeys(("audio/wav", "audio/x-wav", "audio/wave", "audio/vnd.wave"), frozenset({"audio/wav", "audio/mpeg"})),
    "application/x-zip-compressed": frozenset({"application/zip"}),
    **dict.fromkeys(("application/gzip", "application/x-gzip"), frozenset({"application/gzip"})),
    **dict.fromkeys(("application/x-bzip2", "application/x-bzip"), frozenset({"application/x-bzip2"})),
    "application/x-xz": frozenset({"application/x-xz"}),
    "application/zstd": frozenset({"application/zstd"}),
    "application/x-7z-compressed": frozenset({"application/x-7z-compressed"}),
    **dict.fromkeys(("application/vnd.rar", "application/x-rar-compressed", "application/x-rar"), frozenset({"application/vnd.rar"})),
    "application/x-tar": frozenset(
        {"application/x-tar", "application/gzip", "application/x-bzip2", "application/x-xz", "application/zstd"}
    ),
}
# For the less common formats: what of their own kind, or plain text (playlists, pixmaps), may stand in them.
_KINDS: Mapping[str, re.Pattern[str]] = {
    "image": re.compile(r"image/.*|video/mp4|text/plain|text/xml|application/gzip|application/zip|application/x-ole-storage"),
    "video": re.compile(r"video/.*|audio/.*|application/ogg|text/plain|text/xml"),
    "audio": re.compile(r"video/.*|audio/.*|application/ogg|text/plain|text/xml"),
}


def essence(content_type: str) -> str:
    """Return a media type without its parameters, in lower case."""
    return content_type.partition(";")[0].strip().lower()


def same_type(one: str, other: str) -> bool:
    """Say whether two Content-Type values are equal but for white space and case."""
    return " ".join(one.split()).lower() == " ".join(other.split()).lower()


def is_allowed(content_type: str, allowed_types: list[str]) -> bool:
    """Say whether the essence of `content_type` matches one of `allowed_types`, such as `image/*`."""
    named = essence(content_type)
    main_type = named.partition("/")[0]
    return any(allowed.lower() in (named, f"{main_type}/*", "*/*") for allowed in allowed_types)


def recognised(first_bytes: bytes) -> str | None:
    """Return the media type that a file's first bytes (some 4 KiB, or the whole of a smaller file) plainly are of; None when unsure."""
    if first_bytes[4:8] == b"ftyp":  # before it stands a length, which may look like anything
        return _ISO_BRANDS.get(first_bytes[8:12], "video/mp4")
    for offset, signature, media_type in _SIGNATURES:
        if first_bytes.startswith(signature, offset):
            return media_type
    if first_bytes[:2] == b"MZ" and b"\x00" in first_bytes[2:64]:
        return "application/vnd.microsoft.portable-executable"
    if first_bytes[:2] == b"BM" and first_bytes[6:10] == b"\x00\x00\x00\x00":
        return "image/bmp"
    if first_bytes[:4] == b"RIFF":
        return _RIFF.get(first_bytes[8:12])
    return _markup(first_bytes) or _text(first_bytes)


def _markup(first_bytes: bytes) -> str | None:
    """What browsers and shells would take for markup or a script, whatever comes after its beginning."""
    for mark, encoding in ((b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be")):
        if first_bytes.startswith(mark):
            first_bytes = first_bytes[2:].decode(encoding, "ignore").encode()
    begin = first_bytes.removeprefix(b"\xef\xbb\xbf").lstrip()
    return next((media_type for pattern, media_type in _MARKUP if pattern.match(begin)), None)


def _text(first_bytes: bytes) -> str | None:
    if _BYTES_OF_NO_TEXT.search(first_bytes) or not _WORDS.search(first_bytes):
        return None
    for cut in range(4):  # the last character may be cut in two
        try:
            first_bytes[: len(first_bytes) - cut].decode()
        except UnicodeDecodeError:
            continue
        return "text/plain"
    return None


def contradiction(declared: str, first_bytes: bytes) -> str | None:
    """Return the type that `first_bytes` plainly are of, when a file of type `declared` can't begin so; None when it can.

    Images, video, audio, PDF and archives are held to it; other types may hold anything.
    """
    named = essence(declared)
    if named == "video/mp2t":  # what browsers call TypeScript
        return None
    kind = _KINDS.get(named.partition("/")[0])
    if named not in _CONTENTS and kind is None:
        return None
    found = recognised(first_bytes)
    if found is None:
        return None
    if named in _CONTENTS:
        # Readers take a PDF whose header comes after some lines of text; what a browser or a shell would run is no such text.
        late_pdf = named == "application/pdf" and found == "text/plain" and b"%PDF-" in first_bytes[:1024]
        fits = found in _CONTENTS[named] or late_pdf
    else:
        assert kind is not None
        fits = kind.fullmatch(found) is not None
    return None if fits else found
