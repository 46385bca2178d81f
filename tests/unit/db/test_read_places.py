"""Places for searches: few, shared between projects, and nobody waits for one for long."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import peewee
import pytest

from tests.support.appliance import wait_until
from uploadkit.core.errors import StorageUnavailable
from uploadkit.db import read_places
from uploadkit.db.read_deadline import ReadTookTooLong
from uploadkit.db.read_places import ReadPlaces


@contextmanager
def searching(places: ReadPlaces, projects: list[str]) -> Iterator[list[str]]:
    """Threads that ask for a place each, one after the other, and hold it until the end. Yields what became of them."""
    over, became = threading.Event(), [""] * len(projects)

    def search(number: int, project: str) -> None:
        try:
            with places.taken(project):
                became[number] = "searches"
                over.wait(60)
        except StorageUnavailable:
            became[number] = "refused"

    threads = [threading.Thread(target=search, args=each) for each in enumerate(projects)]
    try:
        for number, thread in enumerate(threads):
            thread.start()
            wait_until(lambda at=number: became[at] or places.waiting > sum(not one for one in became[:at]), what="a place or the row")
        yield became
    finally:
        over.set()
        for thread in threads:
            thread.join()


@pytest.mark.parametrize(
    ("threads", "most", "most_waiting"), [(1, 1, 0), (2, 1, 0), (3, 2, 0), (4, 2, 1), (8, 2, 3), (16, 4, 7), (256, 64, 127)]
)
def test_a_server_keeps_threads_for_everything_else(threads: int, most: int, most_waiting: int) -> None:
    places = ReadPlaces(threads)
    assert (places.most, places.most_waiting) == (most, most_waiting)
    assert most + most_waiting < threads or threads == 1


def test_a_project_takes_neither_all_places_nor_the_whole_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_places, "LONGEST_WAIT_SECONDS", 60)
    places = ReadPlaces(16)
    with searching(places, ["greedy"] * 12) as became:
        assert became == ["searches"] * 3 + [""] * 6 + ["refused"] * 3
        with places.taken("modest"):
            began = time.monotonic()
            with pytest.raises(StorageUnavailable) as refused:
                places.taken("greedy").__enter__()
            assert time.monotonic() - began < 5, "at once"
            assert refused.value.retry_after_seconds == 1
    with ExitStack() as stack:  # all gave back what they had
        for project in "aabb":
            stack.enter_context(places.taken(project))


def test_whoever_waits_gets_the_place_that_is_free_or_an_answer_after_a_second() -> None:
    places = ReadPlaces(16)
    with searching(places, ["a", "b", "c", "d"]):
        began = time.monotonic()
        with pytest.raises(StorageUnavailable):
            places.taken("e").__enter__()
        assert 0.9 < time.monotonic() - began < 10
    with places.taken("e"):
        pass


def test_a_place_is_given_back_after_failures_of_all_kinds() -> None:
    places = ReadPlaces(1)
    for failure, reported in ((peewee.OperationalError("interrupted"), ReadTookTooLong), (ValueError("x"), ValueError)):
        for _ in range(3):
            with pytest.raises(reported), places.taken("a"):
                raise failure
    with places.taken("a"):
        pass
