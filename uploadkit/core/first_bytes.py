"""What a file's first bytes plainly say it is, and whether that fits the type it is called by. Pure.

Only what is recognised counts as evidence against a type, so that a format we have not heard of passes
(docs/decisions/0012-first-bytes.md, 0022-media-types.md). Sources: WHATWG MIME Sniffing, and the formats' own specifications.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from uploadkit.client.media_types import canonical
from uploadkit.core.media_types import ARCHIVES, PACKED, PLAYLIST, essence

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
    (0, b"\x00\x00\x00\x0cJXL \r\n\x87\n", "image/jxl"),
    (0, b"\x00\x00\x00\x0cjP  \r\n\x87\n", "image/jp2"),
    (0, b"8BPS\x00", "image/vnd.adobe.photoshop"),
    (0, b"%PDF-", "application/pdf"),
    (0, b"fLaC", "audio/flac"),
    (0, b"ID3", "audio/mpeg"),
    (0, b"MThd\x00\x00", "audio/midi"),
    (0, b"FLV\x01", "video/x-flv"),
    (0, b"#!AMR", "audio/amr"),
    (0, b"\x00\x00\x01\xba", "video/mpeg"),
    (0, b"\x00\x00\x01\xb3", "video/mpeg"),
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
    (0, b"#EXTM3U", PLAYLIST),
)
_RIFF = {b"WEBP": "image/webp", b"WAVE": "audio/wav", b"AVI ": "video/x-msvideo"}
_EBML, _OGG_PAGE = b"\x1aE\xdf\xa3", b"OggS\x00"
_OGG_CODECS = {
    b"OpusHead": "audio/ogg",
    b"\x01vorbis": "audio/ogg",
    b"Speex   ": "audio/ogg",
    b"\x7fFLAC": "audio/ogg",
    b"\x80theora": "video/ogg",
}
_ISO_BRANDS = {
    **dict.fromkeys((b"avif", b"avis"), "image/avif"),
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"), "image/heic"),
    **dict.fromkeys((b"M4A ", b"M4B ", b"M4P "), "audio/mp4"),
    b"qt  ": "video/quicktime",
    b"crx ": "image/x-canon-cr3",
}
_HEIF_BRANDS = (b"mif1", b"msf1", b"miaf")
_MARKUP = (
    (
        re.compile(rb"(<!doctype html|<(html|head|body|script|iframe|style|title|table|div|h1|p|a|br|!--)[\s>/])", re.IGNORECASE),
        "text/html",
    ),
    (re.compile(rb"<svg[\s>]", re.IGNORECASE), "image/svg+xml"),
    (re.compile(rb"<\?xml\s", re.IGNORECASE), "application/xml"),
    (re.compile(rb"<\?php\s", re.IGNORECASE), "application/x-php"),
    (re.compile(rb"#!\s*/"), "text/x-shellscript"),
)
# Printable bytes alone prove little; words do.
_WORDS = re.compile(rb"\S\s+\S")
_BYTES_OF_NO_TEXT = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")

# What may stand in a file of the type on the left; images, video and audio that are not named here are in _KINDS below.
_OGG = frozenset({"application/ogg", "audio/ogg", "video/ogg"})
_MP4 = frozenset({"video/mp4", "audio/mp4", "video/quicktime", "image/heif"})
_MATROSKA = frozenset({"video/webm", "video/x-matroska"})
_HEIF = frozenset({"image/heic", "image/heif", "image/avif"})
_PLAYLIST = frozenset({"text/plain", "application/xml"})
_CONTENTS: Mapping[str, frozenset[str]] = {
    **dict.fromkeys(("image/png", "image/apng"), frozenset({"image/png"})),
    **{name: frozenset({name}) for name in ("image/jpeg", "image/gif", "image/webp", "image/tiff", "image/bmp", "video/x-msvideo")},
    **{name: frozenset({name}) for name in ("video/x-flv", "application/pdf", "application/zip", "application/vnd.rar", *PACKED)},
    "application/x-7z-compressed": frozenset({"application/x-7z-compressed"}),
    "application/x-tar": PACKED | {"application/x-tar"},
    "image/x-icon": frozenset({"image/x-icon", "image/png", "image/bmp", "image/gif", "image/jpeg"}),
    "image/svg+xml": frozenset({"image/svg+xml", "application/xml", "text/html", "text/plain", "application/gzip"}),
    **dict.fromkeys(("image/avif", "image/heic", "image/heif", "image/heic-sequence", "image/heif-sequence"), _HEIF | _MP4),
    **dict.fromkeys(("video/mp4", "audio/mp4", "video/quicktime", "video/3gpp", "video/3gpp2", "audio/3gpp", "audio/3gpp2"), _MP4),
    **dict.fromkeys(("video/webm", "audio/webm"), _MATROSKA),
    **dict.fromkeys(("video/x-matroska", "audio/x-matroska"), _MATROSKA),
    **dict.fromkeys(("video/ogg", "audio/ogg", "application/ogg"), _OGG),
    "audio/mpeg": frozenset({"audio/mpeg", "audio/wav"}),
    "audio/flac": _OGG | {"audio/flac", "audio/mpeg"},  # tags of MP3 before it
    "audio/aac": frozenset({"audio/mpeg"}),
    "audio/wav": frozenset({"audio/wav", "audio/mpeg"}),
    "audio/mpegurl": frozenset({"text/plain", PLAYLIST}),
    **dict.fromkeys(("video/x-ms-wmv", "video/x-ms-asf", "audio/x-ms-wma"), _PLAYLIST | {"video/x-ms-asf"}),  # playlists are called so, too
}
# For the less common formats: what of their own kind, or plain text (playlists, pixmaps), may stand in them.
_KINDS: Mapping[str, re.Pattern[str]] = {
    "image": re.compile(r"image/.*|video/mp4|text/plain|application/xml|application/gzip|application/zip|application/x-ole-storage"),
    "video": re.compile(r"video/.*|audio/.*|application/ogg|text/plain|application/xml"),
    "audio": re.compile(r"video/.*|audio/.*|application/ogg|text/plain|application/xml"),
}
# Containers of moving pictures, by what they are called when there is only sound in them.
_SOUND_IN = {
    "video/mp4": "audio/mp4",
    "video/webm": "audio/webm",
    "video/x-matroska": "audio/x-matroska",
    "video/3gpp": "audio/3gpp",
    "application/ogg": "audio/ogg",
    "video/ogg": "audio/ogg",
}
# First bytes that say all there is to say: what they are of is recorded also where the declared type can begin so.
_TELLING = frozenset(
    {"image/png", "image/jpeg", "image/gif", "image/webp", "image/bmp", "image/avif", "image/heic", "audio/wav", "video/x-matroska"}
)
_TYPESCRIPT = "video/mp2t"  # what browsers call it, by its ending


def recognised(first_bytes: bytes) -> str | None:
    """Return the media type that a file's first bytes (some 4 KiB, or the whole of a smaller file) plainly are of; None when unsure."""
    if first_bytes[4:8] == b"ftyp":  # before it stands a length, which may look like anything
        return _iso_media(first_bytes)
    if first_bytes.startswith(_EBML):
        return "video/x-matroska" if b"matroska" in first_bytes[:64] else "video/webm"
    if first_bytes.startswith(_OGG_PAGE):
        return next((kind for codec, kind in _OGG_CODECS.items() if first_bytes.startswith(codec, 28)), "application/ogg")
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


def _iso_media(first_bytes: bytes) -> str:
    """What a file of the ISO base media format (ISO/IEC 14496-12) is by its brands: major, version, then the compatible ones."""
    major = first_bytes[8:12]
    if major[:3] in (b"3gp", b"3g2"):
        return "video/3gpp" if major[:3] == b"3gp" else "video/3gpp2"
    if major in _HEIF_BRANDS:
        length = min(int.from_bytes(first_bytes[:4], "big"), 128)
        others = {first_bytes[at : at + 4] for at in range(16, length, 4)}
        return next((_ISO_BRANDS[brand] for brand in (b"avif", b"avis", b"heic", b"heix", b"hevc") if brand in others), "image/heif")
    return _ISO_BRANDS.get(major, "video/mp4")


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
    return "text/plain" if _is_utf8(first_bytes, whole=False) else None


def contradiction(declared: str, first_bytes: bytes) -> str | None:
    """Return the type that `first_bytes` plainly are of, when a file of type `declared` can't begin so; None when it can.

    Images, video, audio, PDF and archives are held to it; other types may hold anything.
    """
    named = canonical(essence(declared))
    if named == _TYPESCRIPT:
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
        fits = found in _CONTENTS[named] or late_pdf or _same_mp4(named, found)
    else:
        assert kind is not None
        fits = kind.fullmatch(found) is not None
    return None if fits else found


def _same_mp4(named: str, found: str) -> bool:
    """3GPP files are MP4 by another brand, and players don't care."""
    return "video/mp4" in _CONTENTS[named] and found in ("video/3gpp", "video/3gpp2")


def as_it_is(named: str, first_bytes: bytes) -> str | None:
    """Return what a file of type `named` rather is, within the family: a JPEG that is called PNG, sound in a film's container, a playlist.

    None when it is what it is called, as far as its first bytes tell, or something of another family altogether.
    """
    name, found = canonical(essence(named)), recognised(first_bytes)
    if found is None or (name, found) == ("image/apng", "image/png"):
        return None
    if found == PLAYLIST:
        return found if name != "audio/mpegurl" and _family(name) == "recording" else None
    if name.startswith("audio/"):
        found = _SOUND_IN.get(found, found)
    if name == _TYPESCRIPT:
        return "text/plain" if _family(found) is None and found.startswith(("text/", "application/xml")) else None
    fits = contradiction(name, first_bytes) is None
    if found == name or _family(found) is None or (fits and found not in _TELLING):
        return None
    return found if _family(found) == ("picture" if name == "image/svg+xml" else _family(name)) else None


def _family(name: str) -> str | None:
    """Pictures, recordings and archives: what a person takes for the same whatever it is packed in. SVG is a program, too."""
    if name.startswith("image/"):
        return None if name == "image/svg+xml" else "picture"
    if name.startswith(("video/", "audio/")) or name == "application/ogg":
        return "recording"
    return "archive" if name in ARCHIVES else None


def with_charset(content_type: str, first_bytes: bytes, *, whole: bool) -> str:
    """Add `charset=utf-8` to a text type that has no charset when `first_bytes` are text in UTF-8; `whole`: they are all there is.

    Without one, browsers read text as Windows-1252.
    """
    if not content_type.startswith("text/") or ";" in content_type or _BYTES_OF_NO_TEXT.search(first_bytes) or b"\x1b" in first_bytes:
        return content_type
    return f"{content_type};charset=utf-8" if _is_utf8(first_bytes, whole=whole) else content_type


def _is_utf8(first_bytes: bytes, *, whole: bool) -> bool:
    for cut in range(1 if whole else 4):  # the last character may be cut in two
        try:
            first_bytes[: len(first_bytes) - cut].decode()
        except UnicodeDecodeError:
            continue
        return True
    return False
