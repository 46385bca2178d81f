"""What lies in the data directory beside the database and the store."""

from __future__ import annotations

from pathlib import Path


def note_file(data_dir: Path) -> Path:
    """Return where the set-up link and the first key are left when there is no terminal to show them on."""
    return data_dir / "first-run.txt"


def remove_note(data_dir: Path) -> None:
    """Take the note away: whoever set up the dashboard has read it."""
    note_file(data_dir).unlink(missing_ok=True)
