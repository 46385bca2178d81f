"""UPLOADED files, for whoever walks through them: oldest first, a batch at a time, by the number of the last one seen."""

from __future__ import annotations

from collections.abc import Collection

from uploadkit.db.connection import execute
from uploadkit.db.models import File


def batch(after_number: int, most: int, *, last_number: int | None = None, since_ms: int | None = None) -> list[File]:
    """Return up to `most` of them after a number; up to `last_number`, and completed from `since_ms` on, where these are given."""
    query = File.select().where(File.number > after_number, File.status == "UPLOADED")
    if last_number is not None:
        query = query.where(File.number <= last_number)
    if since_ms is not None:
        query = query.where(File.uploaded_at >= since_ms)
    return list(query.order_by(File.number).limit(most))


def find(file_id: str) -> File | None:
    """Return the file with this id, if it is UPLOADED."""
    file: File | None = File.get_or_none(File.id == file_id, File.status == "UPLOADED")
    return file


def is_as_it_was(file: File) -> bool:
    """Say whether a file still is UPLOADED, with the ETag that was read before."""
    return bool(File.select().where(File.id == file.id, File.status == "UPLOADED", File.etag == file.etag).exists())


def is_there(file_id: str) -> bool:
    """Say whether the file with this id is UPLOADED."""
    return bool(File.select().where(File.id == file_id, File.status == "UPLOADED").exists())


def any_there() -> bool:
    """Say whether any file is UPLOADED."""
    return bool(File.select().where(File.status == "UPLOADED").exists())


def keys_there(keys: Collection[str]) -> set[str]:
    """Return those of `keys` whose files are UPLOADED."""
    return {file.key for file in File.select(File.key).where(File.key << list(keys), File.status == "UPLOADED")}


def extent(since_ms: int | None) -> tuple[int, int, int]:
    """Return the number of the last one (-1: there is none), how many there are, and their bytes; of those completed from then on."""
    sql = "SELECT coalesce(max(number), -1), count(*), coalesce(sum(size_bytes), 0) FROM file WHERE status = 'UPLOADED'"
    last, files, size_bytes = execute(f"{sql} AND uploaded_at >= ?", (since_ms or 0,)).fetchone()
    return last, files, size_bytes


def count_and_size() -> tuple[int, int]:
    """Return how many there are, and their bytes."""
    files, size_bytes = execute("SELECT count(*), coalesce(sum(size_bytes), 0) FROM file WHERE status = 'UPLOADED'").fetchone()
    return files, size_bytes


def set_etag(file_id: str, etag: str) -> None:
    """Set the ETag that a file's object has in another store, if the file still is UPLOADED."""
    execute("UPDATE file SET etag = ? WHERE id = ? AND status = 'UPLOADED'", (etag, file_id))


def count_under_way() -> int:
    """Return how many uploads are UPLOADING."""
    (uploads,) = execute("SELECT count(*) FROM file WHERE status = 'UPLOADING'").fetchone()
    return int(uploads)
