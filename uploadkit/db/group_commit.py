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

from peewee import Database, OperationalError, PeeweeException

from uploadkit.db import read_deadline

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


class Writer:
    """The connection through which all threads of this process write to `database`, and whose turn it is."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._turn = threading.Lock()
        self._counting = threading.Lock()
        self._waiting = 0
        # The three below belong to whoever has the turn.
        self._connection: Any = None
        self._batch: _Batch | None = None
        self._is_held_elsewhere = False

    @contextmanager
    def transaction(self, wait_seconds: float) -> Iterator[None]:
        """Run a block as a write transaction of its own and return once it is on the disk; an exception undoes the block.

        Inside, all statements of this thread go to the writing connection. Raises peewee.OperationalError when SQLite can't be written to,
        because another process holds it for longer than `wait_seconds`, for example.
        """
        self._take_turn()
        try:
            connection = self.connection()
            with self._lent():
                try:
                    batch = self._begun(wait_seconds)
                    try:
                        yield
                        if not connection.in_transaction:  # the block has swallowed the error with which SQLite took back all
                            raise OperationalError("disk I/O error, and all was rolled back")
                    except BaseException as error:
                        self._undo(batch, error)
                        raise
                    batch.members += 1
                finally:
                    self._commit_unless_awaited()
        finally:
            self._turn.release()
        batch.ended.wait()
        if batch.failure is not None:
            raise type(batch.failure)(*batch.failure.args)

    def connection(self) -> Any:
        """Return the connection that writes, for whoever has the turn or is alone."""
        if self._connection is None:
            self._connection = self._database._connect()  # type: ignore[attr-defined]
            read_deadline.leave_alone(self._connection)
        return self._connection

    def close(self) -> None:
        """Close the connection that writes; the next transaction opens another."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _take_turn(self) -> None:
        with self._counting:
            self._waiting += 1
        self._turn.acquire()
        with self._counting:
            self._waiting -= 1

    def _begun(self, wait_seconds: float) -> _Batch:
        """The batch that is open, with a mark to come back to; else a new one."""
        batch = self._batch
        if batch is None:
            self._begin(wait_seconds)
            batch = self._batch = _Batch()
        else:
            self._run("SAVEPOINT block")
        batch.blocks += 1
        return batch

    def _begin(self, wait_seconds: float) -> None:
        """Begin a transaction, once no other process writes.

        When another one has held the database for the longest wait, the next ones hardly wait, until somebody gets through: else each
        thread in the row would wait as long, one after the other, and the server would have none left for those who only read.
        """
        patience = min(wait_seconds, _SHORT_WAIT_SECONDS) if self._is_held_elsewhere else wait_seconds
        try:
            if patience != LONGEST_WAIT_SECONDS:
                self._run(f"PRAGMA busy_timeout = {int(patience * 1000)}")
            self._run("BEGIN IMMEDIATE")
            self._is_held_elsewhere = False
        except OperationalError as error:
            if patience == LONGEST_WAIT_SECONDS and "is locked" in str(error):
                self._is_held_elsewhere = True
            raise
        finally:
            if patience != LONGEST_WAIT_SECONDS:
                self._run(f"PRAGMA busy_timeout = {LONGEST_WAIT_SECONDS * 1000}")

    def _undo(self, batch: _Batch, error: BaseException) -> None:
        """Take back what the block did and nothing else, unless SQLite itself (disk full, say) has taken back all of the batch."""
        if not self._connection.in_transaction:
            self._batch = None
            batch.end(error if isinstance(error, PeeweeException) else OperationalError("disk I/O error, and all was rolled back"))
        elif batch.members == 0:
            self._batch = None
            self._database.rollback()
        else:
            try:
                self._run("ROLLBACK TO block")
            except PeeweeException as failure:  # half of the block must not be committed with the others
                with suppress(PeeweeException):
                    self._database.rollback()
                self._batch = None
                batch.end(failure)

    def _commit_unless_awaited(self) -> None:
        """Commit the open batch, unless somebody waits for the turn who will; a row of blocks without an end makes nobody wait long."""
        batch = self._batch
        if batch is None or (self._waiting and batch.blocks < _MOST_BLOCKS):
            return
        self._batch = None
        try:
            self._database.commit()
        except PeeweeException as error:
            with suppress(PeeweeException):
                self._database.rollback()
            batch.end(error)
        else:
            batch.end()

    def _run(self, sql: str) -> None:
        self._database.execute_sql(sql)  # type: ignore[no-untyped-call]

    @contextmanager
    def _lent(self) -> Iterator[None]:
        """Have peewee use the writing connection in this thread, and know that it is in a transaction."""
        state = self._database._state  # type: ignore[attr-defined]
        own = vars(state).copy()
        state.set_connection(self._connection)
        state.transactions = [self._turn]
        try:
            yield
        finally:
            vars(state).update(own)
