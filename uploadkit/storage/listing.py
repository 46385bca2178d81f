"""What a bucket holds, page by page. Needs s3:ListBucket and s3:ListBucketMultipartUploads, which nothing else of the appliance does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from uploadkit.storage.s3 import ObjectStore


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


def objects(store: ObjectStore) -> Iterator[list[ListedObject]]:
    """Yield all objects, up to 1,000 at a time. Raises StorageUnavailable and AccessDenied."""
    marker: dict[str, str] = {}
    while True:
        page = store.ask("list_objects_v2", **marker)
        yield [_listed(item) for item in page.get("Contents", [])]
        if not page.get("IsTruncated"):
            return
        marker = {"ContinuationToken": page["NextContinuationToken"]}


def multiparts(store: ObjectStore) -> Iterator[ListedMultipart]:
    """Yield all multipart uploads under way. Raises StorageUnavailable and AccessDenied."""
    marker: dict[str, str] = {}
    while True:
        page = store.ask("list_multipart_uploads", **marker)
        for item in page.get("Uploads", []):
            yield ListedMultipart(item["Key"], item["UploadId"], int(item["Initiated"].timestamp() * 1000))
        if not page.get("IsTruncated"):
            return
        marker = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}


def _listed(item: dict[str, Any]) -> ListedObject:
    return ListedObject(item["Key"], int(item["Size"]), item["ETag"].strip('"'), int(item["LastModified"].timestamp() * 1000))
