"""Names in keys and headers, over hostile input."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

from hypothesis import given
from hypothesis import strategies as st

from uploadkit.files.naming import display_name, disposition, safe_name

names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=255)


@given(names)
def test_a_safe_name_is_safe(name: str) -> None:
    safe = safe_name(name)
    assert re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]*", safe), safe
    assert len(safe) <= 200


@given(names, st.sampled_from(["image/png", "text/html", "image/svg+xml", "application/octet-stream", "video/webm;codecs=vp8"]))
def test_the_original_name_survives_in_a_header_of_printable_ascii(name: str, content_type: str) -> None:
    header = disposition(name, content_type)
    assert re.fullmatch(r"[\x20-\x7e]+", header)
    kind, fallback, full = re.fullmatch(r"""(\w+); filename="([^"\\]*)"; filename\*=UTF-8''(\S+)""", header).groups()  # type: ignore[union-attr]
    assert unquote(full) == display_name(name)
    assert len(header) <= 1100, "S3 takes 2 KB of metadata"
    assert len(quote(header, safe="")) <= 2400, "and it may stand in a URL, which is a header of its own"
    assert fallback
    assert kind == ("inline" if content_type in ("image/png", "video/webm;codecs=vp8") else "attachment")


@given(names)
def test_a_name_is_shown_whole_up_to_what_file_systems_hold(name: str) -> None:
    rendered = display_name(name)
    assert len(rendered.encode()) <= 255
    assert (rendered == name) is (len(name.encode()) <= 255)
    assert name.startswith(rendered.rpartition(".")[0])


def test_a_name_is_cut_between_what_people_see_as_characters_and_keeps_its_ending() -> None:
    family, syllable, heap = "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\u1112\u1161\u11ab", "a" + "\u0301" * 300
    for character, whole in (("報", 83), (family, 13), (syllable, 27), ("\U0001f44d\U0001f3fd", 31), ("e\u0301", 83)):
        assert display_name(character * 120 + ".jpeg") == character * whole + ".jpeg", character
    assert display_name(f"{'報' * 200}.no ending") == "報" * 85
    assert len(display_name(f"{heap}.png").encode()) == 255, "marks without end are cut as well"


def test_disguises_do_not_become_inline() -> None:
    for disguise in (
        "image/svg+xml; charset=x",
        "IMAGE/SVG+XML",
        "text/html",
        "image/svg",
        "text/plain2",
        "application/pdf+xml",
        "image/x+xml",
        "video/x+xml",
        "image/png, text/html",
    ):
        assert disposition("x", disguise).startswith("attachment"), disguise
