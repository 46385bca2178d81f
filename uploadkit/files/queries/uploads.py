"""Rows of `file` on their way through the states (`lifecycle.py`). The statements of each upload are put together once.

What changes a row runs in the caller's write transaction, and only where the row is in the state that it says.
"""

from __future__ import annotations

from typing import Any

from uploadkit.db import statements
from uploadkit.db.connection import execute
from uploadkit.db.models import NUMBER_BITS, File

# The newest of those under way are looked at, no more: whoever is refused may ask again and again.
_FIRST_TRY = """
SELECT id FROM (
  SELECT id, created_at, joining_at, route_slug, file_name, size_bytes, content_type, upload_token_id, client_network, api_key_id, metadata
    FROM file
   WHERE project_id = :project AND environment = :environment AND status = 'UPLOADING' ORDER BY number DESC LIMIT 1000)
 WHERE created_at <= :before AND joining_at IS NULL
   AND size_bytes = :size AND file_name = :name AND route_slug = :route AND content_type = :type
   AND (upload_token_id = :token OR client_network = :network
        OR (upload_token_id IS NOT NULL AND :token IS NOT NULL AND api_key_id = :key AND metadata = :vouched))
 LIMIT 1
"""
# One whose parts the store was asked to join is looked at when that was to be, whatever becomes of its deadline.
_PUT_OFF = """
UPDATE file SET expires_at = :expires, deadline_at = :deadline, sweep_at = iif(joining_at IS NULL, :deadline, sweep_at), updated_at = :now
 WHERE id = :id AND status = 'UPLOADING'
"""
_EXPECT_JOINED = """
UPDATE file SET joining_at = :now, metadata = :metadata, updated_at = :now, sweep_at = :sweep_at, sweep_attempts = 0
 WHERE id = :id AND status = 'UPLOADING'
"""
_FINISH = """
UPDATE file SET status = 'UPLOADED', etag = ?, content_type = ?, metadata = ?, uploaded_at = ?, updated_at = ?, reserved_bytes = 0,
       sweep_at = ?, sweep_attempts = 0, joining_at = NULL
 WHERE id = ? AND status = 'UPLOADING'
"""
_FAIL = """
UPDATE file SET status = 'FAILED', failure = :failure, failure_message = :message, updated_at = :now, sweep_at = :now,
       joining_at = iif(:joining_is_over, NULL, joining_at)
 WHERE id = :id AND status = 'UPLOADING'
"""
_DELETE = """
UPDATE file SET status = 'DELETED', deleted_at = :now, updated_at = :now, sweep_at = :now, sweep_attempts = 0
 WHERE id = :id AND status IN ('UPLOADED', 'FAILED')
"""


def new(**columns: Any) -> File:
    """Return a row with `columns` and the defaults of the others. It is not in the database yet."""
    return statements.new(File, **columns)


def insert(file: File) -> None:
    """Insert a row under a number after that of every other one made in the same millisecond."""
    file.number = _next_number(file.created_at)
    statements.insert(file)


def _next_number(created_at: int) -> int:
    first = created_at << NUMBER_BITS
    (newest,) = execute("SELECT max(number) FROM file WHERE number < ?", ((created_at + 1) << NUMBER_BITS,)).fetchone()
    return first if newest is None else max(first, int(newest) + 1)


def get(file_id: str) -> File:
    """Return the row with this id, whatever its state. Raises peewee.DoesNotExist."""
    return statements.get(File, file_id)


def find(file_id: str) -> File | None:
    """Return the row with this id, whatever its state, if it is still there."""
    return statements.find(File, "id = ?", file_id)


def find_under_way(file_id: str) -> File | None:
    """Return the row with this id if it is UPLOADING."""
    return statements.find(File, "id = ? AND status = 'UPLOADING'", file_id)


def find_present(file_id: str, project_id: str, environment: str) -> File | None:
    """Return the row with this id if it is of this project and environment, and not DELETED."""
    return statements.find(File, "id = ? AND project_id = ? AND environment = ? AND status <> 'DELETED'", file_id, project_id, environment)


def find_first_try(
    file: File, *, before_ms: int, upload_token_id: str | None, network: str | None, api_key_id: str | None, vouched: str | None
) -> str | None:
    """Return the id of an upload under way of the same file as `file` by the same user, begun before `before_ms`; None without one.

    The same user is the same upload token, another one of the same key that vouches for the same metadata (as JSON), or the same address.
    """
    asked = {
        "project": file.project_id,
        "environment": file.environment,
        "before": before_ms,
        "route": file.route_slug,
        "name": file.file_name,
        "size": file.size_bytes,
        "type": file.content_type,
        "token": upload_token_id,
        "network": network,
        "key": api_key_id,
        "vouched": vouched,
    }
    row = execute(_FIRST_TRY, asked).fetchone()
    return None if row is None else str(row[0])


def keep_upload_id(file_id: str, upload_id: str) -> bool:
    """Keep the store's name for an upload in parts; return whether it still is UPLOADING."""
    return execute("UPDATE file SET upload_id = ? WHERE id = ? AND status = 'UPLOADING'", (upload_id, file_id)).rowcount == 1


def put_off(file_id: str, *, expires_at: int, deadline_at: int, now_ms: int) -> bool:
    """Set when the URLs and the upload end, and with that when it is swept; return whether it still is UPLOADING."""
    return execute(_PUT_OFF, {"expires": expires_at, "deadline": deadline_at, "now": now_ms, "id": file_id}).rowcount == 1


def put_off_sweep(file_id: str, *, deadline_at: int, sweep_at: int) -> None:
    """Set when an upload ends and is swept, if it still is UPLOADING."""
    execute("UPDATE file SET deadline_at = ?, sweep_at = ? WHERE id = ? AND status = 'UPLOADING'", (deadline_at, sweep_at, file_id))


def sweep_again(file_id: str, sweep_at: int) -> None:
    """Set when an upload is looked at next, if it still is UPLOADING."""
    execute("UPDATE file SET sweep_at = ? WHERE id = ? AND status = 'UPLOADING'", (sweep_at, file_id))


def expect_joined(file_id: str, metadata: str, *, now_ms: int, sweep_at_ms: int) -> bool:
    """Note that the store is asked for the joined object, with `metadata` as JSON; return whether the upload still is UPLOADING."""
    return execute(_EXPECT_JOINED, {"now": now_ms, "metadata": metadata, "sweep_at": sweep_at_ms, "id": file_id}).rowcount == 1


def finish(file_id: str, *, etag: str, content_type: str, metadata: str, now_ms: int, sweep_at: int | None) -> bool:
    """UPLOADING → UPLOADED, with `metadata` as JSON; return whether it was UPLOADING."""
    return execute(_FINISH, (etag, content_type, metadata, now_ms, now_ms, sweep_at, file_id)).rowcount == 1


def fail(file_id: str, failure: str, message: str, *, now_ms: int, joining_is_over: bool) -> bool:
    """UPLOADING → FAILED, to be swept at once; return whether it was UPLOADING. What the store may still be joining stays noted."""
    asked = {"failure": failure, "message": message, "now": now_ms, "joining_is_over": joining_is_over, "id": file_id}
    return execute(_FAIL, asked).rowcount == 1


def delete(file_id: str, now_ms: int) -> bool:
    """UPLOADED or FAILED → DELETED, to be swept at once; return whether it was one of these."""
    return execute(_DELETE, {"now": now_ms, "id": file_id}).rowcount == 1


def note_swept(file_id: str, status: str, sweep_at_ms: int | None) -> None:
    """Set when a row is swept next (None: never again), if its state still is `status`."""
    execute("UPDATE file SET sweep_at = ?, sweep_attempts = 0 WHERE id = ? AND status = ?", (sweep_at_ms, file_id, status))
