"""What the store and the counters of a project hold."""

from __future__ import annotations

import urllib3

from tests.conftest import App
from uploadkit.db.models import Project


def put(url: str, content: bytes, content_type: str | None = "image/jpeg") -> int:
    headers = {"Content-Type": content_type} if content_type else {}
    with urllib3.PoolManager() as http:
        return http.request("PUT", url, body=content, headers=headers).status


def counters(app: App) -> tuple[int, int, int]:
    project = Project.get_by_id(app.project.id)
    return project.storage_used_bytes, project.storage_reserved_bytes, project.uploads_reserved


def objects(app: App) -> set[str]:
    """Every key in the bucket."""
    store = app.ctx.store
    pages = store._client.get_paginator("list_objects_v2").paginate(Bucket=store.address.bucket)
    return {item["Key"] for page in pages for item in page.get("Contents", [])}
