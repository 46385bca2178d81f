"""`/projects/{id}/keys` and `/keys/{id}`: API keys."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field

from uploadkit.auth.api_keys import IssuedKey
from uploadkit.auth.callers import Access
from uploadkit.core.values import Environment, Name, ProjectId, Timestamp
from uploadkit.schemas.base import Answer, Input, Page, PageQuery


class KeyPath(Input):
    """An API key's id in a path."""

    key_id: str


class KeyBody(Input):
    """Body of `POST /projects/{projectId}/keys`."""

    name: Annotated[Name, Field(examples=["Production server"])]
    environment: Environment = "live"
    access: Access = "project"


class KeyListQuery(PageQuery):
    """Query of `GET /projects/{projectId}/keys`."""

    revoked: Annotated[bool, Field(description="the revoked keys instead of the active ones")] = False


class KeyObject(Answer):
    """One API key, masked. `access`: `project` is for its own project only, `account` may also administer all projects."""

    id: Annotated[str, Field(examples=["01a1fc45-c5df-7a02-9f0c-3d2a1b5e7c11"])]
    project_id: ProjectId
    name: Annotated[str, Field(examples=["Production server"])]
    masked_key: Annotated[str, Field(examples=["uk_live_a1B...x9Y8z7"])]
    environment: Environment
    access: Access
    created_at: Timestamp
    last_used_at: Annotated[Timestamp | None, Field(description="to the minute")]
    revoked_at: Timestamp | None


class NewKeyObject(KeyObject):
    """A new API key, with the only sight of `key` there will ever be."""

    key: Annotated[str, Field(pattern=r"^uk_(live|test)_[A-Za-z0-9_-]{32}$")]

    @classmethod
    def of(cls, issued: IssuedKey) -> Self:
        """Return a new API key: the only answer that holds its plaintext."""
        return cls(**dict(KeyObject.model_validate(issued.key)), key=issued.plaintext)


class KeyPage(Page[KeyObject]):
    """Some API keys, newest first, and the cursor of the next page."""
