"""What every table has in common, and the database they are in."""

from __future__ import annotations

from peewee import Model, SqliteDatabase

database = SqliteDatabase(None, lock_type="IMMEDIATE")


class Table(Model):
    """Common ground of all tables."""

    class Meta:
        database = database
