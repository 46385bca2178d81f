"""Facts that outlive a restart."""

from __future__ import annotations

from tests.conftest import App
from uploadkit.db import key_value
from uploadkit.db.connection import write


def test_what_is_kept_first_and_last(app: App) -> None:
    assert key_value.get("x") is None
    with write():
        key_value.put_first("x", "a")
        key_value.put_first("x", "b")
    assert key_value.get("x") == "a"
    with write():
        key_value.put("x", "c")
    assert key_value.get("x") == "c"
