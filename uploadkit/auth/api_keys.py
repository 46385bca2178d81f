"""API keys: issue, list, revoke, and find the caller behind one.

The plaintext exists once, in the answer that creates it; the database keeps its SHA-256 and a masked form.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import secrets
from collections.abc import Collection
from dataclasses import dataclass, field

from peewee import Expression, OperationalError

from uploadkit.auth import audit
from uploadkit.auth.callers import Access as Access
from uploadkit.auth.callers import Caller as Caller
from uploadkit.auth.callers import Environment as Environment
from uploadkit.auth.callers import find_project, require_account, require_live
from uploadkit.config import Config, tier_limits
from uploadkit.core import clock
from uploadkit.core.errors import Conflict, Forbidden, NotFound, TierLimitExceeded, Unauthorized, ValidationFailed
from uploadkit.core.ids import new_id
from uploadkit.core.shipped import PROGRAM
from uploadkit.db import paging
from uploadkit.db.connection import NOTE_SECONDS, execute, write
from uploadkit.db.models import ApiKey, Project
from uploadkit.db.paging import Page

log = logging.getLogger(__name__)

_FORM = re.compile(r"uk_(live|test)_[A-Za-z0-9_-]{32}")
# Revoked keys stay, because files refer to them; so making and revoking has to end somewhere.
MOST_KEYS = 10_000
_SECONDS_BETWEEN_LAST_USED_WRITES = 60
_FIND = """
SELECT k.id, k.project_id, k.environment, k.access, k.last_used_at, p.tier, p.limit_overrides
  FROM api_key k JOIN project p ON p.id = k.project_id
 WHERE k.key_hash = ? AND k.revoked_at IS NULL AND p.deleted_at IS NULL
"""


@dataclass(frozen=True)
class IssuedKey:
    """A new key with its plaintext, which is never to be seen again; `repr()` leaves it out."""

    key: ApiKey
    plaintext: str = field(repr=False)


def looks_like_one(credential: str) -> bool:
    """Say whether a credential begins as our keys do: it is meant as one, right or wrong."""
    return credential.startswith("uk_")


def hash_key(plaintext: str) -> str:
    """Return what the database keeps of a key. SHA-256 is enough: the key is 192 random bits, not a password."""
    return hashlib.sha256(plaintext.encode()).hexdigest()


def mask_key(plaintext: str) -> str:
    """Return the form for people: prefix, first 3 characters, `...`, last 6 (seed api-keys.txt, "Key display")."""
    prefix_length = len("uk_live_")
    return f"{plaintext[: prefix_length + 3]}...{plaintext[-6:]}"


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
    plaintext = f"uk_{environment}_{secrets.token_urlsafe(24)}"
    with write():
        project = find_project(caller, project_id)
        _require_room(config, project)
        key = ApiKey.create(
            id=new_id(),
            project=project,
            name=name,
            key_hash=hash_key(plaintext),
            masked_key=mask_key(plaintext),
            environment=environment,
            access=access,
            created_at=clock.now_ms(),
        )
        audit.record(caller.key_id, "created", "key", key.id, project.id, {"name": name, "environment": environment, "access": access})
    return IssuedKey(key, plaintext)


def _require_room(config: Config, project: Project) -> None:
    """Hold the project's active keys against its limit, inside the transaction that adds one."""
    if ApiKey.select().where(ApiKey.project == project).count() >= MOST_KEYS:
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
    return int(ApiKey.select().where(ApiKey.project == project_id, ApiKey.revoked_at.is_null()).count())


def find_caller(plaintext: str) -> Caller:
    """Return the caller behind `plaintext`. Raises Unauthorized when it is malformed, unknown or revoked, without saying which is the case.

    The look-up is by hash, so its time says nothing about how much of a key was right.
    """
    if not _FORM.fullmatch(plaintext):
        raise Unauthorized("The API key is malformed: it looks like uk_live_… or uk_test_… with 32 characters after that")
    row = execute(_FIND, (hash_key(plaintext),)).fetchone()
    if row is None:
        raise Unauthorized("The API key is unknown or revoked")
    key_id, project_id, environment, access, last_used_at, tier, overrides = row
    _note_use(key_id, last_used_at)
    return Caller(key_id, project_id, environment, access, tier, json.loads(overrides) if overrides != "{}" else {})


def _note_use(key_id: str, last_used_at: int | None) -> None:
    """Keep `last_used_at` to the minute without a write per request."""
    now = clock.now_ms()
    if last_used_at is not None and now - last_used_at < _SECONDS_BETWEEN_LAST_USED_WRITES * 1000:
        return
    try:
        with write(wait_seconds=NOTE_SECONDS):
            ApiKey.update(last_used_at=now).where(ApiKey.id == key_id).execute()
    except OperationalError as error:  # locked by another process, disk full: no reason to refuse a valid key
        log.warning("when key %s was used could not be written: %s", key_id, error)


def list_keys(caller: Caller, project_id: str, limit: int, cursor: str | None, *, revoked: bool = False) -> Page[ApiKey]:
    """Return up to `limit` of a project's active (or its revoked) keys, newest first: those that are no stronger than the caller's.

    Raises NotFound (project), ValidationFailed (cursor).
    """
    project = find_project(caller, project_id)
    query = ApiKey.select().where(ApiKey.project == project, ApiKey.revoked_at.is_null(not revoked), *_no_stronger_than(caller))
    return paging.newest_first(query, ApiKey.created_at, ApiKey.id, limit, cursor)


def all_keys(project_id: str | None = None, *, revoked: bool = False, most: int | None = None) -> list[ApiKey]:
    """Return all active (or all revoked) keys, newest first, of one project or of all; of more than `most`, the newest."""
    query = ApiKey.select(ApiKey, Project).join(Project).where(ApiKey.revoked_at.is_null(not revoked), Project.deleted_at.is_null())
    if project_id is not None:
        query = query.where(ApiKey.project == project_id)
    return list(query.order_by(ApiKey.created_at.desc(), ApiKey.id.desc()).limit(most))


def names(key_ids: Collection[str]) -> dict[str, str]:
    """Return the names of those of `key_ids` that are there, revoked or not, by id."""
    found = ApiKey.select(ApiKey.id, ApiKey.name).where(ApiKey.id << list(key_ids))
    return {key.id: key.name for key in found}


def revoke_key(caller: Caller, key_id: str) -> ApiKey:
    """Revoke a key: the very next request with it gets 401. Repeating it changes nothing.

    Raises Forbidden (a test key asks), NotFound (also for a key stronger than the caller's), and Conflict for the last active key
    with account access, without which nobody could make another over the API.
    """
    require_live(caller)
    with write():
        query = ApiKey.select().join(Project).where(ApiKey.id == key_id, Project.deleted_at.is_null(), *_no_stronger_than(caller))
        if caller.access != "account":
            query = query.where(ApiKey.project == caller.project_id)
        key: ApiKey | None = query.first()
        if key is None:
            raise NotFound(
                f"There is no API key {key_id!r}", f"GET /api/v1/projects/{{id}}/keys or '{PROGRAM} keys list' shows the ids of keys"
            )
        if key.revoked_at is None:
            _keep_one_account_key(ApiKey.id == key.id)
            key.revoked_at = clock.now_ms()
            ApiKey.update(revoked_at=key.revoked_at).where(ApiKey.id == key.id, ApiKey.revoked_at.is_null()).execute()
            audit.record(caller.key_id, "revoked", "key", key.id, key.project_id, {"name": key.name, "maskedKey": key.masked_key})
    return key


def revoke_keys_of(project: Project, at_ms: int) -> None:
    """Revoke all keys of a project that is being deleted, inside that transaction. Raises Conflict as `revoke_key` does."""
    _keep_one_account_key(ApiKey.project == project)
    ApiKey.update(revoked_at=at_ms).where(ApiKey.project == project, ApiKey.revoked_at.is_null()).execute()


def _no_stronger_than(caller: Caller) -> list[Expression]:
    """Conditions on the keys that a caller may see: account keys see all, live keys all but those, test keys test keys."""
    if caller.access == "account":
        return []
    if caller.environment == "live":
        return [ApiKey.access == "project"]
    return [ApiKey.environment == "test"]


def _keep_one_account_key(leaving: Expression) -> None:
    """Refuse to let go of the keys that match `leaving` when no active key with account access would be left. Raises Conflict."""
    active = ApiKey.select().where(ApiKey.access == "account", ApiKey.revoked_at.is_null())
    if active.where(leaving).exists() and not active.where(~leaving).exists():
        raise Conflict(
            "The last key with account access would be gone",
            f"Make another first, in a project that stays: {PROGRAM} keys create --name NAME --access account",
        )
