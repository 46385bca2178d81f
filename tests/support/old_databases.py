"""Databases of an older program."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from uploadkit.core import clock
from uploadkit.db import migrating

# The schema of before the last one that works through all rows.
OLD = 4


_FILES = """
WITH RECURSIVE n (i, at) AS (SELECT 1, :began UNION ALL SELECT i + 1, at + 1 FROM n WHERE i < :rows)
INSERT INTO file (number, id, project_id, environment, route_slug, key, file_name, size_bytes, content_type, visibility, status, expires_at,
                  deadline_at, created_at, updated_at, uploaded_at)
SELECT at << 20, printf('%032d', i), 'one', 'live', 'default', printf('p/%032d', i), printf('Photo %x of %d.jpg', i * 7919, i),
       1000, 'image/jpeg', 'public', 'UPLOADED', 1, 1, at, at, at FROM n
"""


_EVENTS = """
INSERT INTO event (id, at, event, project_id, environment, file_id, key, file_name, route_slug, status, size_bytes, content_type,
                   visibility, file_created_at)
SELECT id, created_at, 'upload.completed', project_id, environment, id, key, file_name, route_slug, status, size_bytes, content_type,
       visibility, created_at FROM file
"""


def old_database(path: Path, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a database of an older program, with so many files and as many events."""
    older = [migration for migration in migrating.migrations() if migration[0] <= OLD]
    with monkeypatch.context() as patched:
        patched.setattr(migrating, "migrations", lambda: older)
        migrating.migrate(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("INSERT INTO project (id, name, slug, tier, created_at, updated_at) VALUES ('one', 'P', 'p', 'pro', 1, 1)")
        connection.execute(_FILES, {"rows": rows, "began": clock.now_ms() - rows})
        connection.execute(_EVENTS)


def version_and_rows(path: Path) -> tuple[int, int, int]:
    """Schema, files and events of a database that is whole."""
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check(1)").fetchone() == ("ok",)
        counts = connection.execute("SELECT (SELECT count(*) FROM file), (SELECT count(*) FROM event)").fetchone()
        return (connection.execute("PRAGMA user_version").fetchone()[0], *counts)
