"""What a bucket holds, page by page. Needs s3:ListBucket and s3:ListBucketMultipartUploads, which nothing else of the appliance does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from uploadkit.objectstore.boto import understood
from uploadkit.objectstore.list_pages import Walk
from uploadkit.objectstore.objects import etag_in, size_of, upload_id_in
from uploadkit.objectstore.store import MULTIPART_MARKERS, ObjectStore

_MOST_PAGES = 100_000
"""A hundred million objects: who has more, lists for days."""


@dataclass(frozen=True)
class ListedObject:
    """One object: its size in bytes, its ETag (without quotes) and when it was written (milliseconds since the epoch)."""

    key: str
    size_bytes: int
    etag: str
    written_at: int


@dataclass(frozen=True)
class ListedMultipart:
    """One multipart upload under way, and when it began (milliseconds since the epoch)."""

    key: str
    upload_id: str
    begun_at: int


def objects(store: ObjectStore, prefix: str = "") -> Iterator[list[ListedObject]]:
    """Yield all objects whose key begins with `prefix`, up to 1,000 at a time. Raises StorageUnavailable and AccessDenied."""
    only = {"Prefix": prefix} if prefix else {}
    marker: dict[str, str] | None = {}
    walk = Walk(_MOST_PAGES)
    while marker is not None:
        page = store.ask("list_objects_v2", **only, **marker)
        with understood():
            listed = [_listed(item) for item in page.get("Contents", [])]
        marker = walk.onwards(page, {"ContinuationToken": "NextContinuationToken"}, (listed[0].key, listed[-1].key) if listed else None)
        yield listed


def multiparts(store: ObjectStore) -> Iterator[ListedMultipart]:
    """Yield all multipart uploads under way. Raises StorageUnavailable and AccessDenied."""
    marker: dict[str, str] | None = {}
    walk = Walk(_MOST_PAGES)
    while marker is not None:
        page = store.ask("list_multipart_uploads", **marker)
        with understood():
            begun = [
                ListedMultipart(item["Key"], upload_id_in(item), int(item["Initiated"].timestamp() * 1000))
                for item in page.get("Uploads", [])
            ]
        marker = walk.onwards(page, MULTIPART_MARKERS, (begun[0], begun[-1]) if begun else None)
        yield from begun


def _listed(item: dict[str, Any]) -> ListedObject:
    return ListedObject(item["Key"], size_of(item), etag_in(item), int(item["LastModified"].timestamp() * 1000))
