"""The secrets that a project's deliveries are signed with: `current` and `next`, made at the first need, and their rotation.

The command line shows them; the API does not: whoever holds an API key, a stolen one perhaps, must not be able to sign as we do.
They stay out of logs, errors and the audit trail.
"""

from __future__ import annotations

from uploadkit.auth import audit
from uploadkit.auth.callers import Caller, find_project, require_live
from uploadkit.core import clock
from uploadkit.db.connection import write
from uploadkit.webhooks.queries import secrets as queries
from uploadkit.webhooks.signatures import Secrets, new_secret


def signing_secrets(project_id: str) -> Secrets:
    """Return the secrets to sign with, for deliveries."""
    found = queries.find(project_id)
    if found is None:
        with write():
            queries.insert_first(project_id, Secrets(new_secret(), new_secret()), clock.now_ms())
        found = queries.find(project_id)
    assert found is not None
    return found


def show_secrets(caller: Caller, project_id: str) -> Secrets:
    """Return both secrets of a project, for its receivers. Raises Forbidden (a test key asks), NotFound."""
    require_live(caller)
    return signing_secrets(find_project(caller, project_id).id)


def rotate_secrets(caller: Caller, project_id: str) -> Secrets:
    """Make `next` the current secret and put a new one in its place; return both. Receivers that know both notice nothing.

    Raises Forbidden (a test key asks), NotFound.
    """
    require_live(caller)
    before = signing_secrets(find_project(caller, project_id).id)
    after = Secrets(before.next, new_secret())
    with write():
        find_project(caller, project_id)
        if queries.replace(project_id, before, after, clock.now_ms()):
            audit.record(caller.actor, "rotated", "webhook_secret", project_id, project_id)
    return signing_secrets(project_id)
