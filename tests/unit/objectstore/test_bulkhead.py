"""Places at the store: one project and one browser leave some of them to others."""

from __future__ import annotations

import threading
from contextlib import ExitStack

import pytest

from uploadkit.core.errors import StorageUnavailable
from uploadkit.objectstore import bulkhead
from uploadkit.objectstore.bulkhead import StorePlaces


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulkhead, "_LONGEST_WAIT_SECONDS", 0.05)


def hold(stack: ExitStack, places: StorePlaces, count: int, project: str, browser: str | None = None) -> None:
    for _ in range(count):
        stack.enter_context(places.taken(project, browser))


def test_one_project_leaves_places_to_others() -> None:
    places = StorePlaces(12)
    with ExitStack() as hostile, ExitStack() as others:
        hold(hostile, places, 10, "hostile")
        for _ in range(3):  # the second time at once
            with pytest.raises(StorageUnavailable, match="10 calls"), places.taken("hostile"):
                pass
        hold(others, places, 2, "other")
        with pytest.raises(StorageUnavailable, match="12 calls"), places.taken("third"):
            pass
        hostile.close()
        hold(others, places, 8, "other")
        with places.taken("hostile"):
            pass


def test_one_browser_leaves_places_to_its_project() -> None:
    places = StorePlaces(12)
    with ExitStack() as stack:
        hold(stack, places, 4, "project", "192.0.2.1")
        with pytest.raises(StorageUnavailable, match="4 calls"), places.taken("project", "192.0.2.1"):
            pass
        hold(stack, places, 4, "project", "192.0.2.2")
        hold(stack, places, 2, "project")


@pytest.mark.parametrize("most", [1, 2, 3, 5])
def test_of_few_places_everybody_may_have_one(most: int) -> None:
    places = StorePlaces(most)
    for _ in range(3):
        with places.taken("project", "browser"):
            pass


def test_a_place_that_becomes_free_is_taken_by_who_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulkhead, "_LONGEST_WAIT_SECONDS", 30)
    places, got = StorePlaces(1), threading.Event()

    def wait() -> None:
        with places.taken("other"):
            got.set()

    with places.taken("project"):
        waiting = threading.Thread(target=wait)
        waiting.start()
        assert not got.is_set()
    assert got.wait(30)
    waiting.join(30)
