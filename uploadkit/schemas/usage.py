"""`/usage…` and `/logs`: what a project uses, and what happened to its files."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field

from uploadkit.core.values import Environment, FileId, FileKey, KeptMetadata, Moment, Timestamp
from uploadkit.projects import usage
from uploadkit.schemas.base import Answer, Page, PageQuery
from uploadkit.schemas.files import FileStatus
from uploadkit.schemas.projects import LimitsObject

Period = Annotated[str, Field(pattern=r"^\d{4}-\d\d$", description="a month, UTC", examples=["2026-04"])]


class LogListQuery(PageQuery):
    """Query of `GET /logs`."""

    since: Annotated[Moment | None, Field(description="happened then or later")] = None
    status: Annotated[FileStatus | None, Field(description="the file's status after the event")] = None


class UsageObject(Answer):
    """What the project uses now; for a test key, what its sandbox holds, which has no quota."""

    period: Period
    storage_used: Annotated[int, Field(description="bytes; does not reset with the month", examples=[1048576])]
    storage_reserved: Annotated[int, Field(description="bytes set aside for uploads under way", examples=[0])]
    uploads: Annotated[int, Field(description="completed in this month", examples=[1])]
    limits: LimitsObject

    @classmethod
    def of(cls, now: usage.Now) -> Self:
        """Return what is used now."""
        return cls(
            period=now.period,
            storage_used=now.storage_used_bytes,
            storage_reserved=now.storage_reserved_bytes,
            uploads=now.uploads,
            limits=LimitsObject.model_validate(now.limits),
        )


class UsageMonth(Answer):
    """What happened in one month."""

    period: Period
    uploads: Annotated[int, Field(description="completed", examples=[1])]
    bytes_uploaded: Annotated[int, Field(examples=[1048576])]
    bytes_deleted: Annotated[int, Field(examples=[0])]


class UsageHistory(Page[UsageMonth]):
    """The last twelve months, this one first."""

    next_cursor: None
    has_more: Literal[False]


class LogEntry(Answer):
    """One change of state of a file."""

    id: str
    at: Timestamp
    event: Annotated[
        Literal["upload.requested", "upload.completed", "upload.failed", "upload.expired", "upload.aborted", "file.deleted"],
        Field(examples=["upload.completed"]),
    ]
    file_id: FileId
    key: FileKey
    file_name: Annotated[str, Field(examples=["photo.jpg"])]
    route_slug: Annotated[str, Field(examples=["default"])]
    environment: Environment
    status: Annotated[FileStatus, Field(description="the file's status after it")]
    detail: Annotated[str | None, Field(description="why, where that is not plain")]
    metadata: KeptMetadata


class LogPage(Page[LogEntry]):
    """Some of the upload event log, newest first, and the cursor of the next page."""


class CounterDifference(Answer):
    """A counter that does not say what the rows say (`usage verify`). `period` is null for what does not belong to a month."""

    project_id: str
    environment: str
    period: str | None
    counter: str
    counted: int
    recomputed: int

    @classmethod
    def of(cls, difference: usage.Difference) -> Self:
        """Return one difference."""
        return cls(
            project_id=difference.project_id,
            environment=difference.environment,
            period=difference.period or None,
            counter=difference.counter,
            counted=difference.counted,
            recomputed=difference.recomputed,
        )


class UsageVerified(Answer):
    """What `usage verify` found, and whether it set it right."""

    fixed: bool
    differences: list[CounterDifference]
