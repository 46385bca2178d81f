"""The table of periodic jobs, run by APScheduler, and the webhook dispatcher beside them. No logic here."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime

from apscheduler.schedulers.background import BackgroundScheduler

from uploadkit.context import Context, JobReport
from uploadkit.coordination import idempotency
from uploadkit.core import clock
from uploadkit.db import faults
from uploadkit.files import anonymous_uploads, upload_tokens
from uploadkit.maintenance import part_floods, project_removal, retention, scrub, sweeper
from uploadkit.objectstore import trust
from uploadkit.projects.request_counts import WRITE_EVERY_SECONDS
from uploadkit.webhooks.dispatcher import Dispatcher

log = logging.getLogger(__name__)


class Jobs:
    """The scheduler of one appliance."""

    def __init__(self, ctx: Context) -> None:
        self._scheduler = BackgroundScheduler(
            timezone=UTC,
            # The defaults silently drop a job that is a second late.
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
        )
        table: list[tuple[str, Callable[[Context], int], int]] = [
            ("sweep", sweeper.sweep_due, ctx.config.housekeeping.interval_seconds),
            ("removals", project_removal.remove_deleted_projects, ctx.config.housekeeping.interval_seconds),
            ("purge", sweeper.purge_test_files, ctx.config.housekeeping.interval_seconds),
            ("retention", sweeper.retire_old_files, 3600),
            ("history", retention.forget, 3600),
            ("part floods", part_floods.PartFloods().look, part_floods.EVERY_SECONDS),
            ("scrub", scrub.scrub, scrub.EVERY_SECONDS),
            ("early history", retention.forget_early, 3600),
            ("anonymous counts", anonymous_uploads.forget_counts, 3600),
            ("idempotency", lambda ctx: idempotency.purge_expired(ctx.stopping), 3600),
            ("upload tokens", upload_tokens.purge_expired, 3600),
            ("store safety", lambda ctx: ctx.store_trust.look_if_due(), trust.LOOK_EVERY_SECONDS),
            ("request counts", lambda ctx: ctx.request_counts.write_down(), WRITE_EVERY_SECONDS),
        ]
        self._reports = [JobReport(name) for name, _, _ in table]
        runs = {name: _reported(report, function, ctx) for (name, function, _), report in zip(table, self._reports, strict=True)}
        for name, _, every_seconds in table:
            self._scheduler.add_job(runs[name], "interval", seconds=every_seconds, id=name, next_run_time=datetime.now(UTC))
        self._write_last_counts = runs["request counts"]
        self._stopping = ctx.stopping
        self._webhooks = Dispatcher(ctx)
        ctx.wake_sweeper = lambda: self.run_now("sweep")
        ctx.wake_removals = lambda: self.run_now("removals")
        ctx.wake_forgetting = lambda: self.run_now("early history")
        ctx.scheduler_running = lambda: bool(self._scheduler.running) and self._webhooks.running
        ctx.job_reports = lambda: self._reports

    def start(self) -> None:
        """Start running jobs, each once right away, and sending webhooks."""
        self._scheduler.start()
        self._webhooks.start()

    def stop(self) -> None:
        """Let the running job step end, then stop. No request is answered any more: what was counted is written."""
        self._stopping.set()
        if self._scheduler.running:
            self._scheduler.shutdown(wait=True)
        self._webhooks.stop()
        self._write_last_counts()

    def run_now(self, name: str) -> None:
        """Have a job run at once instead of at its next turn."""
        if self._scheduler.running:
            self._scheduler.modify_job(name, next_run_time=datetime.now(UTC))


def _reported(report: JobReport, function: Callable[[Context], int], ctx: Context) -> Callable[[], None]:
    def run() -> None:
        try:
            done = function(ctx)
            report.done += done
            report.failed = False
            if done:
                log.info("job %s did its work", report.name, extra={"done": done, "done_since_start": report.done})
        except Exception as error:
            report.failed = True
            if (trouble := faults.trouble(error)) is not None:
                log.warning("job %s put off to its next turn: SQLite says %s. %s", report.name, error, trouble[1])
            else:
                log.exception("job %s failed; it runs again at its next turn", report.name)
        report.runs += 1
        report.ended_at = clock.now_ms()

    return run
