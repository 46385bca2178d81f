"""Names in keys and headers, over hostile input."""

from __future__ import annotations

import re
from urllib.parse import unquote

from hypothesis import given
from hypothesis import strategies as st

from uploadkit.content import disposition, safe_name

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
    assert unquote(full) == name
    assert fallback
    assert kind == ("inline" if content_type in ("image/png", "video/webm;codecs=vp8") else "attachment")


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
