"""Media types and what first bytes say about them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uploadkit.client import media_types as table
from uploadkit.core.first_bytes import as_it_is, contradiction, recognised, with_charset
from uploadkit.core.media_types import PLAYLIST, is_allowed, is_unknown, recorded, strict

PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00"
GIF = b"GIF89a\x01\x00\x01\x00"
WEBP = b"RIFF\x24\x00\x00\x00WEBPVP8 "
WAV = b"RIFF\x24\x00\x00\x00WAVEfmt "
AVI = b"RIFF\x24\x00\x00\x00AVI LIST"
TIFF = b"II*\x00\x08\x00\x00\x00"
BMP = b"BM\x36\x00\x00\x00\x00\x00\x00\x00\x36\x00"
ICO = b"\x00\x00\x01\x00\x01\x00"
HEIC = b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00"
AVIF = b"\x00\x00\x00\x20ftypavif\x00\x00\x00\x00"
MP4 = b"\x00\x00\x00\x20ftypisom\x00\x00\x02\x00"
MOV = b"\x00\x00\x00\x14ftypqt  \x00\x00\x00\x00"
WEBM = b"\x1aE\xdf\xa3\x01\x00\x00\x00"
OGG = b"OggS\x00\x02\x00\x00"
FLAC = b"fLaC\x00\x00\x00\x22"
MP3 = b"ID3\x04\x00\x00\x00\x00\x00\x00"
PDF = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"
ZIP = b"PK\x03\x04\x14\x00\x00\x00"
GZIP = b"\x1f\x8b\x08\x00\x00\x00\x00\x00"
TAR = b"name".ljust(257, b"\x00") + b"ustar\x0000"
ELF = b"\x7fELF\x02\x01\x01\x00"
EXE = b"MZ\x90\x00\x03\x00\x00\x00"
HTML = b"\n <!DOCTYPE html><title>x</title>"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg">'
XML = b'<?xml version="1.0"?><a/>'
SCRIPT = b"#!/bin/sh\nrm -rf /\n"
TEXT = "schöne Grüße".encode()
UNKNOWN = b"\x00\x01\x02\x03 nobody knows this"


@pytest.mark.parametrize(
    ("declared", "first_bytes"),
    [
        ("image/png", PNG),
        ("image/jpeg", JPEG),
        ("IMAGE/JPG; q=1", JPEG),
        ("image/gif", GIF),
        ("image/webp", WEBP),
        ("image/tiff", TIFF),
        ("image/x-adobe-dng", TIFF),
        ("image/bmp", BMP),
        ("image/x-icon", ICO),
        ("image/heic", HEIC),
        ("image/avif", AVIF),
        ("image/svg+xml", SVG),
        ("image/svg+xml", XML),
        ("image/svg+xml", b"<!-- made by hand --><svg>"),
        ("image/x-portable-pixmap", b"P3\n1 1\n255\n"),
        ("video/mp4", MP4),
        ("video/mp4", MOV),
        ("video/quicktime", MOV),
        ("video/quicktime", b"\x00\x00\x00\x08wide\x00\x00\x00\x00mdat"),
        ("video/webm;codecs=vp8", WEBM),
        ("audio/webm", WEBM),
        ("video/mp2t", b"export const x = 1;  // browsers call .ts so"),
        ("video/x-something", AVI),
        ("audio/x-m4a", MP4),
        ("audio/mpeg", MP3),
        ("audio/mpeg", b"\xff\xfb\x90\x00\x00"),
        ("audio/ogg", OGG),
        ("audio/flac", FLAC),
        ("audio/wav", WAV),
        ("audio/x-mpegurl", b"#EXTM3U\n"),
        ("application/pdf", PDF),
        ("application/pdf", b"%!PS-Adobe-3.0 junk before it\n" + PDF),
        ("application/zip", ZIP),
        ("application/gzip", GZIP),
        ("application/x-tar", TAR),
        ("application/x-tar", GZIP),
        ("application/octet-stream", ELF),
        ("text/plain", PNG),
        ("application/vnd.openxmlformats-officedocument.wordprocessingml.document", ZIP),
        ("application/json", HTML),
        ("image/png", UNKNOWN),
        ("application/pdf", UNKNOWN),
        ("image/png", b"abcdefgh" * 100),
        ("image/png", b""),
        ("audio/flac", MP3),
        ("audio/flac", OGG),
        ("audio/wav", MP3),
        ("video/mp4", b"\x00\x00\x01\x00ftypisom"),
        ("image/heic", b"\x00\x00\x01\x00ftypheic"),
        ("application/x-tar", b"ID3lib/".ljust(257, b"\x00") + b"ustar\x0000"),
        ("application/x-tar", b"%PDF-1.4/".ljust(257, b"\x00") + b"ustar\x0000"),
        ("video/mp2t", b"#!/usr/bin/env ts-node\n"),
        ("video/x-ms-asf", b"<asx version = '3.0'> <entry/>"),
        ("image/x-icon", GIF),
        ("image/vnd.fpx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"),
        ("application/pdf", b"some lines of text\n" + PDF[:8]),
    ],
)
def test_what_may_well_be_true_passes(declared: str, first_bytes: bytes) -> None:
    assert contradiction(declared, first_bytes) is None


@pytest.mark.parametrize(
    ("declared", "first_bytes", "found"),
    [
        ("image/png", JPEG, "image/jpeg"),
        ("image/jpeg", PNG, "image/png"),
        ("image/jpeg", HTML, "text/html"),
        ("image/jpeg", SVG, "image/svg+xml"),
        ("image/png", b"\xef\xbb\xbf<html>", "text/html"),
        ("image/png", b"<html><body>caf\xe9 ole</body></html>" + b"x" * 10, "text/html"),
        ("image/png", b"<script>\x00</script>", "text/html"),
        ("image/png", "\ufeff<html>".encode("utf-16-le"), "text/html"),
        ("image/png", "\ufeff<html>".encode("utf-16-be"), "text/html"),
        ("image/png", b"MZP\x00\x02\x00", "application/vnd.microsoft.portable-executable"),
        ("image/png", b"\xca\xfe\xba\xbe\x00\x00\x00\x34", "application/java-vm"),
        ("image/jpeg", b"\xfe\xed\xfa\xce\x00", "application/x-mach-binary"),
        ("application/pdf", b"<html>%PDF-1.4", "text/html"),
        ("application/pdf", b"MZ\x90\x00%PDF-1.4", "application/vnd.microsoft.portable-executable"),
        ("image/gif", b"<?php echo 1;", "application/x-php"),
        ("image/png", SCRIPT, "text/x-shellscript"),
        ("image/webp", WAV, "audio/wav"),
        ("image/png", TEXT, "text/plain"),
        ("image/png", ZIP, "application/zip"),
        ("image/x-unheard-of", PDF, "application/pdf"),
        ("image/x-unheard-of", HTML, "text/html"),
        ("image/svg+xml", PNG, "image/png"),
        ("image/heic", JPEG, "image/jpeg"),
        ("video/mp4", WEBM, "video/webm"),
        ("video/mp4", ELF, "application/x-executable"),
        ("video/x-unheard-of", EXE, "application/vnd.microsoft.portable-executable"),
        ("audio/mpeg", OGG, "application/ogg"),
        ("audio/mpeg", TEXT, "text/plain"),
        ("image/png", b"#EXTM3U\n", PLAYLIST),
        ("video/mpeg", b"#EXTM3U\n", PLAYLIST),
        ("application/pdf", EXE, "application/vnd.microsoft.portable-executable"),
        ("application/pdf", HTML, "text/html"),
        ("application/pdf", ZIP, "application/zip"),
        ("application/zip", GZIP, "application/gzip"),
        ("application/gzip", TEXT, "text/plain"),
        ("application/x-7z-compressed", ZIP, "application/zip"),
        ("application/zip", PDF, "application/pdf"),
    ],
)
def test_what_is_plainly_something_else_is_named(declared: str, first_bytes: bytes, found: str) -> None:
    assert contradiction(declared, first_bytes) == found


@given(
    st.binary(max_size=600), st.sampled_from(["image/png", "video/mp4", "application/pdf", "application/zip", "image/svg+xml", "audio/x"])
)
def test_no_bytes_are_too_strange(first_bytes: bytes, declared: str) -> None:
    found = contradiction(declared, first_bytes)
    assert found is None or found == recognised(first_bytes)


@given(st.text(min_size=1, max_size=300), st.integers(0, 3))
def test_text_that_is_cut_within_a_character_is_still_text(text: str, cut: int) -> None:
    encoded = ("zwei wörter " + text.translate(dict.fromkeys(range(32))) + "€").encode("utf-8", "replace")
    assert (recognised(encoded[: len(encoded) - cut]) or "").startswith("text/")


def test_allowed_types_match_the_essence() -> None:
    assert is_allowed("Image/PNG; x=1", ["image/*"])
    assert is_allowed("application/pdf", ["image/*", "Application/PDF"])
    assert is_allowed("anything/else", ["*/*"])
    assert not is_allowed("image/png", ["image/jpeg", "video/*"])
    assert is_allowed("image/jpeg", ["image/jpg"])
    assert is_allowed("image/jpg", ["image/jpeg"])
    assert is_allowed("text/xml", ["text/*"])
    assert is_allowed("text/xml", ["application/*"])
    assert not is_allowed("application/pdf", ["text/*"]), "that it is called text/pdf, too, makes no text of it"


def test_the_table_has_each_name_and_each_ending_once() -> None:
    words = [word for line in table._TABLE.strip().split("\n") for word in line.split(" ")]
    assert len(words) == len(set(words))
    assert all(word == word.lower() for word in words)
    assert all(strict(name) == name for name in table._ALIASES), "every first name is one that can be kept"


@pytest.mark.parametrize(
    ("declared", "kept"),
    [
        ("IMAGE/JPG; q=1", "image/jpeg"),
        ("video/webm;codecs=vp9,opus", 'video/webm;codecs="vp9,opus"'),
        ('video/mp4; codecs="avc1.42E01E, mp4a.40.2"', 'video/mp4;codecs="avc1.42E01E, mp4a.40.2"'),
        ("audio/webm; Codecs = opus ;", "audio/webm;codecs=opus"),
        ("text/plain; charset = UTF-8;", "text/plain;charset=utf-8"),
        ('text/html;charset="utf-8";charset=utf-16', "text/html;charset=utf-8"),
        ('text/plain;a=";charset=x";charset=y', "text/plain;charset=y"),
        ("image/png;charset=utf-8", "image/png"),
        ("text/plain;codecs=x", "text/plain"),
        ('text/plain;charset="a b"', "text/plain"),
        ('video/mp4;codecs="a\\";text/html"', "video/mp4"),
        ("text/plain;charset", "text/plain"),
        ('text/plain;=;;==;"', "text/plain"),
        ('image/png;x="a", text/html;y="b"', "image/png"),
        ("image/png, text/html", "application/octet-stream"),
        ("image/*", "application/octet-stream"),
        ("image/png\r\nx: y", "application/octet-stream"),
        ("", "application/octet-stream"),
        ("application/x-unheard-of;v=1", "application/x-unheard-of"),
    ],
)
def test_what_is_kept_and_served_of_a_type(declared: str, kept: str) -> None:
    assert strict(declared) == kept
    assert strict(kept) == kept


@given(st.text(max_size=255))
def test_nothing_else_is_ever_kept(declared: str) -> None:
    safe = r'[^\s;,"()*/]+/[^\s;,"()*/]+(;charset=[A-Za-z0-9._:+-]+|;codecs=([A-Za-z0-9._+-]+|"[A-Za-z0-9., _+-]+"))?'
    assert re.fullmatch(safe, strict(declared), re.ASCII)


def test_who_does_not_know_is_told_by_the_name() -> None:
    assert all(map(is_unknown, ("", "application/octet-stream", "APPLICATION/Octet-Stream; x=1", "binary/octet-stream")))
    assert recorded("", "IMG_0042.HEIC") == "image/heic"
    assert recorded("application/octet-stream", "film.mkv") == "video/x-matroska"
    assert recorded("", "nothing") == recorded("", ".gitignore") == recorded("", "a.nosuchending") == "application/octet-stream"
    assert recorded("application/vnd.ms-excel", "numbers.CSV") == "text/csv"
    assert recorded("application/vnd.ms-excel", "numbers.xls") == "application/vnd.ms-excel"
    assert recorded("image/png", "x.html") == "image/png"


HLS = b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nhttps://elsewhere.example.com/1.ts\n"


@pytest.mark.parametrize(
    ("named", "first_bytes", "rather"),
    [
        ("image/png", JPEG, "image/jpeg"),
        ("image/jpeg", WEBP, "image/webp"),
        ("image/heic", JPEG, "image/jpeg"),
        ("image/heif", HEIC, "image/heic"),
        ("image/jpeg", AVIF, "image/avif"),
        ("image/heic", b"\x00\x00\x00\x18ftypmif1\x00\x00\x00\x00mif1heic", None),
        ("image/svg+xml", PNG, "image/png"),
        ("image/x-icon", PNG, "image/png"),
        ("image/apng", PNG, None),
        ("audio/mpeg", b"\x00\x00\x00\x20ftypM4A \x00\x00\x00\x00", "audio/mp4"),
        ("audio/mpeg", MP4, "audio/mp4"),
        ("audio/mpeg", OGG, "audio/ogg"),
        ("audio/aac", MP4, "audio/mp4"),
        ("audio/mp4", MP3, "audio/mpeg"),
        ("video/mp4", WEBM, "video/webm"),
        ("video/webm", WEBM + b"\x42\x82\x88matroska", "video/x-matroska"),
        ("video/mp4", MOV, None),
        ("audio/webm", WEBM, None),
        ("application/zip", b"Rar!\x1a\x07\x01\x00", "application/vnd.rar"),
        ("application/zip", b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
        ("video/mp2t", TEXT, "text/plain"),
        ("video/mp4", HLS, PLAYLIST),
        ("video/mp2t", HLS, PLAYLIST),
        ("audio/mpeg", HLS, PLAYLIST),
        ("application/ogg", HLS + b"\x01", PLAYLIST),
        ("audio/mpegurl", HLS, None),
        ("application/vnd.apple.mpegurl", HLS, None),
        ("text/plain", HLS, None),
        ("image/png", HLS, None),
        ("image/png", SVG, None),
        ("image/png", HTML, None),
        ("image/png", PDF, None),
        ("application/pdf", ZIP, None),
        ("image/png", UNKNOWN, None),
    ],
)
def test_within_a_family_it_is_what_it_is(named: str, first_bytes: bytes, rather: str | None) -> None:
    assert as_it_is(named, first_bytes) == rather


def test_text_in_utf8_is_said_to_be() -> None:
    german = "Prüfbericht “Größe”".encode()
    assert with_charset("text/plain", german, whole=True) == "text/plain;charset=utf-8"
    assert with_charset("text/plain", german[:3], whole=False) == "text/plain;charset=utf-8", "cut within a character"
    assert with_charset("text/plain", german[:3], whole=True) == "text/plain", "there is no rest"
    assert with_charset("text/plain", "Größe".encode("latin-1"), whole=True) == "text/plain"
    assert with_charset("text/plain", "Größe".encode("utf-16"), whole=True) == "text/plain"
    assert with_charset("text/plain", "文字".encode("iso-2022-jp"), whole=True) == "text/plain"
    assert with_charset("text/plain;charset=iso-8859-1", german, whole=True) == "text/plain;charset=iso-8859-1"
    assert with_charset("application/json", german, whole=True) == "application/json"
