"""`/projects/{id}/file-routes` and `/file-routes/{id}`: the rules for uploads of one kind."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field

from uploadkit.core import host_names
from uploadkit.core.values import WHOLE, AllowedType, ByteCount, Origin, ProjectId, Slug, Timestamp
from uploadkit.db.models import FileRoute
from uploadkit.net import url_policy
from uploadkit.schemas.base import Answer, Input, Page, absent, without_defaults

Visibility = Literal["public", "private"]
WebhookEvent = Literal["onUploadComplete", "file.deleted", "file.failed"]


def _webhook_url(value: str) -> str:
    # Which addresses may be called, the configuration says: the service asks it.
    try:
        url_policy.parse(value)
    except url_policy.Refused as refusal:
        raise ValueError(str(refusal)) from None
    return value


WebhookUrl = Annotated[
    str,
    # Without IPv6, which no pattern tells from what only looks like it.
    Field(max_length=2000, json_schema_extra={"pattern": rf"^https?://{host_names.HOST}{host_names.PORT}([/?][!-\x22$-~]*)?$"}),
    Field(examples=["https://example.com/hooks/upload"], description="where events go"),
    AfterValidator(_webhook_url),
]


class FileRoutePath(Input):
    """A file route's id in a path."""

    file_route_id: str


class FileRouteBody(Input):
    """Body of `POST /projects/{projectId}/file-routes`."""

    slug: Slug
    max_file_size: Annotated[ByteCount | None, Field(description="of one file; null: as large as the tier allows")] = None
    max_file_count: Annotated[int, Field(ge=1, le=1000, description="files that a browser may select at once"), WHOLE] = 1
    allowed_types: Annotated[list[AllowedType], Field(min_length=1, max_length=100)] = Field(["*/*"])
    visibility: Visibility = "public"
    webhook_url: WebhookUrl | None = None
    webhook_events: Annotated[list[WebhookEvent], Field(max_length=3)] = Field(["onUploadComplete"])
    verify_content: Annotated[
        bool, Field(description="refuse a file whose first bytes are plainly of another type than the declared one")
    ] = True
    anonymous_uploads: Annotated[bool, Field(description="let pages of allowedOrigins upload without key and token")] = False
    allowed_origins: Annotated[list[Origin], Field(max_length=100)] = Field([])

    def to_columns(self) -> dict[str, Any]:
        """Return the columns that are given."""
        columns = {name: getattr(self, name) for name in self.model_fields_set}
        if "max_file_size" in columns:
            columns["max_file_size_bytes"] = columns.pop("max_file_size")
        return columns


class FileRouteChangesBody(FileRouteBody):
    """Body of `PATCH /file-routes/{fileRouteId}`: what is left out stays as it is."""

    model_config = ConfigDict(json_schema_extra=without_defaults)

    slug: Slug = absent(str)


class FileRouteObject(Answer):
    """The rules for uploads of one kind."""

    id: Annotated[str, Field(examples=["01a1fc45-c5e0-7c1d-8a4e-6b0f2d9c3e55"])]
    project_id: ProjectId
    slug: Annotated[str, Field(examples=["avatars"])]
    max_file_size: Annotated[int | None, Field(description="bytes; null: as large as the tier allows", examples=[4194304])]
    max_file_count: Annotated[int, Field(description="files that a browser may select at once", examples=[1])]
    allowed_types: Annotated[list[str], Field(examples=[["image/*"]])]
    visibility: Visibility
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

    @classmethod
    def of(cls, row: FileRoute, base_url: str) -> Self:
        """Return a file route of the appliance at `base_url`."""
        return cls(
            id=row.id,
            project_id=row.project_id,
            slug=row.slug,
            max_file_size=row.max_file_size_bytes,
            max_file_count=row.max_file_count,
            allowed_types=row.allowed_types,
            visibility=row.visibility,
            webhook_url=row.webhook_url,
            webhook_events=row.webhook_events,
            verify_content=row.verify_content,
            anonymous_uploads=row.anonymous_uploads,
            allowed_origins=row.allowed_origins,
            anonymous_endpoint=f"{base_url}/api/uploadkit/p/{row.project_id}" if row.anonymous_uploads else None,
            created_at=row.created_at,
            updated_at=row.updated_at,
        )


class FileRoutePage(Page[FileRouteObject]):
    """Some file routes, newest first, and the cursor of the next page."""
