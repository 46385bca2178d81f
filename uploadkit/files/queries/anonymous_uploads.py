"""What uploads without key and token hold, and how many were begun (`anonymous_begun`)."""

from __future__ import annotations

from uploadkit.db.connection import execute

_PENDING = """
SELECT count(*) FILTER (WHERE status = 'UPLOADING'), coalesce(sum(reserved_bytes), 0) FROM file
 WHERE project_id = ? AND client_network IS NOT NULL AND reserved_bytes > 0
"""
_PENDING_OF_ONE = """
SELECT status, reserved_bytes, deadline_at FROM file
 WHERE project_id = ? AND client_network = ? AND client_network IS NOT NULL AND reserved_bytes > 0 ORDER BY deadline_at
"""
_COUNT_BEGUN = """
INSERT INTO anonymous_begun (project_id, network, began_at, uploads) VALUES (?, ?, ?, 1)
ON CONFLICT (project_id, network, began_at) DO UPDATE SET uploads = uploads + 1 RETURNING uploads
"""
_FORGET_BEGUN = """
DELETE FROM anonymous_begun WHERE (project_id, network, began_at) IN
  (SELECT project_id, network, began_at FROM anonymous_begun WHERE began_at < ? ORDER BY began_at LIMIT ?)
"""


def pending(project_id: str) -> tuple[int, int]:
    """Return how many anonymous uploads are under way in a project, and the bytes that these and aborted ones hold."""
    uploads, held_bytes = execute(_PENDING, (project_id,)).fetchone()
    return uploads, held_bytes


def pending_of(project_id: str, network: str | None) -> list[tuple[str, int, int]]:
    """Return the state, the bytes held and the deadline of each anonymous upload of one address that holds bytes, the next one first."""
    return execute(_PENDING_OF_ONE, (project_id, network)).fetchall()


def count_begun(project_id: str, network: str, began_at: int) -> int:
    """Count one more upload begun by an address (all of a project: "") in the period from `began_at` on; return how many that makes."""
    (uploads,) = execute(_COUNT_BEGUN, (project_id, network, began_at)).fetchone()
    return int(uploads)


def forget_begun(before_ms: int, most: int) -> int:
    """Delete up to `most` counts of periods that began before `before_ms`; return how many."""
    return execute(_FORGET_BEGUN, (before_ms, most)).rowcount
