"""The command that replaces the one executable file by another one, and goes back."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click

from uploadkit import __version__, config
from uploadkit.cli.backups import make_showing_progress, show_made, time_of
from uploadkit.cli.terminal import tell
from uploadkit.config import Config
from uploadkit.core import path_ownership
from uploadkit.core.data_dir import DataDirInUse, lock_data_dir
from uploadkit.core.errors import ConfigError
from uploadkit.core.packaged_files import PROGRAM
from uploadkit.db import connection
from uploadkit.db.migrating import newest_schema
from uploadkit.maintenance.backups import places
from uploadkit.maintenance.upgrading import database, executable
from uploadkit.objectstore.factory import serving_store


@click.command()
@click.option("--from", "new", type=click.Path(path_type=Path), help="The new executable file, as 'make dist' makes it.")
@click.option("--back", is_flag=True, help="Put the file back that the last upgrade replaced.")
@click.option("--no-backup", is_flag=True, help="Make no backup at backup.to before. The database is copied all the same.")
@click.option("--lose-changes", is_flag=True, help="With --back: also where the database has to go back, to its state before the upgrade.")
@click.option("--schema", is_flag=True, hidden=True, help="Print the number of the newest schema of a database that this program knows.")
@click.pass_context
def upgrade(context: click.Context, new: Path | None, back: bool, no_backup: bool, lose_changes: bool, schema: bool) -> None:
    """Replace the one executable file that this runs from, with the appliance stopped; or go back to the one before.

    The new file is started to see that it works here. The database is copied before, and a backup made if backup.to is set. A kill at any
    moment leaves a whole program, and can be followed by the same command.
    """
    if schema:
        tell(str(newest_schema()))
        return
    if (new is None) != back or (lose_changes and not back) or (no_backup and back):
        raise click.UsageError("say either --from FILE, perhaps with --no-backup, or --back, perhaps with --lose-changes")
    os.umask(0o077)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with executable.replaceable(back=back) as path:
        loaded = config.load(context.find_root().obj)
        with _database_to_itself(loaded) as has_database:
            if new is None:
                _go_back(loaded, path, has_database=has_database, lose_changes=lose_changes)
            else:
                _upgrade(loaded, new, path, has_database=has_database, with_backup=not no_backup)


def _upgrade(loaded: Config, new: Path, path: Path, *, has_database: bool, with_backup: bool) -> None:
    copy = executable.staged(new, path)
    try:
        program = executable.ask(copy, new)
        if has_database:
            if database.is_too_new(loaded.database_path, program.schema):
                raise ConfigError(f"upgrade: {new} is UploadKit {program.version}, which is too old for this database; '--back' goes back")
            if with_backup and loaded.backup.to is not None:
                _make_backup(loaded, loaded.backup.to)
            tell(f"The database is copied to {database.copy_before(loaded.database_path, __version__)}")
        else:
            tell(f"There is no database at {loaded.database_path}, so none was copied. Has the appliance another configuration (--config)?")
        executable.swap(copy, path)
    finally:
        copy.unlink(missing_ok=True)
    tell(f"{path} is UploadKit {program.version} now; {__version__} stays as {path.name}{executable.BEFORE}.")
    tell(f"Start it as before ('{PROGRAM} serve'); it brings the database up to date. The way back is '{PROGRAM} upgrade --back'.")


def _make_backup(loaded: Config, place: str) -> None:
    if os.geteuid() == 0 and path_ownership.is_foreign(loaded.data_dir):
        raise ConfigError(
            f"upgrade: a backup has to be made by the user that {loaded.data_dir} belongs to: run 'backup create' as that one, and then "
            "this with --no-backup"
        )
    connection.open_database(loaded, upgrade=False)
    try:
        with serving_store(loaded) as store:
            show_made(
                make_showing_progress(loaded, store, places.opened(loaded, place), keep=None, bytes_per_second=None, begin=False),
            )
    finally:
        connection.close()


def _go_back(loaded: Config, path: Path, *, has_database: bool, lose_changes: bool) -> None:
    before = executable.earlier(path)
    program = executable.ask(before, before)
    if has_database and database.is_too_new(loaded.database_path, program.schema):
        earlier = database.find_earlier(loaded.database_path, program.version, program.schema)
        if not lose_changes:
            raise ConfigError(
                f"upgrade: UploadKit {program.version} can't read the database any more. Its copy of {time_of(earlier.taken_at_ms)} can "
                f"come back, without everything that came since: {_loss(earlier)}. '--lose-changes' does so; nothing was changed"
            )
        returned = database.go_back(loaded, earlier)
        _show_returned(earlier, returned)
    elif not has_database:
        tell(f"There is no database at {loaded.database_path}. If the appliance has another configuration, name it by --config.")
    executable.swap_back(path)
    tell(f"{path} is UploadKit {program.version} again; the other one stays as {path.name}{executable.NEWER}.")
    tell(f"Start it as before ('{PROGRAM} serve').")


def _loss(earlier: database.Earlier) -> str:
    last = "" if earlier.last_at_ms is None else f", the last one at {time_of(earlier.last_at_ms)}"
    went = f"; {earlier.went} that were deleted since come back without their bytes" if earlier.went else ""
    return f"{earlier.came} files{last}{went}"


def _show_returned(earlier: database.Earlier, returned: database.Returned) -> None:
    tell(f"The database is as it was at {time_of(earlier.taken_at_ms)}; the newer one stays as {returned.newer}.")
    tell(f"Lost: {_loss(earlier)}. 'reconcile' lists what the store has of them; once it is a day old, --fix removes it.")
    tell("Everybody signs in to the dashboard anew. Webhooks that had not been delivered are sent, perhaps for a second time.")
    for key_id, name in returned.revoked:
        tell(f"API key {key_id} ({name}) was revoked since and is valid again: 'keys revoke {key_id}'", err=True)


@contextmanager
def _database_to_itself(loaded: Config) -> Iterator[bool]:
    """Hold the data directory if there is a database; say whether there is. Raises ConfigError while the appliance runs."""
    if not loaded.database_path.exists():
        yield False
        return
    with ExitStack() as holding:
        try:
            holding.enter_context(lock_data_dir(loaded.data_dir))
        except DataDirInUse:
            raise ConfigError(f"upgrade: the appliance on {loaded.data_dir} runs; stop it first, then run this again") from None
        yield True
