"""Rows and bucket held against each other: what is in one and not in the other, or not the same.

Reads while the appliance works: what the listing seems to show is asked once more before it counts. Objects that are not the appliance's
(their keys name no project that it has or ever had) are counted and left alone.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

from uploadkit.auth import actors, audit
from uploadkit.context import Context
from uploadkit.core import clock
from uploadkit.core.errors import Conflict, StorageUnavailable
from uploadkit.db.connection import write
from uploadkit.files import lifecycle
from uploadkit.maintenance import object_check
from uploadkit.maintenance.object_check import Unreadable
from uploadkit.maintenance.queries import reconcile as queries
from uploadkit.maintenance.queries import verified
from uploadkit.objectstore import listing
from uploadkit.objectstore.boto import AccessDenied
from uploadkit.objectstore.bucket_rules import LifecycleDays

Kind = Literal["object_without_row", "row_without_object", "object_differs", "object_unreadable", "multipart_without_row"]
_ID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_FINAL_KEY = re.compile(rf"(?:test/)?({_ID})/[^/]+/{_ID}/[^/]+")
_MISSING_LATE_MS = clock.HOUR_MS


@dataclass(frozen=True)
class Finding:
    """One thing that is on one side only, or different; `suggestion` says what `--fix` does about it, None when nothing can be done."""

    kind: Kind
    key: str
    detail: str
    suggestion: str | None
    file_id: str | None = None
    upload_id: str | None = None
    is_young: bool = False
    fixed: bool = False


@dataclass
class Report:
    """What was compared and found. `waiting` rows should have been swept an hour ago; `unseen` says what could not be looked at.

    Of `read_files` verified files all bytes were read, as far as they came; for `unproven` of them the store has no digest to hold against.
    """

    objects: int = 0
    files: int = 0
    not_ours: int = 0
    waiting: int = 0
    read_files: int = 0
    read_bytes: int = 0
    unproven: int = 0
    findings: list[Finding] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)


def compare(ctx: Context) -> Report:
    """Hold all rows against all objects; change nothing. Raises StorageUnavailable, and AccessDenied without s3:ListBucket."""
    report, started_at = Report(), clock.now_ms()
    with queries.listing_kept():
        for page in listing.objects(ctx.store):
            queries.add_listed([(item.key, item.size_bytes, item.etag, item.written_at) for item in page])
            report.objects += len(page)
        report.files, report.waiting = queries.count_verified(), queries.count_unswept(started_at - _MISSING_LATE_MS)
        report.findings += _objects_without_row(ctx, report, started_at)
        report.findings += _rows_without_object(ctx, started_at)
        report.findings += _different_objects(ctx)
    try:
        report.findings += _multiparts_without_row(ctx, started_at)
    except AccessDenied as error:
        report.unseen.append(f"multipart uploads under way: {error.message}. {error.suggestion or ''}".strip())
    return report


def require_plausible(ctx: Context, report: Report) -> None:
    """Look at the findings as a whole before any is fixed. Raises Conflict when it rather looks like another bucket or another database:

    most files have no object, most objects no file, or objects have no file yet (they are younger than a day).
    """
    bucket, count = ctx.store.address.bucket, Counter(finding.kind for finding in report.findings)
    missing, stray = count["row_without_object"], count["object_without_row"] + count["multipart_without_row"]
    ours = report.objects - report.not_ours
    reason = None
    if missing * 2 > report.files:
        reason = f"{missing} of {report.files} files have no object in the bucket {bucket!r}: it looks like the wrong bucket"
    elif stray * 2 > ours:
        reason = f"{stray} of {ours} objects in the bucket {bucket!r} have no file: it looks like the wrong, or an old, database"
    elif young := sum(finding.is_young for finding in report.findings):
        reason = f"{young} of the objects without a file are younger than a day: somebody may be using them"
    if reason:
        raise Conflict(reason, "Nothing was changed. If you are sure that this is the right bucket and the right database, add --force")


def fix(ctx: Context, report: Report) -> Report:
    """Do what the findings' `suggestion` says, each after a last look; return the report with what was fixed."""
    return replace(report, findings=[replace(finding, fixed=_fixed(ctx, finding)) for finding in report.findings])


def _objects_without_row(ctx: Context, report: Report, started_at: int) -> Iterator[Finding]:
    known = queries.projects_ever()
    for key, size_bytes, written_at in queries.objects_without_row():
        if not is_ours(key, known):
            report.not_ours += 1
        elif _has_no_use(key):
            what = f"{size_bytes} bytes that no file refers to"
            try:
                if object_check.read(ctx.store, key, 0, 1) is None:
                    continue
            except Unreadable as error:
                what += f"; the store can't read them: {error}"
            young = written_at > started_at - clock.DAY_MS
            yield Finding("object_without_row", key, what, "delete the object", is_young=young)
    # Until then a PUT may be under way, of another appliance in this bucket perhaps.
    until = started_at - LifecycleDays.needed(ctx.config).pending * clock.DAY_MS
    for key, size_bytes in queries.pending_without_row(until):
        yield Finding("object_without_row", key, f"{size_bytes} bytes of an upload that is over", "delete the object")


def is_ours(key: str, projects: set[str]) -> bool:
    """Say whether an object's key is that of a file, deleted or not, of one of `projects`."""
    match = _FINAL_KEY.fullmatch(key)
    return match is not None and match[1] in projects


def _has_no_use(key: str) -> bool:
    file = queries.find_by_key(key)
    return file is None or (file.status in ("FAILED", "DELETED") and file.sweep_at is None)


def _rows_without_object(ctx: Context, started_at: int) -> Iterator[Finding]:
    for file_id, key in queries.files_without_object(started_at):
        try:
            if _is_missing(ctx, file_id, key):
                yield Finding("row_without_object", key, "the file's object is not in the bucket", "set the file DELETED", file_id)
        except Unreadable as error:
            yield _unreadable(file_id, key, error)


def _is_missing(ctx: Context, file_id: str, key: str) -> bool:
    return verified.is_there(file_id) and object_check.read(ctx.store, key, 0, 1) is None


def _unreadable(file_id: str, key: str, error: Unreadable) -> Finding:
    return Finding("object_unreadable", key, f"the store can't read it: {error}", None, file_id)


def _different_objects(ctx: Context) -> Iterator[Finding]:
    for file_id, key, wanted_bytes, present_bytes in queries.different_objects():
        file = verified.find(file_id)
        try:
            piece = object_check.read(ctx.store, key, 0, 1) if file else None
        except Unreadable as error:
            yield _unreadable(file_id, key, error)
            continue
        if file and piece and (piece.stored.size_bytes, piece.stored.etag) != (file.size_bytes, file.etag):
            what = (
                f"{present_bytes} bytes, {wanted_bytes} were verified"
                if present_bytes != wanted_bytes
                else "another ETag than was verified"
            )
            yield Finding("object_differs", key, f"somebody has replaced the object: {what}", None, file_id)


def _multiparts_without_row(ctx: Context, started_at: int) -> Iterator[Finding]:
    known = queries.projects_ever()
    for upload in listing.multiparts(ctx.store):
        if upload.key.startswith("pending/"):  # of a doctor that was killed
            over = upload.begun_at < started_at - clock.DAY_MS
        else:
            over = is_ours(upload.key, known) and _is_over(upload.key, upload.upload_id)
        if over:
            yield Finding(
                "multipart_without_row",
                upload.key,
                "a multipart upload that no file waits for",
                "abort the multipart upload",
                upload_id=upload.upload_id,
                is_young=upload.begun_at > started_at - clock.DAY_MS,
            )


def _is_over(key: str, upload_id: str) -> bool:
    file = queries.find_by_key(key)
    if file is None:
        return True
    under_way = file.status == "UPLOADING" and file.upload_id in (None, upload_id)
    return not under_way and file.sweep_at is None


def _fixed(ctx: Context, finding: Finding) -> bool:
    try:
        return _fix(ctx, finding)
    except Unreadable:
        return False
    except StorageUnavailable:
        object_check.require_answer(ctx.store)
        return False


def _fix(ctx: Context, finding: Finding) -> bool:
    match finding.kind:
        case "object_without_row":
            if not finding.key.startswith("pending/") and not _has_no_use(finding.key):
                return False
            ctx.store.delete(finding.key)
        case "multipart_without_row":
            assert finding.upload_id is not None
            ctx.store.abort_multipart(finding.key, finding.upload_id)
        case "row_without_object":
            assert finding.file_id is not None
            return _is_missing(ctx, finding.file_id, finding.key) and _give_up(ctx, finding.file_id)
        case "object_differs" | "object_unreadable":
            return False
    return True


def _give_up(ctx: Context, file_id: str) -> bool:
    with write():
        file = verified.find(file_id)
        if file is None:
            return False
        lifecycle.mark_deleted(ctx, file, "Its object was missing from the store")
        audit.record(actors.CommandLine(), "deleted", "file", file.id, file.project_id, {"key": file.key, "status": "UPLOADED"})
    return True
