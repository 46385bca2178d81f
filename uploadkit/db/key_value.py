"""The table `setting`: facts about this appliance that outlive a restart and are no configuration, each a text under a name."""

from __future__ import annotations

from uploadkit.db.connection import execute


def get(name: str) -> str | None:
    """Return what is kept under `name`; None where nothing is."""
    row = execute("SELECT value FROM setting WHERE name = ?", (name,)).fetchone()
    return None if row is None else str(row[0])


def put(name: str, value: str) -> None:
    """Keep `value` under `name`, in place of what was there, in the caller's write transaction."""
    execute("INSERT OR REPLACE INTO setting (name, value) VALUES (?, ?)", (name, value))


def put_first(name: str, value: str) -> None:
    """Keep `value` under `name` unless something is kept there already, in the caller's write transaction."""
    execute("INSERT OR IGNORE INTO setting (name, value) VALUES (?, ?)", (name, value))
