"""`upgrade`: the one executable file, played by a shell script that says what it is, and the database beside it."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.conftest import App, new_app
from tests.support.appliance import ROOT
from tests.support.sample_files import jpeg, single
from uploadkit import __version__, config
from uploadkit.auth import api_keys
from uploadkit.cli.main import main
from uploadkit.context import Context
from uploadkit.core import packaged_files
from uploadkit.core.data_dir import lock_data_dir
from uploadkit.db import connection
from uploadkit.db.migrating import newest_schema
from uploadkit.db.models import Project
from uploadkit.maintenance.upgrading import executable
from uploadkit.objectstore.store import ObjectStore

COPY = f"uploadkit.db.of-{__version__}"


def program(path: Path, version: str, schema: int | None = None, more: str = "") -> Path:
    """A file that answers as a program of this version does."""
    knows = newest_schema() if schema is None else schema
    path.write_text(
        f'#!/bin/sh\n{more}\ncase "$*" in\n--version) echo "uploadkit, version {version}" ;;\n"upgrade --schema") echo {knows} ;;\n'
        "*) exit 2 ;;\nesac\n"
    )
    path.chmod(0o755)
    return path


def version_of(path: Path) -> str:
    assert path.stat().st_mode & 0o777 == 0o755
    return subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout.split()[-1]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the program as `uploadkit`, a newer one as `new`, and no data yet."""
    made = tmp_path / "home"
    made.mkdir()
    monkeypatch.setattr(packaged_files, "EXECUTABLE", program(made / "uploadkit", __version__))
    monkeypatch.setenv("UPLOADKIT_DATA__DIR", str(made / "data"))
    monkeypatch.chdir(made)
    program(made / "new", "9.9.9")
    before = signal.getsignal(signal.SIGTERM), os.umask(0o022)
    yield made
    signal.signal(signal.SIGTERM, before[0])
    os.umask(before[1])


@pytest.fixture
def app_of_home(home: Path, app_bucket: ObjectStore) -> str:
    """The data of an appliance that is stopped, with one file and two keys; the first of these."""
    with new_app(home / "data", app_bucket) as app:
        api_keys.issue_key(app.ctx.config, app.caller, app.project.id, "To be revoked")
        single(app, jpeg(b"before"))
        return app.api_key


def upgrade(*arguments: str | Path) -> Result:
    done = CliRunner().invoke(main, ["upgrade", *map(str, arguments)])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


def refused(*arguments: str | Path) -> str:
    done = upgrade(*arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


@contextmanager
def opened_again(home: Path, store: ObjectStore, key: str) -> Iterator[App]:
    """Services on data that are there already."""
    settings = config.load(None, {"UPLOADKIT_DATA__DIR": str(home / "data"), "UPLOADKIT_DATABASE__SYNCHRONOUS": "NORMAL"})
    connection.open_database(settings, upgrade=False)
    try:
        yield App(Context(settings, store), Project.select().get(), api_keys.find_caller(settings, key), key)
    finally:
        connection.close()


def became_newer(home: Path, store: ObjectStore, key: str) -> None:
    """What the newer program has done: one file more, a key less, and a schema that the earlier one does not know."""
    with opened_again(home, store, key) as app:
        single(app, jpeg(b"after"))
    with closing(sqlite3.connect(home / "data/uploadkit.db")) as database, database:
        database.execute("UPDATE api_key SET revoked_at = 1 WHERE name = 'To be revoked'")
        database.execute(f"PRAGMA user_version = {newest_schema() + 1}")


def rows(path: Path, table: str = "file") -> int:
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return int(database.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def test_an_upgrade_keeps_the_program_and_the_database(home: Path, app_of_home: str) -> None:
    done = upgrade("--from", home / "new")
    assert done.exit_code == 0, done.output
    assert version_of(home / "uploadkit") == "9.9.9"
    assert version_of(home / "uploadkit.before") == __version__
    assert rows(home / "data" / COPY) == 1
    assert (home / "data" / COPY).stat().st_mode & 0o777 == 0o600
    assert "upgrade --back" in done.stdout
    assert sorted(path.name for path in home.iterdir()) == ["data", "new", "uploadkit", "uploadkit.before"]


def test_without_a_database_it_says_so(home: Path) -> None:
    done = upgrade("--from", "new")
    assert "--config" in done.stdout
    assert version_of(home / "uploadkit") == "9.9.9"
    assert not (home / "data").exists()


def test_by_a_link_the_file_itself_is_replaced(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "bin").mkdir()
    (home / "bin/up").symlink_to("../uploadkit")
    monkeypatch.setattr(packaged_files, "EXECUTABLE", home / "bin/up")
    assert upgrade("--from", "new").exit_code == 0
    assert version_of(home / "uploadkit") == "9.9.9"
    assert (home / "bin/up").is_symlink()


@pytest.mark.parametrize("checkout", [True, False])
def test_elsewhere_one_line_says_how(home: Path, checkout: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packaged_files, "EXECUTABLE", None)
    monkeypatch.setattr(packaged_files, "CHECKOUT", ROOT if checkout else None)
    for arguments in (["--from", "new"], ["--back"]):
        assert ("git pull" if checkout else "pip install") in refused(*arguments)


@pytest.mark.parametrize("arguments", [[], ["--from", "new", "--back"], ["--from", "new", "--lose-changes"], ["--back", "--no-backup"]])
def test_what_does_not_go_together(home: Path, arguments: list[str]) -> None:
    done = upgrade(*arguments)
    assert done.exit_code == 2
    assert "say either --from FILE" in done.stderr


def test_the_schema_is_told_to_another_program(home: Path) -> None:
    assert upgrade("--schema").stdout == f"{newest_schema()}\n"


def make_link(home: Path) -> None:
    (home / "new").rename(home / "real")
    (home / "new").symlink_to("real")


def make_other_version(home: Path) -> None:
    (home / "SHA256SUMS").write_text(f"{'0' * 64}  new\n{hashlib.sha256((home / 'new').read_bytes()).hexdigest()}  other\n")


def make_folder(home: Path) -> None:
    (home / "new").unlink()
    (home / "new").mkdir()


def make_pipe(home: Path) -> None:
    (home / "new").unlink()
    os.mkfifo(home / "new")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda home: (home / "new").unlink(), "No such file"),
        (make_link, "is a symbolic link"),
        (make_folder, "is no file"),
        (make_pipe, "is no file"),
        (lambda home: (home / "new").chmod(0o757), "can be written by everybody"),
        (lambda home: (home / "new").write_bytes(b"PK\x03\x04"), "is no executable file of UploadKit"),
        (lambda home: shutil.copy(home / "uploadkit", home / "new"), "there is nothing to upgrade"),
        (lambda home: ((home / "new").unlink(), os.link(home / "uploadkit", home / "new")), "is the file that runs"),
        (lambda home: program(home / "new", "9.9.9", more="exit 3"), "exit code 3"),
        (lambda home: program(home / "new", "9.9.9", more="echo this machine is too old >&2; exit 1"), "this machine is too old"),
        (lambda home: program(home / "new", "9.9.9 of something else"), "does not answer --version"),
        (lambda home: program(home / "new", "../../etc"), "does not answer --version"),
        (lambda home: program(home / "new", "0.0.1", more='[ "$1" != upgrade ] || exit 2'), "too old to be asked"),
        (lambda home: program(home / "new", "0.0.1", schema=3), "is too old for this database"),
        (make_other_version, "is not what"),
        pytest.param(
            lambda home: os.chown(home / "new", 1234, 1234),
            "belongs to another user",
            marks=pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away"),
        ),
    ],
)
def test_what_is_refused_changes_nothing(home: Path, app_of_home: str, change: object, words: str) -> None:
    assert callable(change)
    change(home)
    before = {path: path.lstat().st_ino for path in home.rglob("*")}
    present = (home / "uploadkit").read_bytes()
    said = refused("--from", "new")
    assert words in said
    assert ".uploadkit.new" not in said, "nobody knows it by that name"
    assert (home / "uploadkit").read_bytes() == present
    assert {path: path.lstat().st_ino for path in home.rglob("*")} == before


def test_a_program_that_hangs_is_ended_with_what_it_started(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executable, "ANSWER_SECONDS", 0.3)
    program(home / "new", "9.9.9", more=f"sleep 600 & echo $! > {home}/child; wait")
    assert "did not answer within 0.3 seconds" in refused("--from", "new")
    child = Path(f"/proc/{(home / 'child').read_text().strip()}/stat")
    assert not child.exists() or child.read_text().split()[2] == "Z"


def test_the_new_program_gets_no_secrets(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    program(home / "new", "9.9.9", more=f"env > {home}/environment")
    assert upgrade("--from", "new").exit_code == 0
    assert "secret" not in (home / "environment").read_text()
    assert "UPLOADKIT_" not in (home / "environment").read_text()


@pytest.mark.parametrize("name", ["new", "uploadkit-9.9.9-linux-x86_64"])
def test_a_right_checksum_is_fine_also_for_a_file_that_was_renamed(home: Path, name: str) -> None:
    (home / "SHA256SUMS").write_text(f"{hashlib.sha256((home / 'new').read_bytes()).hexdigest()}  {name}\n")
    assert upgrade("--from", "new").exit_code == 0


def test_while_the_appliance_runs(home: Path, app_of_home: str) -> None:
    with lock_data_dir(home / "data"):
        assert "stop it first" in refused("--from", "new")
        program(home / "uploadkit.before", "0.0.1")
        assert "stop it first" in refused("--back")
    assert version_of(home / "uploadkit") == __version__


def test_two_at_once(home: Path) -> None:
    with executable.replaceable():
        assert "another process is replacing" in refused("--from", "new")


def test_a_backup_comes_first(home: Path, app_of_home: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it can't be made nothing is changed, and --no-backup goes without."""
    monkeypatch.setenv("UPLOADKIT_BACKUP__TO", str(home / "nowhere/backups"))
    monkeypatch.setenv("UPLOADKIT_STORAGE__BUNDLED__ENGINE", "seaweedfs")
    monkeypatch.setenv("UPLOADKIT_STORAGE__BUNDLED__PORT", "0")
    assert upgrade("--from", "new").exit_code != 0
    assert version_of(home / "uploadkit") == __version__
    assert not (home / "uploadkit.before").exists()
    assert upgrade("--from", "new", "--no-backup").exit_code == 0
    upgrade("--back")
    monkeypatch.setenv("UPLOADKIT_BACKUP__TO", str(home / "backups"))
    done = upgrade("--from", "new")
    assert done.exit_code == 0, done.output
    assert "1 files are missing" in done.stderr, "its bytes are in the store of the tests"
    assert list((home / "backups/backups").iterdir())


def test_back(home: Path, app_of_home: str) -> None:
    upgrade("--from", "new")
    done = upgrade("--back")
    assert done.exit_code == 0, done.output
    assert (version_of(home / "uploadkit"), version_of(home / "uploadkit.newer")) == (__version__, "9.9.9")
    assert rows(home / "data/uploadkit.db") == 1
    assert not (home / "data/uploadkit.db.newer").exists()
    assert "nothing to go back to" in refused("--back")


def test_back_by_the_earlier_program_where_the_newer_one_does_not_start(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    upgrade("--from", "new")
    monkeypatch.setattr(packaged_files, "EXECUTABLE", home / "uploadkit.before")
    assert upgrade("--back").exit_code == 0
    assert version_of(home / "uploadkit") == __version__


def test_what_the_earlier_program_can_not_read_comes_back_only_when_told(home: Path, app_of_home: str, app_bucket: ObjectStore) -> None:
    upgrade("--from", "new")
    became_newer(home, app_bucket, app_of_home)
    said = refused("--back")
    assert "1 files, the last one at 20" in said
    assert "--lose-changes" in said
    assert version_of(home / "uploadkit") == "9.9.9"
    assert rows(home / "data/uploadkit.db") == 2

    done = upgrade("--back", "--lose-changes")
    assert done.exit_code == 0, done.output
    assert "Lost: 1 files" in done.stdout
    assert "reconcile" in done.stdout
    assert "(To be revoked) was revoked since" in done.stderr
    data = home / "data"
    assert version_of(home / "uploadkit") == __version__
    assert (rows(data / "uploadkit.db"), rows(data / "uploadkit.db.newer"), rows(data / COPY)) == (1, 2, 1)
    assert rows(data / "uploadkit.db", "setup_link") == 0 < rows(data / COPY, "setup_link")
    with closing(sqlite3.connect(data / "uploadkit.db")) as database:
        assert database.execute("SELECT seq FROM sqlite_sequence WHERE name = 'event'").fetchone()[0] > 1_000_000_000
    assert (data / "uploadkit.db").stat().st_mode & 0o777 == 0o600
    with opened_again(home, app_bucket, app_of_home) as app:
        single(app, jpeg(b"later"))
    assert not [path.name for path in data.iterdir() if "returning" in path.name]


def test_each_newer_database_is_kept(home: Path, app_of_home: str, app_bucket: ObjectStore) -> None:
    for _ in range(2):
        assert upgrade("--from", "new").exit_code == 0
        became_newer(home, app_bucket, app_of_home)
        assert upgrade("--back", "--lose-changes").exit_code == 0
    assert rows(home / "data/uploadkit.db.newer-2") == 2


@pytest.mark.parametrize("damage", ["gone", "garbage", "newer"])
def test_no_copy_to_go_back_to(home: Path, app_of_home: str, app_bucket: ObjectStore, damage: str) -> None:
    upgrade("--from", "new")
    became_newer(home, app_bucket, app_of_home)
    copy = home / "data" / COPY
    if damage == "gone":
        copy.unlink()
    elif damage == "garbage":
        copy.write_bytes(b"x" * 100_000)
    else:
        shutil.copy(home / "data/uploadkit.db", copy)
    assert "backup restore" in refused("--back", "--lose-changes")
    assert version_of(home / "uploadkit") == "9.9.9"
    assert rows(home / "data/uploadkit.db") == 2


def test_the_copy_that_the_newer_program_made_is_as_good(home: Path, app_of_home: str, app_bucket: ObjectStore) -> None:
    """The upgrade was by hand, as docs/deploy.md has it."""
    upgrade("--from", "new")
    (home / "data" / COPY).rename(home / f"data/uploadkit.db.before-{newest_schema() + 1:04d}")
    became_newer(home, app_bucket, app_of_home)
    assert upgrade("--back", "--lose-changes").exit_code == 0
    assert rows(home / "data/uploadkit.db") == 1


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
def test_what_root_puts_back_belongs_to_who_serves(home: Path, app_of_home: str, app_bucket: ObjectStore) -> None:
    data = home / "data"
    upgrade("--from", "new")
    became_newer(home, app_bucket, app_of_home)
    for path in (data, data / "uploadkit.db"):
        os.chown(path, 1234, 1234)
    assert upgrade("--back", "--lose-changes").exit_code == 0
    assert upgrade("--from", "new").exit_code == 0
    assert {path.stat().st_uid for path in data.glob("uploadkit.db*")} == {1234}


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
def test_root_starts_no_store_of_another_user(home: Path, app_of_home: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UPLOADKIT_BACKUP__TO", str(home / "backups"))
    os.chown(home / "data", 1234, 1234)
    assert "run 'backup create' as that one" in refused("--from", "new")
    assert not (home / "data/store").exists()


def test_where_there_are_no_hard_links(home: Path, app_of_home: str, app_bucket: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    assert upgrade("--from", "new").exit_code == 0
    assert version_of(home / "uploadkit.before") == __version__
    became_newer(home, app_bucket, app_of_home)
    assert upgrade("--back", "--lose-changes").exit_code == 0
    assert (version_of(home / "uploadkit"), version_of(home / "uploadkit.newer")) == (__version__, "9.9.9")
    assert (rows(home / "data/uploadkit.db"), rows(home / "data/uploadkit.db.newer")) == (1, 2)


@pytest.mark.parametrize("word", ["--from", "--back"])
def test_a_full_disk_is_one_line_and_changes_nothing(home: Path, monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    program(home / "uploadkit.before", "0.0.1")

    before = sorted(home.iterdir())

    def full(_: object, target: Path) -> None:
        target.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "link", lambda *_: os.stat("/nowhere"))
    monkeypatch.setattr(shutil, "copy2", full)
    done = upgrade(*(["--from", "new"] if word == "--from" else ["--back"]))
    assert (done.exit_code, done.stderr) == (2, f"error: upgrade: {home}: No space left on device; nothing else was changed\n")
    assert (version_of(home / "uploadkit"), version_of(home / "uploadkit.before")) == (__version__, "0.0.1")
    assert sorted(home.iterdir()) == before


def killed(home: Path, *arguments: str) -> list[Path]:
    """The copies of `home` in which the command was killed at one of its steps each; the last one not."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.killed_steps", str(home), "uploadkit", "upgrade", *arguments],
        cwd=ROOT, capture_output=True, text=True, timeout=170,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return [Path(f"{home}-{step}") for step in range(1, int(done.stdout.split()[-1]) + 1)]


def go_on(home: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    """Give the command that was killed again, unless it had done everything by then."""
    monkeypatch.setattr(packaged_files, "EXECUTABLE", home / "uploadkit")
    monkeypatch.setenv("UPLOADKIT_DATA__DIR", str(home / "data"))
    monkeypatch.chdir(home)
    done = upgrade(*arguments)
    assert done.exit_code == 0, done.output


def test_a_kill_at_any_step_of_an_upgrade(home: Path, app_of_home: str, monkeypatch: pytest.MonkeyPatch) -> None:
    copies = killed(home, "--from", "new")
    assert len(copies) > 10
    for copy in copies:
        present = version_of(copy / "uploadkit")
        assert present in (__version__, "9.9.9")
        assert rows(copy / "data/uploadkit.db") == 1
        if present == __version__:
            go_on(copy, monkeypatch, "--from", "new")
        assert (version_of(copy / "uploadkit"), version_of(copy / "uploadkit.before")) == ("9.9.9", __version__)
        assert rows(copy / "data" / COPY) == 1


def test_a_kill_at_any_step_of_the_way_back(home: Path, app_of_home: str, app_bucket: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    upgrade("--from", "new")
    became_newer(home, app_bucket, app_of_home)
    copies = killed(home, "--back", "--lose-changes")
    assert len(copies) > 15
    for copy in copies:
        present = version_of(copy / "uploadkit")
        assert present in (__version__, "9.9.9")
        assert rows(copy / "data/uploadkit.db") in (1, 2)
        if present != __version__:
            go_on(copy, monkeypatch, "--back", "--lose-changes")
        assert (version_of(copy / "uploadkit"), version_of(copy / "uploadkit.newer")) == (__version__, "9.9.9")
        assert (rows(copy / "data/uploadkit.db"), rows(copy / "data/uploadkit.db.newer")) == (1, 2)
        assert not (copy / "data/uploadkit.db.newer-2").exists()
