"""Search in file names and by media type: which rows match, in an order that a list can be read from directly.

Names are looked up in the trigram index `file_search`, from the newest match down and only until the page is full. One or two characters
are looked up there, too, by all trigrams that begin with them. Case is ignored, in any script.

Whoever names files decides what a search costs. The index is asked for a few trigrams of a text, never for the text as a phrase: a phrase
is held against all places where each of its trigrams stands, which for names such as "aaaa…" are hundreds in each name, and took a minute.
The names that have the few are then looked at themselves.
"""

from __future__ import annotations

import itertools
import unicodedata
from functools import lru_cache, reduce
from operator import or_
from typing import Any

from peewee import JOIN, SQL, ModelSelect, Table, fn

from uploadkit.client.media_types import names_of
from uploadkit.db.connection import execute
from uploadkit.db.models import File, database

_TRIGRAM = 3
# Two of them stand behind each name in the index; no name has one (migration 0005).
_BEHIND_NAMES = "\x1f"
# A character of Chinese may begin more than that, in all projects together; then walking through the list finds what is asked for sooner.
_MOST_TRIGRAMS = 500
# So many trigrams of a longer text are looked up: more cost more and leave out hardly anything.
_MOST_LOOKED_UP = 8
_LAST_CHARACTER = "\U0010ffff"
# The trigrams between two texts, each found by one step into the index: what files they are in is not read. Trigrams have three
# characters, so that one with something behind it stands before the next one. The vocabulary gives them in their order.
_TRIGRAMS = """
WITH RECURSIVE found (term) AS (
  SELECT (SELECT term FROM file_search_vocabulary WHERE term >= :first AND term <= :last LIMIT 1)
  UNION ALL
  SELECT (SELECT v.term FROM file_search_vocabulary v WHERE v.term >= found.term || char(1) AND v.term <= :last LIMIT 1)
    FROM found WHERE found.term IS NOT NULL LIMIT :most)
SELECT term FROM found WHERE term IS NOT NULL
"""
_index = Table("file_search")
_ESSENCE = SQL("rtrim(substr(lower(content_type), 1, instr(content_type || ';', ';') - 1))")


def matching(project_id: str, environment: str, text: str) -> tuple[ModelSelect[File], Any]:
    """Return a query for the files whose name contains `text` ("": all), and the column that says each one's place in the list.

    The caller still asks for project and environment: the index only brings most of the others not up.
    """
    if not text:
        return File.select(), File.number
    # Names come composed from some systems and decomposed from others (é as one character or as two).
    forms = {unicodedata.normalize(form, text) for form in ("NFC", "NFD")} | {text}
    # NUL is in no name either, and the end of the text to the index.
    if "\0" in text or _BEHIND_NAMES in text:
        return File.select().where(SQL("FALSE")), File.number
    terms = {term for form in forms for term in ([_few_of(form)] if len(form) >= _TRIGRAM else map(_quoted, _trigrams_that_begin(form)))}
    if not terms:
        return File.select().where(SQL("FALSE")), File.number
    if len(terms) >= _MOST_TRIGRAMS:
        return File.select().where(fn.max(0, *(fn.instr(File.file_name, written) for written in _ways_to_write(forms)))), File.number
    scope = environment[:1] + project_id[-2:]
    wanted = f"scope : {_quoted(scope)} AND file_name : ({' OR '.join(sorted(terms))})"
    # CROSS JOIN: from the index to the rows, in the index's order; SQLite must not turn that round.
    joined = _index.join(File, JOIN.CROSS)
    query = File.select().from_(joined).where(SQL("file_search MATCH ?", (wanted,)), File.number == _index.c.rowid)
    if any(len(form) > _TRIGRAM for form in forms):
        query = query.where(fn.name_contains(File.file_name, *sorted(forms)))
    return query, _index.c.rowid


def _few_of(text: str) -> str:
    """Return some trigrams of `text`, from all over it, in the index's query language."""
    trigrams = list(dict.fromkeys(text[place : place + _TRIGRAM] for place in range(len(text) - _TRIGRAM + 1)))
    few = min(len(trigrams), _MOST_LOOKED_UP)
    chosen = [trigrams[number * (len(trigrams) - 1) // max(few - 1, 1)] for number in range(few)]
    return f"({' AND '.join(map(_quoted, chosen))})"


@database.func("name_contains", deterministic=True)
def _name_contains(name: str, *forms: str) -> bool:
    """Say whether a name contains one of these texts, case ignored as the index ignores it: character by character."""
    folded = name.casefold()  # quick, and never a reason to say no to what the next line says yes to
    return any(form.casefold() in folded and _folded(form) in _folded(name) for form in forms)


def _folded(text: str) -> str:
    return text.lower() if text.isascii() else "".join(map(_folded_character, text))


@lru_cache(maxsize=4096)
def _folded_character(character: str) -> str:
    # One for one: to the index, the small letter of ẞ is ß and not ss.
    return next((folded for folded in (character.casefold(), character.lower()) if len(folded) == 1), character)


def _trigrams_that_begin(text: str) -> set[str]:
    """Return the trigrams of the index that begin with `text`, one or two characters, in capitals or small letters."""
    found: set[str] = set()
    for spelling in _spellings(text):
        limits = {"first": spelling, "last": spelling + _LAST_CHARACTER * 2, "most": _MOST_TRIGRAMS}
        found.update(term for (term,) in execute(_TRIGRAMS, limits).fetchall())
    return found


def _spellings(text: str) -> set[str]:
    """Return `text` in the letters among which is what the index, which folds case, has made of each of them."""
    cases = ({c.lower()} if c.isascii() else {c, c.lower(), c.upper(), c.upper().lower()} for c in text)
    # The index takes each character by itself: to it, the capital of ß is not SS.
    one_for_one = ({case for case in of_one if len(case) == 1} for of_one in cases)
    return {"".join(choice) for choice in itertools.product(*one_for_one)}


def _ways_to_write(forms: set[str]) -> set[str]:
    """Every way to write a text of one or two characters (a few more when decomposed) in capitals and small letters."""
    written: set[str] = set()
    for form in forms:
        cases = ({c, c.lower(), c.upper(), *("σς" if c in "Σσς" else "")} for c in form)
        written |= {"".join(choice) for choice in itertools.product(*cases)}
    return written


def of_type(content_type: str) -> tuple[Any, ...]:
    """Return the conditions for files of a media type without parameters, by whichever of its names, or of all types such as `image/*`.

    The first one of each name is cheap and decided in the index; it leaves few rows to the exact one.
    """
    wanted = content_type.lower()
    if wanted == "*/*":
        return ()
    if wanted.endswith("/*"):
        return (File.content_type.startswith(wanted[:-1]),)
    # Rows of before the names were made one have what was declared.
    named = [File.content_type.startswith(name) & (fn.nullif(_ESSENCE, "") == name) for name in names_of(wanted)]
    return (reduce(or_, named),)


def _quoted(text: str) -> str:
    """One string of the index's query language, whatever stands in it."""
    return '"' + text.replace('"', '""') + '"'
