"""Group commit: write transactions of several threads that come to the disk together (docs/decisions/0019-group-commit.md).

A commit waits for the disk (`synchronous = "FULL"`), and SQLite knows one writer at a time. So the threads take turns on one connection:
who has others waiting behind leaves the commit to them, and the last in the row commits for all. Each can still fail alone, and nobody
goes on before what they wrote is on the disk.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from peewee import OperationalError, PeeweeException

from uploadkit.db import read_deadline
from uploadkit.db.models import database

LONGEST_WAIT_SECONDS, _SHORT_WAIT_SECONDS = 5, 0.1
_MOST_BLOCKS = 100


class _Batch:
    """Transactions that are committed together, or not at all: then `failure` says why."""

    def __init__(self) -> None:
        self.ended = threading.Event()
        self.blocks = 0  # those that failed among them
        self.members = 0
        self.failure: PeeweeException | None = None

    def end(self, failure: PeeweeException | None = None) -> None:
        self.failure = failure
        self.ended.set()


_turn = threading.Lock()
_counting = threading.Lock()
_waiting = 0
# The four below belong to whoever has the turn.
_is_held_elsewhere = False
_writer: Any = None
_writes_to: str | None = None
_batch: _Batch | None = None


@contextmanager
def transaction(wait_seconds: float) -> Iterator[None]:
    """Run a block as a write transaction of its own and return once it is on the disk; an exception undoes the block.

    Inside, all statements of this thread go to the writing connection. Raises peewee.OperationalError when SQLite can't be written to,
    because another process holds it for longer than `wait_seconds`, for example.
    """
    _take_turn()
    try:
        connection()
        with _lent():
            try:
                batch = _begun(wait_seconds)
                try:
                    yield
                    if not _writer.in_transaction:  # the block has swallowed the error with which SQLite took back all
                        raise OperationalError("disk I/O error, and all was rolled back")
                except BaseException as error:
                    _undo(batch, error)
                    raise
                batch.members += 1
            finally:
                _commit_unless_awaited()
    finally:
        _turn.release()
    batch.ended.wait()
    if batch.failure is not None:
        raise type(batch.failure)(*batch.failure.args)


def connection() -> Any:
    """Return the connection that writes, for whoever has the turn or is alone; it is opened when the database is another one by now."""
    global _writer, _writes_to
    if _writes_to != database.database:
        close()
        _writer, _writes_to = database._connect(), database.database
        read_deadline.leave_alone(_writer)
    return _writer


def close() -> None:
    """Close the connection that writes, before the database is moved or another one opened."""
    global _writer, _writes_to
    if _writer is not None:
        _writer.close()
    _writer = _writes_to = None


def _take_turn() -> None:
    global _waiting
    with _counting:
        _waiting += 1
    _turn.acquire()
    with _counting:
        _waiting -= 1


def _begun(wait_seconds: float) -> _Batch:
    """The batch that is open, with a mark to come back to; else a new one."""
    global _batch
    if _batch is None:
        _begin(wait_seconds)
        _batch = _Batch()
    else:
        _run("SAVEPOINT block")
    _batch.blocks += 1
    return _batch


def _begin(wait_seconds: float) -> None:
    """Begin a transaction, once no other process writes.

    When another one has held the database for the longest wait, the next ones hardly wait, until somebody gets through: else each thread in
    the row would wait as long, one after the other, and the server would have none left for those who only read.
    """
    global _is_held_elsewhere
    patience = min(wait_seconds, _SHORT_WAIT_SECONDS) if _is_held_elsewhere else wait_seconds
    try:
        if patience != LONGEST_WAIT_SECONDS:
            _run(f"PRAGMA busy_timeout = {int(patience * 1000)}")
        _run("BEGIN IMMEDIATE")
        _is_held_elsewhere = False
    except OperationalError as error:
        if patience == LONGEST_WAIT_SECONDS and "is locked" in str(error):
            _is_held_elsewhere = True
        raise
    finally:
        if patience != LONGEST_WAIT_SECONDS:
            _run(f"PRAGMA busy_timeout = {LONGEST_WAIT_SECONDS * 1000}")


def _undo(batch: _Batch, error: BaseException) -> None:
    """Take back what the block did and nothing else, unless SQLite itself (disk full, say) has taken back all of the batch."""
    global _batch
    if not _writer.in_transaction:
        _batch = None
        batch.end(error if isinstance(error, PeeweeException) else OperationalError("disk I/O error, and all was rolled back"))
    elif batch.members == 0:
        _batch = None
        database.rollback()
    else:
        try:
            _run("ROLLBACK TO block")
        except PeeweeException as failure:  # half of the block must not be committed with the others
            with suppress(PeeweeException):
                database.rollback()
            _batch = None
            batch.end(failure)


def _commit_unless_awaited() -> None:
    """Commit the batch that is open, unless somebody waits for the turn who will; a row of blocks without an end makes nobody wait long."""
    global _batch
    if _batch is None or (_waiting and _batch.blocks < _MOST_BLOCKS):
        return
    batch, _batch = _batch, None
    try:
        database.commit()
    except PeeweeException as error:
        with suppress(PeeweeException):
            database.rollback()
        batch.end(error)
    else:
        batch.end()


def _run(sql: str) -> None:
    database.execute_sql(sql)


@contextmanager
def _lent() -> Iterator[None]:
    """Have peewee use the writing connection in this thread, and know that it is in a transaction."""
    state = database._state  # type: ignore[attr-defined]
    own = vars(state).copy()
    state.set_connection(_writer)
    state.transactions = [_turn]
    try:
        yield
    finally:
        vars(state).update(own)
