"""`init` and `/readyz`: the beginning of an appliance, and how it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self

from uploadkit.context import JobReport
from uploadkit.core.values import Timestamp
from uploadkit.observability.health import Check
from uploadkit.schemas.base import Answer


class InitialisedObject(Answer):
    """What `init` made or found. Key and link are there on the first run only."""

    data_dir: str
    project_id: str
    api_key: str | None
    setup_url: str | None


class CheckObject(Answer):
    """One thing that an upload needs, and what was seen."""

    ok: bool
    detail: str


class JobObject(Answer):
    """What one periodic job has done since the start."""

    ok: bool
    runs: int
    done: int
    last_ended_at: Timestamp | None


class Readiness(Answer):
    """Answer of `/readyz`."""

    status: Literal["ready", "not ready"]
    checks: dict[str, CheckObject]
    jobs: dict[str, JobObject]

    @classmethod
    def of(cls, checks: Sequence[Check], reports: Sequence[JobReport]) -> Self:
        """Return what was looked at and what the jobs have done; ready is what has nothing wrong."""
        return cls(
            status="ready" if all(check.ok for check in checks) else "not ready",
            checks={check.name: CheckObject(ok=check.ok, detail=check.detail) for check in checks},
            jobs={
                report.name: JobObject(ok=not report.failed, runs=report.runs, done=report.done, last_ended_at=report.ended_at)
                for report in reports
            },
        )
