"""The commands about the object store: `doctor`, `reconcile` and `storage copy`."""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Literal

import click
from rich.console import Console

from uploadkit import config
from uploadkit.cli.output import json_option, open_installation, progress_bar
from uploadkit.cli.terminal import plain, tell
from uploadkit.config import Config, edit
from uploadkit.context import Context
from uploadkit.core import clock
from uploadkit.core.data_dir import DataDirInUse, lock_data_dir
from uploadkit.core.errors import ConfigError, StorageUnavailable
from uploadkit.core.sizes import MIB
from uploadkit.db.connection import open_database
from uploadkit.maintenance import deep_check, reconcile, store_migration
from uploadkit.objectstore.boto import AccessDenied
from uploadkit.objectstore.doctor import Finding
from uploadkit.objectstore.factory import reached_store, running_store, serving_store, store_name
from uploadkit.objectstore.store import ObjectStore
from uploadkit.observability import diagnosis

_DATES = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ"]
_REPORT_EVERY_MS = 60_000
_GOES_ON = "What was read stays read; the same command goes on from there"
_DAMAGED_SUGGESTION = (
    "Damaged objects are not repaired by --fix, and their files stay: restore them from a backup, under the same keys, and run "
    "this again; or delete the files (DELETE /api/v1/files/{key}, or in the dashboard) and have them sent again."
)
_STYLES = {"ok": "green", "warning": "yellow", "failed": "bold red", "skipped": "dim"}


@click.command()
@click.option("--fix", is_flag=True, help="Set the bucket's CORS and lifecycle rules where they are wrong.")
@json_option
@click.pass_context
def doctor(context: click.Context, fix: bool, as_json: bool) -> None:
    """Prove the storage settings against the real bucket, and say what to do. Leaves nothing in it; exit code 1 when a check failed."""
    os.umask(0o077)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _interrupt_once)
    loaded = config.load(context.find_root().obj)
    if loaded.database_path.exists():
        open_database(loaded, upgrade=False)
    console = Console(highlight=False, soft_wrap=True)
    findings = []
    with (
        reached_store(loaded, lambda message: tell(message, err=True)) as store,
        closing(diagnosis.examine(loaded, store, fix=fix)) as examination,
    ):
        for finding in examination:
            findings.append(finding)
            if not as_json:
                _show(console, finding)
    failed = [finding.name for finding in findings if finding.outcome == "failed"]
    if as_json:
        tell(json.dumps({"ok": not failed, "bucket": store.address.bucket, "checks": [asdict(finding) for finding in findings]}))
    else:
        console.print(
            f"\n{len(failed)} check(s) failed: {', '.join(failed)}" if failed else f"\nBucket {store.address.bucket} is in order."
        )
    sys.exit(1 if failed else 0)


def _interrupt_once(number: int, _: object) -> None:
    """End the examination; a second signal does not end the clearing of the bucket that follows."""
    for other in (signal.SIGTERM, signal.SIGINT):
        signal.signal(other, signal.SIG_IGN)
    tell("Interrupted; clearing the bucket first ...", err=True)
    raise KeyboardInterrupt


def _show(console: Console, finding: Finding) -> None:
    style = _STYLES[finding.outcome]
    console.print(f"[{style}]{finding.outcome:<8}[/{style}] {finding.name:<19} {plain(finding.detail)}")
    if finding.suggestion and finding.outcome != "ok":
        console.print(f"{'':<9}{'':<19} → {plain(finding.suggestion)}")


@dataclass(frozen=True)
class _Deep:
    """How `--deep` reads."""

    since_ms: int | None
    bytes_per_second: float | None
    anew: bool


@click.command("reconcile")
@click.option("--fix", is_flag=True, help="Delete objects that no file refers to; set files DELETED whose object is gone.")
@click.option("--force", is_flag=True, help="Fix also where it looks like the wrong bucket, the wrong database, or work under way.")
@click.option("--deep", is_flag=True, help="Read every file's bytes, too. May be interrupted; the next run goes on where it was.")
@click.option("--since", type=click.DateTime(_DATES), help="With --deep: only files completed from then on (UTC).")
@click.option("--max-mib-per-second", "most_mib", type=click.FloatRange(min=0, min_open=True), help="With --deep: read no faster.")
@click.option("--anew", is_flag=True, help="With --deep: begin from the first file, also if an earlier run was interrupted.")
@json_option
@click.pass_context
def reconcile_command(
    context: click.Context,
    fix: bool,
    force: bool,
    deep: bool,
    since: datetime | None,
    most_mib: float | None,
    anew: bool,
    as_json: bool,
) -> None:
    """Hold the files in the database against the objects in the bucket, and report what is on one side only, or damaged (exit code 1)."""
    if not deep and (since or most_mib or anew):
        raise click.UsageError("--since, --max-mib-per-second and --anew are for --deep")
    how = _Deep(int(since.replace(tzinfo=UTC).timestamp() * 1000) if since else None, most_mib * MIB if most_mib else None, anew)
    loaded = open_installation(context)
    if fix:
        _require_store_in_use(loaded)
    with reached_store(loaded, lambda message: tell(message, err=True)) as store:
        ctx = Context(loaded, store)
        report = _compared(ctx, how if deep else None)
        if fix and not force:
            reconcile.require_plausible(ctx, report)
        if fix:
            report = reconcile.fix(ctx, report)
    left = [finding for finding in report.findings if not finding.fixed]
    if as_json:
        tell(json.dumps(asdict(report)))
    else:
        _show_report(report)
    sys.exit(1 if left else 0)


def _compared(ctx: Context, deep: _Deep | None) -> reconcile.Report:
    """The report; with `deep`, of the bytes as well, also where the bucket can't be listed."""
    if deep is None:
        return reconcile.compare(ctx)
    try:
        report = reconcile.compare(ctx)
    except AccessDenied as error:
        report = reconcile.Report(unseen=[f"the bucket as a whole: {error.message}. {error.suggestion or ''}".strip()])
    found = _read_all(ctx, deep)
    report.read_files, report.read_bytes, report.unproven = found.files, found.read_bytes, found.unproven
    known = {finding.key for finding in report.findings}
    report.findings += [
        reconcile.Finding(one.damage.kind, one.key, one.damage.detail, None, one.file_id) for one in found.damaged if one.key not in known
    ]
    return report


def _read_all(ctx: Context, deep: _Deep) -> deep_check.Pass:
    """Read with a progress bar, or a line a minute where there is no terminal. On Ctrl-C or SIGTERM, what is read stays read."""
    seen = deep_check.Pass()
    reported_at = clock.monotonic_ms()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with progress_bar() as bar:
        task = bar.add_task("reading")

        def follow(present: deep_check.Pass) -> None:
            nonlocal seen, reported_at
            is_first, seen = seen is not present, present
            if is_first and present.went_on:
                tell(f"Going on after {_how_far(present)}", err=True)
            bar.update(task, total=present.total_bytes, completed=present.read_bytes, description=f"{len(present.damaged)} damaged")
            if bar.disable and clock.monotonic_ms() - reported_at >= _REPORT_EVERY_MS:
                reported_at = clock.monotonic_ms()
                tell(f"{_how_far(present)}, {len(present.damaged)} damaged", err=True)

        try:
            return deep_check.run(
                ctx.config,
                ctx.store,
                since_ms=deep.since_ms,
                bytes_per_second=deep.bytes_per_second,
                anew=deep.anew,
                stopping=ctx.stopping,
                tell=follow,
            )
        except StorageUnavailable as error:
            raise StorageUnavailable(f"Broken off after {_how_far(seen)}: {error.message}", _GOES_ON) from None
        except KeyboardInterrupt:
            bar.stop()
            tell(f"\nInterrupted after {_how_far(seen)}. {_GOES_ON}.", err=True)
            for one in seen.damaged:
                tell(f"{one.damage.kind:<21} {one.key}: {one.damage.detail}", err=True)
            sys.exit(130)


def _how_far(present: deep_check.Pass) -> str:
    mib, total_mib = present.read_bytes / MIB, present.total_bytes / MIB
    return f"{present.files} of {present.total_files} files, {mib:.0f} of {total_mib:.0f} MiB"


def _require_store_in_use(loaded: Config) -> None:
    """Refuse to fix files by a store that they are not in. Raises ConfigError."""
    present, named = store_migration.store_in_use(), store_name(loaded)
    if present is not None and present != named:
        raise ConfigError(
            f"storage: this configuration names the store {named}, and the appliance's files are in {present}; "
            "nothing was changed. Run this with the appliance's own configuration, or start the appliance with this one first"
        )


def _show_report(report: reconcile.Report) -> None:
    for finding in report.findings:
        suggestion = (
            f"done: {finding.suggestion}"
            if finding.fixed
            else f"--fix would {finding.suggestion}"
            if finding.suggestion
            else "look at it yourself"
        )
        tell(f"{finding.kind:<21} {finding.key}: {finding.detail} ({suggestion})")
    for unseen in report.unseen:
        tell(f"not looked at: {unseen}")
    tell(
        f"{report.files} files, {report.objects} objects"
        + (f", {report.not_ours} of them not the appliance's (left alone)" if report.not_ours else "")
        + (f", {len(report.findings)} findings." if report.findings else ": they agree.")
    )
    if report.read_files:
        tell(
            f"{report.read_files} files were read, {report.read_bytes / MIB:.0f} MiB"
            + (f"; {report.unproven} of them have no ETag that says anything of their bytes" if report.unproven else "")
            + "."
        )
    if any(finding.kind in ("object_unreadable", "object_differs") for finding in report.findings):
        tell(_DAMAGED_SUGGESTION)
    if report.waiting:
        tell(f"{report.waiting} rows have waited over an hour for the sweeper: does the appliance run? /readyz says how its jobs are.")


@click.group("storage")
def storage_commands() -> None:
    """Move the files to another store."""


@storage_commands.command("copy")
@click.option("--to", "target_mode", type=click.Choice(["byos", "bundled"]), help="The store to copy to; the one not in use by default.")
@click.pass_context
def copy(context: click.Context, target_mode: Literal["byos", "bundled"] | None) -> None:
    """Copy every file to the other store and verify it; with the appliance stopped, then switch storage.mode.

    May be run while the appliance works, repeated, and interrupted.
    """
    loaded = open_installation(context)
    target_mode = target_mode or ("bundled" if loaded.storage.mode == "byos" else "byos")
    if target_mode == loaded.storage.mode:
        raise ConfigError(f'storage.mode: is "{target_mode}" already; name the other store with --to')
    with ExitStack() as stack:
        wanted = config.with_storage_mode(loaded, target_mode)
        source, target, is_stopped = _both_stores(stack, loaded, wanted)
        target.probe()
        copied = _copied(loaded, source, wanted, target)
        tell(f"{copied.files} files copied, {copied.there_already} were there already, {len(copied.failures)} failed.")
        for key, reason in copied.failures.items():
            tell(f"failed: {key}: {reason}", err=True)
        if copied.failures:
            tell("Nothing was switched. Fix that and run the command again; what is copied stays.", err=True)
            sys.exit(1)
        if not is_stopped:
            tell("The appliance runs and still uses the old store. Stop it and run this again: it copies what came since, then switches.")
            return
        if not store_migration.clear_target(target):
            tell("The target can't be listed: files that were deleted after they had been copied are still there.", err=True)
        _switch(context, target_mode)


def _both_stores(stack: ExitStack, loaded: Config, wanted: Config) -> tuple[ObjectStore, ObjectStore, bool]:
    """Source, target, and whether the appliance is stopped, which it then is until the command ends."""
    try:
        stack.enter_context(lock_data_dir(loaded.data_dir))
    except DataDirInUse:
        if wanted.storage.mode == "bundled":
            raise ConfigError(
                "storage.mode: the appliance runs; stop it first, since the bundled store has to be started for this"
            ) from None
        return running_store(loaded), running_store(wanted), False
    return stack.enter_context(serving_store(loaded)), stack.enter_context(serving_store(wanted)), True


def _copied(loaded: Config, source: ObjectStore, wanted: Config, target: ObjectStore) -> store_migration.Copied:
    """Copy with a progress bar. When one of the stores goes away, or on Ctrl-C, what is copied stays, and nothing is switched."""
    total_files, total_bytes = store_migration.size_of_all()
    with progress_bar() as progress:
        task = progress.add_task(f"{total_files} files", total=total_bytes)
        try:
            return store_migration.copy_files(loaded, source, wanted, target, lambda file: progress.advance(task, file.size_bytes))
        except StorageUnavailable as error:
            raise StorageUnavailable(f"Broken off: {error.message}", "What is copied stays; run the command again") from None
        except KeyboardInterrupt:
            progress.stop()
            tell("\nInterrupted. What is copied stays; nothing was switched.", err=True)
            # A thread may wait for a store that hangs, and Python would wait for the thread.
            os._exit(130)


def _switch(context: click.Context, mode: str) -> None:
    path = config.find_config_file(context.find_root().obj, os.environ)
    by_environment = "UPLOADKIT_STORAGE__MODE"
    if path is None or by_environment in os.environ:
        tell(f"All files are there. Now set {by_environment}={mode} and start the appliance.")
    else:
        edit.set_storage_mode(path, mode)
        tell(f'All files are there, and {path} now says storage.mode = "{mode}". Start the appliance; the old store is left as it was.')
    if given := sorted(name for name in os.environ if name.startswith("UPLOADKIT_STORAGE__BYOS__")):
        tell(f"The appliance needs these from its own environment, too: {', '.join(given)}")
    if under_way := store_migration.uploads_under_way():
        tell(f"{under_way} upload(s) under way in the old store will have to start again.")
