"""What two states of one database differ by."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

_CAME = """
SELECT count(*), max(uploaded_at) FROM main.file AS newer WHERE status = 'UPLOADED'
AND NOT EXISTS (SELECT 1 FROM earlier.file WHERE id = newer.id AND status = 'UPLOADED')
"""
_WENT = """
SELECT count(*) FROM earlier.file AS older WHERE status = 'UPLOADED'
AND NOT EXISTS (SELECT 1 FROM main.file WHERE id = older.id AND status = 'UPLOADED')
"""


def files_since(newer: Path, earlier: Path) -> tuple[int, int | None, int]:
    """Return how many files are UPLOADED in the database file `newer` and not in `earlier`, when the last of them came (milliseconds since
    the epoch; None without any), and how many it is the other way round with.
    """
    with closing(sqlite3.connect(f"{newer.as_uri()}?mode=ro", uri=True)) as connection:
        connection.execute("ATTACH ? AS earlier", (f"{earlier.as_uri()}?mode=ro",))
        came, last_at = connection.execute(_CAME).fetchone()
        (went,) = connection.execute(_WENT).fetchone()
    return came, last_at, went
