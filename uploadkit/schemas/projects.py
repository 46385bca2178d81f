"""The shapes of answers about projects, API keys, file routes and upload tokens."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from uploadkit.schemas.files import Environment, LimitsObject, ProjectId, Shape, Timestamp


class ProjectObject(Shape):
    """One project. `limits` is what applies now: those of its tier, with its own laid over them."""

    id: ProjectId
    name: Annotated[str, Field(examples=["Holiday photos"])]
    slug: Annotated[str, Field(examples=["holiday-photos"])]
    tier: Annotated[str, Field(examples=["pro"])]
    limits: LimitsObject
    limit_overrides: Annotated[
        dict[str, int | Literal["unlimited"]], Field(description="the project's own limits", examples=[{"maxStorage": 1099511627776}])
    ]
    retention_days: Annotated[int | None, Field(description="null: files are kept until somebody deletes them")]
    created_at: Timestamp
    updated_at: Timestamp


class ProjectPage(Shape):
    """Some projects, newest first, and the cursor of the next page."""

    items: list[ProjectObject]
    next_cursor: str | None
    has_more: bool


class KeyObject(Shape):
    """One API key, masked. `access`: `project` is for its own project only, `account` may also administer all projects."""

    id: Annotated[str, Field(examples=["01a1fc45-c5df-7a02-9f0c-3d2a1b5e7c11"])]
    project_id: ProjectId
    name: Annotated[str, Field(examples=["Production server"])]
    masked_key: Annotated[str, Field(examples=["uk_live_a1B...x9Y8z7"])]
    environment: Environment
    access: Literal["project", "account"]
    created_at: Timestamp
    last_used_at: Annotated[Timestamp | None, Field(description="to the minute")]
    revoked_at: Timestamp | None


class NewKeyObject(KeyObject):
    """A new API key, with the only sight of `key` there will ever be."""

    key: Annotated[str, Field(pattern=r"^uk_(live|test)_[A-Za-z0-9_-]{32}$")]


class KeyPage(Shape):
    """Some API keys, newest first, and the cursor of the next page."""

    items: list[KeyObject]
    next_cursor: str | None
    has_more: bool


class Revoked(Shape):
    """The API key is refused from now on."""

    revoked: Literal[True]


class FileRouteObject(Shape):
    """The rules for uploads of one kind."""

    id: Annotated[str, Field(examples=["01a1fc45-c5e0-7c1d-8a4e-6b0f2d9c3e55"])]
    project_id: ProjectId
    slug: Annotated[str, Field(examples=["avatars"])]
    max_file_size: Annotated[int | None, Field(description="bytes; null: as large as the tier allows", examples=[4194304])]
    max_file_count: Annotated[int, Field(description="files that a browser may select at once", examples=[1])]
    allowed_types: Annotated[list[str], Field(examples=[["image/*"]])]
    visibility: Literal["public", "private"]
    webhook_url: str | None
    webhook_events: Annotated[list[str], Field(examples=[["onUploadComplete"]])]
    verify_content: bool
    anonymous_uploads: bool
    allowed_origins: Annotated[list[str], Field(examples=[["https://app.example.com"]])]
    anonymous_endpoint: Annotated[
        str | None,
        Field(
            description="where pages of allowedOrigins upload; null without anonymousUploads",
            examples=["https://uploads.example.com/api/uploadkit/p/01a1fc45-c5e0-7c1d-8a4e-6b0f2d9c3e55"],
        ),
    ]
    created_at: Timestamp
    updated_at: Timestamp


class FileRoutePage(Shape):
    """Some file routes, newest first, and the cursor of the next page."""

    items: list[FileRouteObject]
    next_cursor: str | None
    has_more: bool


class UploadTokenObject(Shape):
    """A new upload token, with the only sight of `token` there will ever be. A page uploads to `endpoint`."""

    id: Annotated[str, Field(examples=["01a1fc45-c5e2-7d3f-9b6a-8f2e4c1d0a77"])]
    token: Annotated[str, Field(pattern=r"^ukt_[A-Za-z0-9_-]{32}$")]
    endpoint: Annotated[str, Field(examples=["https://uploads.example.com/api/uploadkit/t/ukt_..."])]
    route_slug: Annotated[str, Field(description="the first of routeSlugs", examples=["default"])]
    route_slugs: Annotated[list[str], Field(description="the file routes that it is for", examples=[["default"]])]
    environment: Environment
    max_files: Annotated[int, Field(examples=[1])]
    max_bytes: Annotated[int | None, Field(description="of all files together; null: any number", examples=[4194304])]
    expires_at: Annotated[Timestamp, Field(description="no upload can be begun after that; one that was begun can be finished")]
