"""`/projects…`: projects and their limits."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field
from pydantic.alias_generators import to_camel

from uploadkit.config import TierConfig
from uploadkit.core.values import UNLIMITED, CountOverride, Days, Name, ProjectId, SizeOverride, Timestamp
from uploadkit.db.models import Project
from uploadkit.schemas.base import Answer, Input, Page, absent, without_defaults

Tier = Annotated[str, Field(min_length=1, max_length=100, description="free, pro, team, enterprise, or one of your own", examples=["pro"])]


class ProjectPath(Input):
    """A project's id in a path."""

    project_id: str


class ProjectBody(Input):
    """Body of `POST /projects`."""

    name: Annotated[Name, Field(examples=["Holiday photos"])]
    tier: Annotated[Tier | None, Field(description="the appliance's default tier when left out")] = None


class LimitOverrides(Input):
    """A project's own limits. A limit that is left out stays as it is; null: the tier's own again; "unlimited": none."""

    model_config = ConfigDict(extra="forbid", json_schema_extra=without_defaults)

    requests_per_minute: CountOverride = None
    max_keys: CountOverride = None
    max_file_size: SizeOverride = None
    max_storage: SizeOverride = None
    max_uploads_per_month: CountOverride = None


class ProjectChangesBody(Input):
    """Body of `PATCH /projects/{projectId}`: what is left out stays as it is."""

    model_config = ConfigDict(json_schema_extra=without_defaults)

    name: Annotated[Name, Field(examples=["Holiday photos"])] = absent(str)
    tier: Tier = absent(str)
    limits: Annotated[LimitOverrides, Field(examples=[{"maxStorage": "1TB", "maxKeys": None}])] = absent(LimitOverrides)
    retention_days: Annotated[Days | None, Field(description="live files are deleted when they are this old; null: never")] = None

    def to_columns(self) -> dict[str, Any]:
        """Return the columns to change."""
        changes = {name: getattr(self, name) for name in self.model_fields_set - {"limits"}}
        if "limits" in self.model_fields_set:
            changes["limit_overrides"] = {name: getattr(self.limits, name) for name in self.limits.model_fields_set}
        return changes


class LimitsObject(Answer):
    """The limits of a project; null is unlimited."""

    requests_per_minute: Annotated[int | None, Field(description="per API key", examples=[300])]
    max_keys: Annotated[int | None, Field(description="active API keys", examples=[10])]
    max_file_size: Annotated[int | None, Field(description="bytes", examples=[536870912])]
    max_storage: Annotated[int | None, Field(description="bytes", examples=[107374182400])]
    max_uploads_per_month: Annotated[int | None, Field(examples=[50000])]


class ProjectObject(Answer):
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

    @classmethod
    def of(cls, row: Project, applying: TierConfig) -> Self:
        """Return a project. `limitOverrides` is in the words of PATCH, so that what was read can be written back."""
        return cls(
            id=row.id,
            name=row.name,
            slug=row.slug,
            tier=row.tier,
            limits=LimitsObject.model_validate(applying),
            limit_overrides={to_camel(name): UNLIMITED if value is None else value for name, value in row.limit_overrides.items()},
            retention_days=row.retention_days,
            created_at=row.created_at,
            updated_at=row.updated_at,
        )


class ProjectPage(Page[ProjectObject]):
    """Some projects, newest first, and the cursor of the next page."""
