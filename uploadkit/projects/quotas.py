"""Storage and upload quota: the only writer of the project counters and of the usage table (but for repairs, see usage.py).

A request *reserves* bytes and one upload; completing *settles* both into use; what comes to nothing is *released*.
Every function runs inside the caller's write transaction. Test files never count there; the sandbox has limits of its own, held against the
rows that are there.
"""

from __future__ import annotations

from uploadkit.config import SandboxConfig, TierConfig
from uploadkit.core import clock
from uploadkit.core.errors import RateLimited, TierLimitExceeded
from uploadkit.db.models import File
from uploadkit.projects.queries import counters
from uploadkit.projects.queries import projects as project_queries

MOST_FAILED = 20_000


def require_room_in_sandbox(project_id: str, size_bytes: int, sandbox: SandboxConfig) -> None:
    """Refuse another test upload of `size_bytes` where a project's sandbox is full. Raises TierLimitExceeded, which names the limit."""
    there = counters.sandbox(project_id)
    for name, limit, present, wanted, what in (
        ("max_files", sandbox.max_files, there.files, 1, "files are there or being uploaded"),
        ("max_storage", sandbox.max_storage, there.held_bytes, size_bytes, "bytes are there or being uploaded"),
        ("max_rows", sandbox.max_rows, there.rows, 1, "uploads were begun, the failed and deleted ones included"),
    ):
        if limit is not None and present + wanted > limit:
            raise TierLimitExceeded(
                f"The test sandbox of this project is full: {present} {what}, and its limit is {limit}",
                "Delete test files, or wait until they go by themselves (housekeeping.test_file_ttl_seconds). "
                f"This is the sandbox's own limit, sandbox.{name} in config.toml; live keys have their tier's",
            )


def require_few_failed(project_id: str, environment: str) -> None:
    """Refuse another upload of a project whose API keys and upload tokens began so many that failed, or were deleted unfinished.

    They free their place at once, but not their rows: those that are not swept yet are needed, and the others go in their turn. Anonymous
    ones have limits of their own, and keep nobody else out. Raises RateLimited.
    """
    if counters.more_came_to_nothing_than(MOST_FAILED, project_id, environment):
        raise RateLimited(
            f"{MOST_FAILED} uploads of this project failed or were aborted lately, and are still to be cleared away",
            "Look at GET /api/v1/logs?status=FAILED for the reason, and begin uploads that come to something",
            retry_after_seconds=600,
        )


def reserve(project_id: str, environment: str, size_bytes: int, limits: TierConfig) -> int:
    """Set `size_bytes` and one upload aside, if they fit `limits`; return the bytes reserved (0 in the test environment).

    Raises TierLimitExceeded, which names the limit.
    """
    if environment == "test":
        return 0
    period = clock.month_of(clock.now_ms())
    fits = counters.reserve(project_id, period, size_bytes, max_storage=limits.max_storage, max_uploads=limits.max_uploads_per_month)
    if not fits:
        raise _limit_exceeded(project_id, size_bytes, limits, period)
    return size_bytes


def settle(file: File, uploaded_at: int) -> None:
    """Turn the reservation of an upload that was completed at `uploaded_at` (milliseconds) into use, and count it in that month."""
    if file.environment == "live":
        counters.settle(file.project_id, reserved_bytes=file.reserved_bytes, size_bytes=file.size_bytes)
    month = clock.month_of(uploaded_at)
    counters.count_in_month(file.project_id, file.environment, month, uploads=1, bytes_uploaded=file.size_bytes)


def release_upload(file: File) -> None:
    """Give back the upload (not its bytes) of a row that has just left UPLOADING without success."""
    if file.environment == "live":
        counters.release_upload(file.project_id)


def release_bytes(file: File) -> None:
    """Give back the bytes that a failed row still holds; its `reserved_bytes` become 0."""
    if file.reserved_bytes:
        counters.release_bytes(file.project_id, file.id, file.reserved_bytes)


def forget(file: File, deleted_at: int) -> None:
    """Free the storage of a file that was deleted at `deleted_at` (milliseconds)."""
    if file.environment == "live":
        counters.free_storage(file.project_id, file.size_bytes)
    counters.count_in_month(file.project_id, file.environment, clock.month_of(deleted_at), bytes_deleted=file.size_bytes)


def remember_purged(file: File) -> None:
    """Note what a file's row had counted, just before the row itself goes: its months can be recomputed without it from then on."""
    if file.uploaded_at is None:
        return
    scope = (file.project_id, file.environment)
    counters.count_purged(*scope, clock.month_of(file.uploaded_at), uploads=1, bytes_uploaded=file.size_bytes)
    if file.deleted_at is not None:
        counters.count_purged(*scope, clock.month_of(file.deleted_at), bytes_deleted=file.size_bytes)


def _limit_exceeded(project_id: str, size_bytes: int, limits: TierConfig, period: str) -> TierLimitExceeded:
    project = project_queries.get(project_id)
    held = project.storage_used_bytes + project.storage_reserved_bytes
    if limits.max_storage is not None and held + size_bytes > limits.max_storage:
        return TierLimitExceeded(
            f"{size_bytes} bytes do not fit: {project.storage_used_bytes} bytes are stored and {project.storage_reserved_bytes} reserved "
            f"of the {limits.max_storage} byte storage limit of tier '{project.tier}'",
            "Delete files, wait for unfinished uploads to end, or move the project to a larger tier",
        )
    return TierLimitExceeded(
        f"The {limits.max_uploads_per_month} uploads that tier '{project.tier}' allows in {period} are used or under way",
        "Wait for the next month (UTC), or move the project to a larger tier",
    )
