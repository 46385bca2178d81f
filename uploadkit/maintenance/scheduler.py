"""The table of periodic jobs, run by APScheduler, and the webhook dispatcher beside them. No logic here."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime

from apscheduler.schedulers.background import BackgroundScheduler

from uploadkit.context import Context, JobReport
from uploadkit.coordination import idempotency
from uploadkit.core import clock
from uploadkit.db import faults
from uploadkit.files import anonymous_uploads, upload_tokens
from uploadkit.maintenance import late_puts, old_files, part_floods, project_removal, retention, scrub, sweeper
from uploadkit.maintenance.backups import schedule as backup_schedule
from uploadkit.objectstore import trust
from uploadkit.projects.request_counts import WRITE_EVERY_SECONDS
from uploadkit.webhooks.dispatcher import Dispatcher

log = logging.getLogger(__name__)


class Scheduler:
    """The jobs of one appliance, and its `Signals`: until `start` nothing runs, and there is nobody to wake."""

    def __init__(self) -> None:
        self._scheduler = BackgroundScheduler(
            timezone=UTC,
            # The defaults silently drop a job that is a second late.
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
        )
        self._webhooks: Dispatcher | None = None
        self._reports: list[JobReport] = []
        self._ends = ExitStack()

    def start(self, ctx: Context) -> None:
        """Start sending webhooks and running jobs, each once right away."""
        table: list[tuple[str, Callable[[Context], int], int]] = [
            ("sweep", sweeper.sweep_due, ctx.config.housekeeping.interval_seconds),
            ("removals", project_removal.remove_deleted_projects, ctx.config.housekeeping.interval_seconds),
            ("purge", old_files.purge_test_files, ctx.config.housekeeping.interval_seconds),
            ("retention", old_files.retire_old_files, 3600),
            ("history", retention.forget, 3600),
            ("part floods", part_floods.PartFloods().look, part_floods.EVERY_SECONDS),
            ("late PUTs", late_puts.remove, late_puts.EVERY_SECONDS),
            ("scrub", scrub.scrub, scrub.EVERY_SECONDS),
            ("early history", retention.forget_early, 3600),
            ("anonymous counts", anonymous_uploads.forget_counts, 3600),
            ("idempotency", lambda ctx: idempotency.purge_expired(ctx.stopping), 3600),
            ("upload tokens", upload_tokens.purge_expired, 3600),
            ("store safety", lambda ctx: ctx.store_trust.look_if_due(), trust.LOOK_EVERY_SECONDS),
            ("backup", backup_schedule.run_if_due, backup_schedule.EVERY_SECONDS),
            ("request counts", lambda ctx: ctx.request_counts.write_down(), WRITE_EVERY_SECONDS),
        ]
        for name, function, every_seconds in table:
            run = _reported(report := JobReport(name), function, ctx)
            self._reports.append(report)
            self._scheduler.add_job(run, "interval", seconds=every_seconds, id=name, next_run_time=datetime.now(UTC))
            if name == "request counts":
                self._ends.callback(run)
        self._webhooks = Dispatcher(ctx)
        self._webhooks.start()
        self._ends.callback(self._webhooks.stop)
        self._scheduler.start()
        self._ends.callback(self._scheduler.shutdown, wait=True)
        self._ends.callback(ctx.stopping.set)

    def stop(self) -> None:
        """Let the running job step end, then stop. No request is answered any more: what was counted is written."""
        self._ends.close()

    def wake_sweeper(self) -> None:
        """See `Signals`, as for all that follow."""
        self._run_now("sweep")

    def wake_removals(self) -> None:
        """Have deleted projects removed."""
        self._run_now("removals")

    def wake_forgetting(self) -> None:
        """Have history forgotten."""
        self._run_now("early history")

    def wake_webhooks(self) -> None:
        """Have deliveries sent."""
        if self._webhooks is not None:
            self._webhooks.wake()

    def wake_backup(self) -> None:
        """Have a backup made that was asked for."""
        self._run_now("backup")

    def running(self) -> bool:
        """Say whether all of it runs."""
        return bool(self._scheduler.running) and self._webhooks is not None and self._webhooks.running

    def reports(self) -> Sequence[JobReport]:
        """Return what the jobs have done."""
        return self._reports

    def _run_now(self, name: str) -> None:
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
