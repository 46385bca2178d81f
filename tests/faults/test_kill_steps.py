"""SIGKILL at every moment of complete, abort, delete, purge and project deletion: afterwards rows = bucket = quota.

`steps.py` finds the moments; each test walks through all of them until the act comes to its end unharmed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from tests.conftest import App, new_app
from tests.faults import steps
from tests.faults.steps import Facts
from tests.support.killed_uploads import begun_in_parts, completed, requested, sent_in_parts, settle_and_check
from uploadkit.auth import api_keys, callers
from uploadkit.auth.callers import Caller
from uploadkit.db import connection
from uploadkit.objectstore.store import ObjectStore
from uploadkit.projects import service as projects


def not_what_was_declared(app: App, caller: Caller) -> Facts:
    return requested(app, caller, b"a b!")


def a_sandbox(app: App, caller: Caller) -> Facts:
    tester = replace(caller, environment="test", access="project")
    completed(app, tester)
    requested(app, tester)
    begun_in_parts(app, tester)
    return {}


def a_project(app: App, caller: Caller) -> Facts:
    doomed = projects.create_project(app.ctx.config, callers.COMMAND_LINE, "Doomed")
    owner = api_keys.find_caller(app.ctx.config, api_keys.issue_key(app.ctx.config, callers.COMMAND_LINE, doomed.id, "x").plaintext)
    completed(app, owner)
    requested(app, owner)
    begun_in_parts(app, owner)
    return {"project": doomed.id}


def nothing(app: App, caller: Caller) -> Facts:
    return {}


@pytest.mark.parametrize(
    ("act", "prepare", "left", "least"),
    [
        ("complete", requested, 1, 9),
        ("complete", not_what_was_declared, 0, 5),
        ("complete_in_parts", sent_in_parts, 1, 7),
        ("start_in_parts", nothing, 0, 4),
        ("abort_in_parts", begun_in_parts, 0, 5),
        ("delete", requested, 0, 5),
        ("delete", completed, 0, 5),
        ("delete", begun_in_parts, 0, 5),
        ("purge", a_sandbox, 0, 20),
        ("delete_project", a_project, 0, 20),
    ],
)
def test_killed_at_every_moment(
    tmp_path: Path, app_bucket: ObjectStore, act: str, prepare: Callable[[App, Caller], Facts], left: int, least: int
) -> None:
    for moment in count(1):
        with new_app(tmp_path / str(moment), app_bucket) as app:
            facts = prepare(app, app.caller)
            kept = completed(app, app.caller)["key"]
            connection.close()
        # The lock is free now, and the process that is to be killed takes it.
        ended = steps.run(tmp_path / str(moment), app.ctx.store.address, act, app.caller, facts, moment)
        steps.run(tmp_path / str(moment), app.ctx.store.address, act, app.caller, facts, 0)  # what a client would do: the same again
        settle_and_check(app, kept, left)
        if ended is not None:
            assert moment > least, f"only {ended} moments were seen"
            return
