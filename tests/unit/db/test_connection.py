"""The database file: migrations, backups, versions, locks."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from uploadkit import config
from uploadkit.core import data_dir
from uploadkit.core.errors import ConfigError
from uploadkit.db import migrating
from uploadkit.db.connection import close, open_database
from uploadkit.db.models import Table


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "uploadkit.db"


def test_the_models_are_what_the_migrations_make(path: Path) -> None:
    migrating.migrate(path)
    with closing(sqlite3.connect(path)) as connection:
        tables = Table.__subclasses__()
        names = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND name NOT LIKE 'file_search%'"
        made = {name for (name,) in connection.execute(names)}
        assert made == {table._meta.table_name for table in tables}
        for table in tables:
            columns = connection.execute(f"PRAGMA table_info({table._meta.table_name})")
            in_sql = {name: not not_null for _, name, _, not_null, _, _ in columns}
            in_python = {field.column_name: field.null for field in table._meta.sorted_fields}
            assert in_sql == in_python, table


def test_migrations_are_numbered_without_gaps(path: Path) -> None:
    assert [number for number, _ in migrating.migrations()] == list(range(1, len(migrating.migrations()) + 1))
    migrating.migrate(path)
    assert migrating.schema_version(path) == len(migrating.migrations())
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.fixture
def one_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A migrations directory of which the last one can be written by the test."""
    directory = tmp_path / "migrations"
    directory.mkdir()
    for _, file in migrating.migrations():
        (directory / file.name).write_text(file.read_text())
    last = directory / f"{len(migrating.migrations()) + 1:04d}_next.sql"
    monkeypatch.setattr(migrating, "MIGRATIONS_DIR", directory)
    return last


def test_an_upgrade_backs_up_first(path: Path, one_more: Path) -> None:
    migrating.migrate(path)
    before = migrating.schema_version(path)
    one_more.write_text("ALTER TABLE project ADD COLUMN colour TEXT;")
    migrating.migrate(path)
    assert migrating.schema_version(path) == before + 1
    backup = path.with_name(f"{path.name}.before-{before + 1:04d}")
    assert migrating.schema_version(backup) == before
    assert backup.stat().st_mode & 0o777 == 0o600


def test_a_migration_that_fails_changes_nothing(path: Path, one_more: Path) -> None:
    migrating.migrate(path)
    before = migrating.schema_version(path)
    one_more.write_text("ALTER TABLE project ADD COLUMN colour TEXT; ALTER TABLE nowhere ADD COLUMN x TEXT;")
    with pytest.raises(sqlite3.OperationalError):
        migrating.migrate(path)
    assert migrating.schema_version(path) == before
    with closing(sqlite3.connect(path)) as connection:
        assert "colour" not in {row[1] for row in connection.execute("PRAGMA table_info(project)")}


def test_old_rows_get_what_later_columns_need(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    every = migrating.migrations()
    monkeypatch.setattr(migrating, "migrations", lambda: every[:1])
    migrating.migrate(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("INSERT INTO project (id, name, slug, tier, created_at, updated_at) VALUES ('p', 'P', 'p', 'pro', 1, 1)")
        connection.execute(
            "INSERT INTO file (number, id, project_id, environment, route_slug, key, file_name, size_bytes, content_type, visibility, "
            "status, expires_at, deadline_at, created_at, updated_at) "
            "VALUES (1, 'there', 'p', 'live', 'default', 'k', 'a.png', 7, 'image/png', 'public', 'UPLOADED', 9, 9, 5, 5)"
        )
        for file in ("there", "gone"):
            connection.execute(
                "INSERT INTO event (id, at, event, project_id, environment, file_id, key, file_name, route_slug, status) "
                "VALUES (?, 6, 'upload.completed', 'p', 'live', ?, 'k', 'a.png', 'default', 'UPLOADED')",
                (file, file),
            )
    monkeypatch.undo()
    migrating.migrate(path)
    with closing(sqlite3.connect(path)) as connection:
        found = connection.execute("SELECT id, size_bytes, content_type, visibility, file_created_at FROM event ORDER BY sequence")
        assert found.fetchall() == [("there", 7, "image/png", "public", 5), ("gone", 0, "application/octet-stream", "private", 6)]
        assert connection.execute("SELECT files_stored FROM project").fetchall() == [(1,)]


def test_an_older_program_refuses_a_newer_database(path: Path) -> None:
    migrating.migrate(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 999")
    with pytest.raises(ConfigError, match="newer program"):
        migrating.migrate(path)


def test_commands_want_a_database_that_is_there_and_up_to_date(tmp_path: Path, one_more: Path) -> None:
    settings = config.load(None, {"UPLOADKIT_DATA__DIR": str(tmp_path / "data")})
    with pytest.raises(ConfigError, match="init"):
        open_database(settings, upgrade=False)
    assert not settings.database_path.exists()
    data_dir.prepare_data_dir(settings.data_dir)
    migrating.migrate(settings.database_path)
    one_more.write_text("SELECT 1;")
    with pytest.raises(ConfigError, match="older schema"):
        open_database(settings, upgrade=False)


def test_the_data_directory_is_locked_and_private(tmp_path: Path) -> None:
    with data_dir.lock_data_dir(tmp_path / "data"):
        assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700
        with pytest.raises(ConfigError, match="in use by process"), data_dir.lock_data_dir(tmp_path / "data"):
            pass
    with data_dir.lock_data_dir(tmp_path / "data"):
        pass


def test_what_was_put_together_from_a_backup_is_private_again(tmp_path: Path) -> None:
    """Without the lock's file, and with the modes that copying gave it."""
    settings = config.load(
        None, {"UPLOADKIT_DATA__DIR": str(tmp_path / "data"), "UPLOADKIT_DATABASE__PATH": str(tmp_path / "elsewhere.db")}
    )
    migrating.migrate(settings.database_path)
    settings.data_dir.mkdir(mode=0o755)
    settings.data_dir.chmod(0o755)
    (settings.data_dir / "uploadkit.db").touch()
    names = [settings.database_path.with_name(settings.database_path.name + suffix) for suffix in ("", "-wal", "-shm")]
    for name in names:
        name.touch()
        name.chmod(0o644)
    with data_dir.lock_data_dir(settings.data_dir):
        open_database(settings, upgrade=True)
        assert settings.data_dir.stat().st_mode & 0o777 == 0o700
        assert {name.stat().st_mode & 0o777 for name in names if name.exists()} == {0o600}
        close()


def test_a_folder_of_other_things_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "somebody-elses").touch()
    tmp_path.chmod(0o755)
    data_dir.prepare_data_dir(tmp_path)
    assert tmp_path.stat().st_mode & 0o777 == 0o755


def test_a_data_directory_that_can_not_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"data\.dir"), data_dir.lock_data_dir(tmp_path / "file" / "data"):
        pass
