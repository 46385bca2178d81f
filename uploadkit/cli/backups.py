"""`backup`: make, list, verify and restore backups."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from contextlib import ExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import click

from uploadkit import config
from uploadkit.cli.output import as_text, json_option, open_installation, print_table, progress_bar
from uploadkit.cli.terminal import tell
from uploadkit.config import Config
from uploadkit.core.data_dir import lock_data_dir
from uploadkit.core.errors import ConfigError, StorageUnavailable
from uploadkit.core.sizes import MIB
from uploadkit.maintenance.backups import creation, places, restoration, schedule, verification
from uploadkit.maintenance.backups.layout import Backup
from uploadkit.maintenance.backups.target import Target, existing
from uploadkit.maintenance.object_check import Stopped
from uploadkit.objectstore.factory import reached_store, serving_store
from uploadkit.objectstore.store import ObjectStore
from uploadkit.schemas.backups import BackupObject

_STAYS = "What was sent stays; the next backup goes on from there"
_from_option = click.option("--from", "place", help="Where the backups are; backup.to of the configuration by default.")


@click.group("backup")
def backup_commands() -> None:
    """Make backups, look at them, and put one back."""


@backup_commands.command()
@click.option("--to", help='Where backups are: a folder, or "s3://bucket/prefix"; backup.to of the configuration by default.')
@click.option("--keep", type=click.IntRange(min=1), help="Whole backups that stay; backup.keep of the configuration by default.")
@click.option("--max-mib-per-second", "most_mib", type=click.FloatRange(min=0, min_open=True), help="Read no faster.")
@click.option(
    "--begin", is_flag=True, help="Begin where the last backup was and nothing is now; or take over backups of another installation."
)
@click.option("--again", is_flag=True, help="Send every file again, also those that the place has: where 'backup verify' found damage.")
@json_option
@click.pass_context
def create(
    context: click.Context, to: str | None, keep: int | None, most_mib: float | None, begin: bool, again: bool, as_json: bool
) -> None:
    """Make a backup, also while the appliance works: rows, secrets, and every object that the place does not have yet.

    Exit code 1 when files are missing in it, because the store did not have their bytes as they were verified.
    """
    loaded = open_installation(context)
    place = places.opened(loaded, _wanted(loaded, to))
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with reached_store(loaded, lambda message: tell(message, err=True)) as store:
        made = make_showing_progress(
            loaded, store, place, keep=keep, bytes_per_second=None if most_mib is None else most_mib * MIB, begin=begin, again=again
        )
    if as_json:
        tell(json.dumps(asdict(made)))
    else:
        show_made(made)
    sys.exit(1 if made.missing else 0)


def make_showing_progress(
    loaded: Config,
    store: ObjectStore,
    place: places.Place,
    *,
    keep: int | None,
    bytes_per_second: float | None,
    begin: bool,
    again: bool = False,
) -> schedule.Result:
    """Make a backup with a progress bar. Raises what `schedule.make` raises; Ctrl-C ends the program with 130."""
    with progress_bar() as bar:
        task = bar.add_task("backing up")
        stopping = threading.Event()

        def follow(progress: creation.Progress) -> None:
            bar.update(
                task, total=progress.total_bytes, completed=progress.bytes, description=f"{progress.files} of {progress.total_files} files"
            )

        try:
            return schedule.make(
                loaded, store, place, keep=keep or loaded.backup.keep, bytes_per_second=bytes_per_second, begin=begin, again=again,
                stopping=stopping, tell=follow,
            )  # fmt: skip
        except StorageUnavailable as error:
            raise StorageUnavailable(f"Broken off: {error.message}", error.suggestion or _STAYS) from None
        except (KeyboardInterrupt, Stopped):
            bar.stop()
            tell(f"\nInterrupted. {_STAYS}.", err=True)
            sys.exit(130)


def show_made(made: schedule.Result) -> None:
    """Say what a new backup has, and what is missing in it."""
    tell(f"Backup {made.id}: {made.files} files, {made.bytes / MIB:.1f} MiB, {made.sent_bytes / MIB:.1f} MiB sent now, at {made.place}.")
    if made.missing:
        tell(f"{made.missing} files are missing in it: their objects are damaged or gone. 'reconcile --deep' names them.", err=True)


@backup_commands.command("list")
@_from_option
@json_option
@click.pass_context
def list_backups(context: click.Context, place: str | None, as_json: bool) -> None:
    """List the whole backups, oldest first. One that was interrupted is none."""
    _, target = _existing(context, place)
    whole, unfinished = target.ids()
    backups = [target.backup(one) for one in whole]
    if as_json:
        tell(as_text([BackupObject.of(backup) for backup in backups]))
        return
    rows = [
        (one.id, time_of(one.created_at), str(one.files), f"{one.size_bytes / MIB:.1f} MiB", str(len(one.missing)), one.program)
        for one in backups
    ]
    print_table(("id", "state of", "files", "bytes", "missing", "made by"), rows)
    if unfinished:
        tell(f"{len(unfinished)} unfinished: the next backup goes on with what is there.", err=True)


@backup_commands.command()
@click.argument("backup_id", required=False)
@_from_option
@json_option
@click.pass_context
def verify(context: click.Context, backup_id: str | None, place: str | None, as_json: bool) -> None:
    """Read a backup back, the newest by default: every byte against what was written down. Exit code 1 when something is wrong."""
    os.umask(0o077)
    loaded, target = _existing(context, place)
    backup = verification.chosen(target, backup_id)
    loaded.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with progress_bar() as bar:
        task = bar.add_task("reading", total=backup.size_bytes)
        found = verification.verify(target, backup, loaded.data_dir, lambda seen: bar.update(task, completed=seen.bytes))
    if as_json:
        tell(json.dumps({"id": backup.id, "ok": not found.faults, "files": found.files, "bytes": found.bytes, "faults": found.faults}))
    else:
        for fault in found.faults:
            tell(fault, err=True)
        whole = "whole" if not found.faults else f"damaged in {len(found.faults)} places"
        tell(f"Backup {backup.id} is {whole}: {found.files} of {backup.files} files, {found.bytes / MIB:.1f} MiB were read.")
        if found.faults:
            tell(
                "'backup create --again' makes one that sends every file again. An earlier one may be whole: 'backup verify ID'.", err=True
            )
    sys.exit(1 if found.faults else 0)


@backup_commands.command()
@click.argument("backup_id", required=False)
@_from_option
@click.option(
    "--newer-database",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="uploadkit.db of a later time, if there still is one.",
)
@click.pass_context
def restore(context: click.Context, backup_id: str | None, place: str | None, newer_database: Path | None) -> None:
    """Put a backup back, the newest by default: into a data directory without a database, and the store of this configuration.

    May be interrupted and repeated. Uploads that were under way end, everybody signs in anew.
    """
    os.umask(0o077)
    loaded, target = _existing(context, place)
    restoration.require_empty(loaded)
    backup = verification.chosen(target, backup_id)
    with ExitStack() as stack:
        stack.enter_context(lock_data_dir(loaded.data_dir))
        store = stack.enter_context(serving_store(loaded))
        store.probe()
        bar = stack.enter_context(progress_bar())
        task = bar.add_task("restoring", total=backup.size_bytes)
        try:
            done = restoration.restore(
                loaded, store, target, backup, newer_database=newer_database, tell=lambda seen: bar.update(task, completed=seen.bytes)
            )
        except KeyboardInterrupt:
            bar.stop()
            tell("\nInterrupted. Nothing is restored yet; the same command goes on from there.", err=True)
            os._exit(130)  # a thread may wait for a store that hangs
    _show_restored(backup, done, compared=newer_database is not None)
    sys.exit(1 if done.lost else 0)


def _show_restored(backup: Backup, done: restoration.Restored, *, compared: bool) -> None:
    tell(f"Backup {backup.id}, the state of {time_of(backup.created_at)}, is restored: {done.files} files, {done.bytes / MIB:.1f} MiB.")
    if done.ended_uploads:
        tell(f"{done.ended_uploads} uploads that were under way have ended; their clients have to begin again.")
    for key in done.lost:
        tell(f"lost: {key}: its object was damaged when the backup was made. The file is DELETED.", err=True)
    tell("Everybody signs in to the dashboard anew. Webhooks that had not been delivered are sent, perhaps for a second time.")
    if compared:
        for key_id, name in done.revoked:
            tell(f"API key {key_id} ({name}) was revoked after the backup and is valid again: 'keys revoke {key_id}'", err=True)
        if not done.revoked:
            tell("No API key had been revoked since.")
    else:
        tell("API keys, tokens and admins that went after that time are valid again: look through 'keys list' and 'admin list'.")


def _wanted(loaded: Config, named: str | None) -> str:
    wanted = named or loaded.backup.to
    if not wanted:
        raise ConfigError('backup.to: must say where backups are, a folder or "s3://bucket/prefix"; or name the place in the command')
    return wanted


def _existing(context: click.Context, named: str | None) -> tuple[Config, Target]:
    loaded = config.load(context.find_root().obj)
    return loaded, existing(loaded, places.opened(loaded, _wanted(loaded, named)))


def time_of(at_ms: int) -> str:
    """Return milliseconds since the epoch as people read them."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
