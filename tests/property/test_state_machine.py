"""Any sequence of uploads, aborts, deletions, tiers, keys, projects and housekeeping, held step by step against the model.

STATE_MACHINE_EXAMPLES says how many sequences; the suite runs a few.
"""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tests.property.driver import new_driver
from tests.property.model import CONTENTS, DAY_MS, HOUR_MS, MINUTE_MS, TIERS, Model, Step
from tests.support.clock import travelled_to
from uploadkit.core import clock
from uploadkit.files import multipart_upload
from uploadkit.objectstore.store import ObjectStore

pytestmark = pytest.mark.long

EXAMPLES = int(os.environ.get("STATE_MACHINE_EXAMPLES", "20"))
# Which one, of those that there are; and what a call is about.
which = st.integers(0, 7)
projects = st.sampled_from(["shop", "blog"])
notes = st.sampled_from("xyz")


def machine_on(store: ObjectStore) -> type[RuleBasedStateMachine]:
    class Machine(RuleBasedStateMachine):
        """The appliance beside its model. `which` numbers go round among what there is by now."""

        def __init__(self) -> None:
            super().__init__()
            self.open = ExitStack()
            self.home = Path(tempfile.mkdtemp())
            self.open.callback(shutil.rmtree, self.home)
            self.real = self.open.enter_context(new_driver(self.home / "data", store))
            self.advance = self.open.enter_context(travelled_to(clock.now_ms()))
            self.model = Model()
            self.count = itertools.count()
            self.requests: list[tuple[Step, int]] = []

        @initialize()
        def two_projects(self) -> None:
            for project in ("shop", "blog"):
                self.take("new_project", project)
                self.take("new_key", f"live of {project}", project, False)
                self.take("new_key", f"test of {project}", project, True)

        def take(self, verb: str, *arguments: Any) -> None:
            step = Step(verb, arguments)
            expected = self.model.take(step, clock.now_ms())
            answered = self.real.take(step)
            assert answered == expected, f"{step} was answered {answered}, not {expected}"

        def upload(self, number: int) -> str:
            names = [step.arguments[0] for step, _ in self.requests]
            return names[-1 - number % len(names)] if names else "nothing"

        def key(self, number: int, name: str = "") -> str:
            """One of the keys; mostly one that may do something about the upload `name`."""
            names = list(self.real.keys)
            upload = self.model.uploads.get(name)
            if upload is not None and number < 6:
                own = [n for n in names if (self.model.keys[n].project, self.model.keys[n].sandbox) == (upload.project, upload.sandbox)]
                return own[number % len(own)]
            return names[number % len(names)]

        @rule(key=which, size=st.sampled_from([500, 1_500, 2_000]), in_parts=st.booleans(), sent=st.sampled_from(["", *CONTENTS]))
        def request(self, key: int, size: int, in_parts: bool, sent: str) -> None:
            name = f"u{next(self.count)}"
            step = Step("request", (name, self.key(key), size, in_parts))
            self.requests.append((step, clock.now_ms()))
            self.take(*step[:1], *step.arguments)
            if sent:
                self.take("put", name, sent)

        @rule(upload=which)
        def request_again(self, upload: int) -> None:
            if self.requests:
                step, at = self.requests[-1 - upload % len(self.requests)]
                if clock.now_ms() < at + DAY_MS:  # for so long an Idempotency-Key is known
                    self.take(step.verb, *step.arguments)

        @rule(upload=which, content=st.sampled_from([*CONTENTS]))
        def put(self, upload: int, content: str) -> None:
            self.take("put", self.upload(upload), content)

        @rule(upload=which, key=which, note=notes)
        def complete(self, upload: int, key: int, note: str) -> None:
            name = self.upload(upload)
            self.take("complete", name, self.key(key, name), note)

        @rule(upload=which, key=which)
        def abort(self, upload: int, key: int) -> None:
            name = self.upload(upload)
            self.take("abort", name, self.key(key, name))

        @rule(upload=which, key=which)
        def delete(self, upload: int, key: int) -> None:
            name = self.upload(upload)
            self.take("delete", name, self.key(key, name))

        @rule(uploads=st.lists(which, min_size=1, max_size=4), key=which)
        def delete_many(self, uploads: list[int], key: int) -> None:
            names = [self.upload(number) for number in uploads]
            self.take("delete_many", names, self.key(key, names[0]))

        @rule(upload=which, key=which, note=notes)
        def patch(self, upload: int, key: int, note: str) -> None:
            name = self.upload(upload)
            self.take("patch", name, self.key(key, name), note)

        @rule(upload=which)
        def read(self, upload: int) -> None:
            self.take("read", self.upload(upload))

        @rule(project=projects, tier=st.sampled_from([*TIERS]))
        def change_tier(self, project: str, tier: str) -> None:
            self.take("change_tier", project, tier)

        @rule(project=projects, sandbox=st.booleans())
        def new_key(self, project: str, sandbox: bool) -> None:
            self.take("new_key", f"k{next(self.count)}", project, sandbox)

        @rule(key=which)
        def revoke(self, key: int) -> None:
            self.take("revoke", self.key(key))

        @rule(really=which)
        def delete_project(self, really: int) -> None:
            if really == 0:  # one that is gone takes part in nothing any more
                self.take("delete_project", "blog")

        @rule(by=st.sampled_from([MINUTE_MS, HOUR_MS, 2 * HOUR_MS, DAY_MS]), sweep=st.booleans())
        def time_passes(self, by: int, sweep: bool) -> None:
            self.advance(by)
            if sweep:
                self.take("sweep")

        @rule()
        def sweep(self) -> None:
            self.take("sweep")

        @rule()
        def purge(self) -> None:
            self.take("purge")

        @invariant()
        def agrees_with_the_model(self) -> None:
            assert self.real.seen() == self.model.seen()
            self.real.check()
            for name, project in self.model.projects.items():
                assert min(project.used, project.reserved, project.under_way) >= 0, name

        def teardown(self) -> None:
            try:
                self.real.settle()
            finally:
                self.open.close()

    return Machine


@pytest.mark.timeout(180 + EXAMPLES)
def test_any_sequence_goes_as_the_model_says(app_bucket: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    # Small files in one part: the store wants 5 MiB of every part but the last.
    monkeypatch.setattr(multipart_upload, "MULTIPART_ABOVE_BYTES", 0)
    run_state_machine_as_test(
        machine_on(app_bucket),
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=30,
            database=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
