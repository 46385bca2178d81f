"""What every table has in common, and the database they are in."""

from __future__ import annotations

import sqlite3
from typing import Any

from peewee import Model, SqliteDatabase

from uploadkit.db import read_deadline
from uploadkit.db.group_commit import Writer


class Database(SqliteDatabase):
    """SQLite, where no read of a request takes longer than it may, and all write through one `writer`."""

    writer: Writer

    def init(self, *file: Any, **settings: Any) -> None:
        """Use another file from now on, with a writer of its own. The one before must be closed."""
        super().init(*file, **settings)
        self.writer = Writer(self)

    def _connect(self) -> sqlite3.Connection:
        connection: sqlite3.Connection = super()._connect()  # type: ignore[misc]
        read_deadline.watch(connection)
        return connection

    def execute_sql(self, sql: str, params: Any = None) -> sqlite3.Cursor:
        """Run a statement and return its cursor."""
        read_deadline.statement_begins()
        cursor: sqlite3.Cursor = super().execute_sql(sql, params)  # type: ignore[no-untyped-call]
        return cursor


database = Database(None, lock_type="IMMEDIATE")


class Table(Model):
    """Common ground of all tables."""

    class Meta:
        database = database
