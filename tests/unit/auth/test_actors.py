"""Actors: the audit trail keeps their name, and reads it back."""

from __future__ import annotations

import pytest

from uploadkit.auth import actors
from uploadkit.auth.actors import Admin, ApiKey, Browser, CommandLine


@pytest.mark.parametrize("actor", [ApiKey("0197a2b0-0000-7000-8000-000000000000"), Admin("anna@example.com"), CommandLine()])
def test_a_name_is_read_back(actor: ApiKey | Admin | CommandLine) -> None:
    assert actors.named(actor.name) == actor


def test_names_stay_what_earlier_versions_wrote() -> None:
    assert (ApiKey("k").name, Admin("a@b.c").name, CommandLine().name) == ("k", "admin:a@b.c", "cli")
    assert (Browser("default", api_key_id="k").name, Browser("default", network="192.0.2.1").name) == ("k", "")
