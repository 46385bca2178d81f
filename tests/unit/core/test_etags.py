"""ETags as proxies and clients hand them on: one function for all, and what is joined when they still differ."""

from __future__ import annotations

import pytest

from uploadkit.core.errors import InvalidParts
from uploadkit.core.etags import plain_etag, same_etag
from uploadkit.files.multipart_upload import etag_to_join
from uploadkit.objectstore.objects import StoredPart

E = "5d41402abc4b2a76b9719d911017c592"
SPELLINGS = (
    "{e}",
    '"{e}"',
    'W/"{e}"',
    'w/"{e}"',
    "W/{e}",
    '"{e}-gzip"',
    '"{e}"-gzip',
    '"{e};gzip"',
    '"{e}--gzip"',
    'W/"{e}-br"',
    '"{e}-zstd"',
    "{e}-gzip",
    ' "{e}" ',
    '\tW/ "{e}"\t',
    '"{e}',
    '{e}"',
    "&quot;{e}&quot;",
    "W/&quot;{e}&quot;",
    "&#34;{e}&#34;",
)


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("etag", [E, f"{E}-41", "0x8DC9A1-ab/c+d=="])
def test_what_happened_to_an_etag_on_its_way_falls_off(spelling: str, etag: str) -> None:
    assert plain_etag(spelling.format(e=etag)) == etag
    assert same_etag(spelling.format(e=etag.upper()), etag)


def test_other_etags_are_others() -> None:
    for one, other in ((E, E[:-1]), (E, f"{E}-2"), (f"{E}-2", f"{E}-3"), (E, "")):
        assert not same_etag(one, other)
    for nothing in ("", '""', 'W/""', " ", "&quot;&quot;"):
        assert plain_etag(nothing) == ""


def part(*rivals: str) -> StoredPart:
    return StoredPart(1, 5, E, 0, frozenset(rivals))


RIVAL = "7d793037a0760186574b0282f2f435e7"


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_the_content_that_is_named_is_joined_by_the_stores_own_etag(spelling: str) -> None:
    assert etag_to_join(part(), spelling.format(e=E.upper())) == E
    assert etag_to_join(part(RIVAL), spelling.format(e=E)) == E
    assert etag_to_join(part(RIVAL), spelling.format(e=RIVAL)) == RIVAL


def test_an_etag_of_the_stores_form_that_differs_names_other_content() -> None:
    for stored in (part(), part(RIVAL)):
        with pytest.raises(InvalidParts, match="another ETag"):
            etag_to_join(stored, '"' + "0" * 32 + '"')


@pytest.mark.parametrize("given", ['"47-5e3f1d2a"', 'W/"0-2jmj7l5rSw0yVb/vlWAYkK/YBwk"', '""', None])
def test_an_etag_that_somebody_on_the_way_made_says_nothing_of_the_content(given: str | None) -> None:
    assert etag_to_join(part(), given) == E
    with pytest.raises(InvalidParts, match="more than once"):
        etag_to_join(part(RIVAL), given)
