"""API keys: issue, list, revoke, and find the caller behind one.

The plaintext exists once, in the answer that creates it; the database keeps its SHA-256 and a masked form.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import partial

from uploadkit.auth import actors, audit, last_use
from uploadkit.auth.callers import Access, Caller, Environment, find_project, require_account, require_live
from uploadkit.auth.queries import api_keys as queries
from uploadkit.config import Config, tier_limits
from uploadkit.core import clock, tokens
from uploadkit.core.errors import Conflict, Forbidden, NotFound, TierLimitExceeded, Unauthorized, ValidationFailed
from uploadkit.core.packaged_files import PROGRAM
from uploadkit.db.connection import write
from uploadkit.db.models import ApiKey, Project
from uploadkit.db.paging import Page

# Revoked keys stay, because files refer to them; so making and revoking has to end somewhere.
MOST_KEYS = 10_000


@dataclass(frozen=True)
class IssuedKey:
    """A new key with its plaintext, which is never to be seen again; `repr()` leaves it out."""

    key: ApiKey
    plaintext: str = field(repr=False)


def issue_key(
    config: Config, caller: Caller, project_id: str, name: str, *, environment: Environment = "live", access: Access = "project"
) -> IssuedKey:
    """Make a key for a project, unless its tier's number of active keys is reached. Nobody makes a key stronger than their own.

    Raises Forbidden (a test key asks; account access for one who has none, or for a test key), NotFound (project),
    ValidationFailed (name), TierLimitExceeded.
    """
    require_live(caller)
    if access == "account":
        require_account(caller)
        if environment == "test":
            raise Forbidden("A test key can't have account access", 'Make a live key, or leave access at "project"')
    name = name.strip()
    if not 1 <= len(name) <= 100:
        raise ValidationFailed("A key needs a name of 1 to 100 characters", details={"name": ["must have 1 to 100 characters"]})
    plaintext = tokens.new_api_key(environment)
    with write():
        project = find_project(caller, project_id)
        _require_room(config, project)
        key = queries.insert_key(
            project.id,
            name,
            key_hash=tokens.hashed(plaintext),
            masked_key=tokens.masked(plaintext),
            environment=environment,
            access=access,
            created_at=clock.now_ms(),
        )
        audit.record(caller.actor, "created", "key", key.id, project.id, {"name": name, "environment": environment, "access": access})
    return IssuedKey(key, plaintext)


def _require_room(config: Config, project: Project) -> None:
    """Hold the project's active keys against its limit, inside the transaction that adds one."""
    if queries.count_keys(project.id) >= MOST_KEYS:
        raise TierLimitExceeded(f"This project has had {MOST_KEYS} keys, revoked ones included: there can be no more", "Make a new project")
    max_keys = tier_limits.limits_of(config, project.tier, project.limit_overrides).max_keys
    active = count_active(project.id)
    if max_keys is not None and active >= max_keys:
        raise TierLimitExceeded(
            f"Tier '{project.tier}' allows {max_keys} active keys per project; this one has {active}",
            "Revoke a key that is no longer used, or move the project to a larger tier",
        )


def count_active(project_id: str) -> int:
    """Return how many keys of a project are not revoked."""
    return queries.count_active_keys(project_id)


def find_caller(config: Config, plaintext: str) -> Caller:
    """Return the caller behind `plaintext`. Raises Unauthorized when it is malformed, unknown or revoked, without saying which is the case.

    The look-up is by hash, so its time says nothing about how much of a key was right.
    """
    if not tokens.has_form_of_api_key(plaintext):
        raise Unauthorized("The API key is malformed: it looks like uk_live_… or uk_test_… with 32 characters after that")
    key = queries.find_key_in_use(tokens.hashed(plaintext))
    if key is None:
        raise Unauthorized("The API key is unknown or revoked")
    last_use.note(f"key {key.id}", key.last_used_at, clock.now_ms(), partial(queries.set_key_used, key.id))
    overrides = json.loads(key.limit_overrides) if key.limit_overrides != "{}" else {}
    return Caller(actors.ApiKey(key.id), key.project_id, key.environment, key.access, tier_limits.limits_of(config, key.tier, overrides))


def list_keys(caller: Caller, project_id: str, limit: int, cursor: str | None, *, revoked: bool = False) -> Page[ApiKey]:
    """Return up to `limit` of a project's active (or its revoked) keys, newest first: those that are no stronger than the caller's.

    Raises NotFound (project), ValidationFailed (cursor).
    """
    project = find_project(caller, project_id)
    access, environment = _no_stronger_than(caller)
    return queries.list_keys(project.id, limit, cursor, revoked=revoked, access=access, environment=environment)


def all_keys(project_id: str | None = None, *, revoked: bool = False, most: int | None = None) -> list[ApiKey]:
    """Return all active (or all revoked) keys, newest first, of one project or of all; of more than `most`, the newest."""
    return queries.all_keys(project_id, most, revoked=revoked)


def names(key_ids: Collection[str]) -> dict[str, str]:
    """Return the names of those of `key_ids` that are there, revoked or not, by id."""
    return queries.key_names(key_ids)


def revoke_key(caller: Caller, key_id: str) -> ApiKey:
    """Revoke a key: the very next request with it gets 401. Repeating it changes nothing.

    Raises Forbidden (a test key asks), NotFound (also for a key stronger than the caller's), and Conflict for the last active key
    with account access, without which nobody could make another over the API.
    """
    require_live(caller)
    with write():
        project_id = None if caller.access == "account" else caller.project_id
        access, environment = _no_stronger_than(caller)
        key = queries.find_key(key_id, project_id=project_id, access=access, environment=environment)
        if key is None:
            raise NotFound(
                f"There is no API key {key_id!r}", f"GET /api/v1/projects/{{id}}/keys or '{PROGRAM} keys list' shows the ids of keys"
            )
        if key.revoked_at is None:
            if queries.is_last_account_key(key.id):
                raise _last_account_key()
            key.revoked_at = clock.now_ms()
            queries.revoke_key(key.id, key.revoked_at)
            audit.record(caller.actor, "revoked", "key", key.id, key.project_id, {"name": key.name, "masked_key": key.masked_key})
    return key


def revoke_keys_of(project: Project, at_ms: int) -> None:
    """Revoke all keys of a project that is being deleted, inside that transaction. Raises Conflict as `revoke_key` does."""
    if queries.has_last_account_keys(project.id):
        raise _last_account_key()
    queries.revoke_keys_of(project.id, at_ms)


def _no_stronger_than(caller: Caller) -> tuple[Access | None, Environment | None]:
    """Access and environment (None: any) of the keys that a caller may see.

    Account keys see all, live keys all but account keys, test keys test keys.
    """
    if caller.access == "account":
        return None, None
    return ("project", None) if caller.environment == "live" else (None, "test")


def _last_account_key() -> Conflict:
    return Conflict(
        "The last key with account access would be gone",
        f"Make another first, in a project that stays: {PROGRAM} keys create --name NAME --access account",
    )
