"""File routes: the rules an upload must follow, and the check of one upload against them."""

from __future__ import annotations

from uploadkit import clock
from uploadkit.config import TierConfig
from uploadkit.db import new_id
from uploadkit.errors import FileTooLarge, FileTypeNotAllowed, NotFound
from uploadkit.models import FileRoute, Project


def add_default(project: Project) -> FileRoute:
    """Give a new project its file route `default` (any type, any size its tier allows), in the caller's write transaction."""
    now = clock.now_ms()
    route: FileRoute = FileRoute.create(id=new_id(), project=project, slug="default", created_at=now, updated_at=now)
    return route


def find_file_route(project_id: str, slug: str) -> FileRoute:
    """Return the file route `slug` of a project. Raises NotFound."""
    route: FileRoute | None = FileRoute.get_or_none(FileRoute.project == project_id, FileRoute.slug == slug)
    if route is None:
        raise NotFound(f"This project has no file route {slug!r}", "Use 'default', which every project has")
    return route


def check_upload(route: FileRoute, limits: TierConfig, size_bytes: int, content_type: str) -> None:
    """Hold an upload against its file route and the tier. Pure. Raises FileTooLarge, FileTypeNotAllowed."""
    if route.max_file_size_bytes is not None and size_bytes > route.max_file_size_bytes:
        raise FileTooLarge(
            f"File size {size_bytes} bytes exceeds the {route.max_file_size_bytes} byte limit",
            f"Raise maxFileSize on file route '{route.slug}'",
        )
    if limits.max_file_size is not None and size_bytes > limits.max_file_size:
        raise FileTooLarge(
            f"File size {size_bytes} bytes exceeds the {limits.max_file_size} byte limit",
            "Move the project to a larger tier, or raise max_file_size of its tier in config.toml",
        )
    if not is_allowed(content_type, route.allowed_types):
        raise FileTypeNotAllowed(
            f"Content type {content_type!r} is not allowed here",
            f"File route '{route.slug}' takes {', '.join(route.allowed_types)}; send another type or change its allowedTypes",
        )


def is_allowed(content_type: str, allowed_types: list[str]) -> bool:
    """Say whether the essence of `content_type` (no parameters, any case) matches one of `allowed_types`, such as `image/*`."""
    essence = content_type.partition(";")[0].strip().lower()
    main_type = essence.partition("/")[0]
    return any(allowed.lower() in (essence, f"{main_type}/*", "*/*") for allowed in allowed_types)
