"""Search in file names and by media type: which rows match, in an order that a list can be read from directly.

Names are looked up in the trigram index `file_search`, from the newest match down and only until the page is full. It needs three
characters; shorter searches go through the project's own list instead. Both ignore case, in any script.
"""

from __future__ import annotations

import itertools
import unicodedata
from typing import Any

from peewee import JOIN, SQL, ModelSelect, Table, fn

from uploadkit.models import File

_SHORTEST_INDEXED = 3
_index = Table("file_search")
_ESSENCE = SQL("rtrim(substr(lower(content_type), 1, instr(content_type || ';', ';') - 1))")


def matching(project_id: str, environment: str, text: str) -> tuple[ModelSelect[File], Any]:
    """Return a query for the files whose name contains `text` ("": all), and the column that says each one's place in the list.

    The caller still asks for project and environment: the index only brings most of the others not up.
    """
    if not text:
        return File.select(), File.number
    if "\0" in text:  # in no file name, and the end of the text to the index
        return File.select().where(SQL("FALSE")), File.number
    # Names come composed from some systems and decomposed from others (é as one character or as two).
    forms = {unicodedata.normalize(form, text) for form in ("NFC", "NFD")} | {text}
    if min(map(len, forms)) < _SHORTEST_INDEXED:
        return File.select().where(fn.max(0, *(fn.instr(File.file_name, spelling) for spelling in _spellings(forms)))), File.number
    scope = environment[:1] + project_id[-2:]
    wanted = f"scope : {_quoted(scope)} AND file_name : ({' OR '.join(_quoted(form) for form in sorted(forms))})"
    # CROSS JOIN: from the index to the rows, in the index's order; SQLite must not turn that round.
    joined = _index.join(File, JOIN.CROSS)
    query = File.select().from_(joined).where(SQL("file_search MATCH ?", (wanted,)), File.number == _index.c.rowid)
    return query, _index.c.rowid


def of_type(content_type: str) -> tuple[Any, ...]:
    """Return the conditions for files of a media type without parameters, or of all types such as `image/*`.

    The first one is cheap and decided in the index; it leaves few rows to the exact one.
    """
    wanted = content_type.lower()
    if wanted == "*/*":
        return ()
    if wanted.endswith("/*"):
        return (File.content_type.startswith(wanted[:-1]),)
    return (File.content_type.startswith(wanted), fn.nullif(_ESSENCE, "") == wanted)


def _quoted(text: str) -> str:
    """One string of the index's query language, whatever stands in it."""
    return '"' + text.replace('"', '""') + '"'


def _spellings(forms: set[str]) -> set[str]:
    """Every way to write a text of one or two characters (a few more when decomposed) in capitals and small letters."""
    spelled: set[str] = set()
    for form in forms:
        cases = [{character, character.lower(), character.upper()} for character in form]
        spelled |= {"".join(choice) for choice in itertools.product(*cases)}
    return spelled
