"""Changes of many rows: a transaction for each batch, and an end between two of them."""

from __future__ import annotations

from threading import Event
from typing import Any

from tests.conftest import App
from uploadkit.db import batches
from uploadkit.db.models import database


def counted(left: int, per_batch: list[int], stopping: Event | None = None, stop_at: int = 0) -> Any:
    def change(most: int) -> int:
        nonlocal left
        assert database.in_transaction()
        done = min(left, most)
        left -= done
        per_batch.append(done)
        if stopping is not None and len(per_batch) == stop_at:
            stopping.set()
        return done

    return change


def test_it_ends_with_the_first_batch_that_is_not_full(app: App) -> None:
    done: list[int] = []
    assert batches.change_all(counted(5, done), Event(), 2) == 5
    assert done == [2, 2, 1]
    assert batches.change_all(counted(4, done := []), Event(), 2) == 4
    assert done == [2, 2, 0]
    assert not database.in_transaction()


def test_it_stops_between_two_batches(app: App) -> None:
    stopping, done = Event(), []  # type: Event, list[int]
    assert batches.change_all(counted(9, done, stopping, stop_at=2), stopping, 2) == 4
    assert batches.change_all(counted(9, done), stopping, 2) == 0
    assert done == [2, 2]
