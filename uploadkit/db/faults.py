"""What is wrong with the database, in words for a person."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from peewee import DatabaseError, OperationalError, PeeweeException

from uploadkit.core.packaged_files import PROGRAM

CannotNow = OperationalError
"""What a statement raises when the database can't be read or written now: it is locked by another program, its disk is full. It passes."""
AnyFault = PeeweeException
"""What a statement raises, whatever is wrong."""

# What SQLite says of it, what that means, and what to do.
_TROUBLES = {
    "is locked": ("it is locked by another program", "End what holds it, a backup or an sqlite3 shell perhaps; it goes on by itself then"),
    "is full": ("its disk is full", "Free some space there; it goes on by itself then, and nothing that was acknowledged is lost"),
    "disk I/O error": ("its disk fails or is full", "Look at the disk and the kernel's log; it goes on by itself once the disk does"),
    "readonly database": ("it may not be written", "Give the appliance's user the right to write the file and its folder"),
    "unable to open": (
        "its file can't be opened",
        "Give the appliance's user the right to write the file and its folder; look at its disk",
    ),
    "malformed": ("it is damaged", f"Stop the appliance and put a backup in its place; '{PROGRAM} doctor' says what is damaged"),
    "not a database": ("it is damaged", f"Stop the appliance and put a backup in its place; '{PROGRAM} doctor' says what is damaged"),
}
SUGGESTIONS_AT_THE_START = {
    "is full": "free some space on its disk and start again: nothing is lost",
    "disk I/O error": "its disk is full or fails: free some space on it, or look at the kernel's log, and start again",
    "is locked": "end the program that holds it, a backup or an sqlite3 shell perhaps, and start again",
    "readonly database": "this user may not write it, or its disk is mounted read-only",
    "unable to open": "this user may not write its folder, or its disk is mounted read-only",
}


def refuse_damaged(path: Path) -> None:
    """Read a little of every table. Raises sqlite3.DatabaseError. All of it is `damage`'s to read, which takes its time."""
    with closing(sqlite3.connect(path)) as connection:
        tables = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
        for (name,) in tables:
            connection.execute(f'SELECT * FROM "{name}" LIMIT 1').fetchall()  # noqa: S608


def trouble(error: Exception) -> tuple[str, str] | None:
    """Return what is wrong and what to do, when SQLite was let down by what is around it; None for a mistake of ours."""
    if not isinstance(error, DatabaseError | sqlite3.DatabaseError):
        return None
    return next((trouble for words, trouble in _TROUBLES.items() if words in str(error)), None)
