"""API keys: issue, list, revoke, and find the caller behind one (api.md section 2).

The plaintext exists once, in the answer that creates it; the database keeps its SHA-256 and a masked form.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from dataclasses import dataclass, field
from typing import Any, Literal

from uploadkit import clock
from uploadkit.config import TierConfig
from uploadkit.db import execute, new_id, write
from uploadkit.errors import Conflict, Forbidden, NotFound, TierLimitExceeded, Unauthorized, ValidationFailed
from uploadkit.models import ApiKey, Project

Environment = Literal["live", "test"]
Access = Literal["project", "account"]

_FORM = re.compile(r"uk_(live|test)_[A-Za-z0-9_-]{32}")
_SECONDS_BETWEEN_LAST_USED_WRITES = 60
_FIND = """
SELECT k.id, k.project_id, k.environment, k.access, k.last_used_at, p.tier, p.limit_overrides
  FROM api_key k JOIN project p ON p.id = k.project_id
 WHERE k.key_hash = ? AND k.revoked_at IS NULL AND p.deleted_at IS NULL
"""


@dataclass(frozen=True)
class Caller:
    """Who is asking: a valid API key and its project."""

    key_id: str
    project_id: str
    environment: Environment
    access: Access
    tier: str
    limit_overrides: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class IssuedKey:
    """A new key with its plaintext, which is never to be seen again; `repr()` leaves it out."""

    key: ApiKey
    plaintext: str = field(repr=False)


def hash_key(plaintext: str) -> str:
    """Return what the database keeps of a key. SHA-256 is enough: the key is 192 random bits, not a password."""
    return hashlib.sha256(plaintext.encode()).hexdigest()


def mask_key(plaintext: str) -> str:
    """Return the form for people: prefix, first 3 characters, `...`, last 6 (seed api-keys.txt, "Key display")."""
    prefix_length = len("uk_live_")
    return f"{plaintext[: prefix_length + 3]}...{plaintext[-6:]}"


def issue_key(
    project: Project, name: str, limits: TierConfig, *, environment: Environment = "live", access: Access = "project"
) -> IssuedKey:
    """Make a key for `project`, unless its tier's number of active keys is reached.

    Raises ValidationFailed (name), Forbidden (a test key with account access), TierLimitExceeded.
    """
    name = name.strip()
    if not 1 <= len(name) <= 100:
        raise ValidationFailed("A key needs a name of 1 to 100 characters", details={"name": ["must have 1 to 100 characters"]})
    if environment == "test" and access == "account":
        raise Forbidden("A test key can't have account access", 'Make a live key, or leave access at "project"')
    plaintext = f"uk_{environment}_{secrets.token_urlsafe(24)}"
    with write():
        active = ApiKey.select().where(ApiKey.project == project, ApiKey.revoked_at.is_null()).count()
        if limits.max_keys is not None and active >= limits.max_keys:
            raise TierLimitExceeded(
                f"Tier '{project.tier}' allows {limits.max_keys} active keys per project; this one has {active}",
                "Revoke a key that is no longer used, or move the project to a larger tier",
            )
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
    return IssuedKey(key, plaintext)


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
    with write():
        ApiKey.update(last_used_at=now).where(ApiKey.id == key_id).execute()


def list_keys(project: Project | None = None, *, revoked: bool = False) -> list[ApiKey]:
    """Return the active (or the revoked) keys, newest first, of one project or of all."""
    query = ApiKey.select(ApiKey, Project).join(Project).where(ApiKey.revoked_at.is_null(not revoked))
    if project is not None:
        query = query.where(ApiKey.project == project)
    return list(query.order_by(ApiKey.created_at.desc(), ApiKey.id.desc()))


def revoke_key(key_id: str) -> ApiKey:
    """Revoke a key: the very next request with it gets 401. Repeating it changes nothing.

    Raises NotFound, and Conflict for the last active key with account access, without which nobody could make another over the API.
    """
    with write():
        key: ApiKey | None = ApiKey.get_or_none(ApiKey.id == key_id)
        if key is None:
            raise NotFound(f"There is no API key {key_id!r}", "'python app.py keys list' shows the ids")
        if key.revoked_at is None:
            _keep_one_account_key(key)
            key.revoked_at = clock.now_ms()
            ApiKey.update(revoked_at=key.revoked_at).where(ApiKey.id == key.id, ApiKey.revoked_at.is_null()).execute()
    return key


def _keep_one_account_key(key: ApiKey) -> None:
    if key.access != "account":
        return
    others = ApiKey.select().where(ApiKey.access == "account", ApiKey.revoked_at.is_null(), ApiKey.id != key.id).count()
    if not others:
        raise Conflict(
            "This is the last key with account access", "Make another first: python app.py keys create --name NAME --access account"
        )
