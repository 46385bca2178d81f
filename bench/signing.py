"""1,000 part URLs of one multipart upload: our signer beside botocore's `generate_presigned_url`, the same URLs."""

from __future__ import annotations

import time

import boto3
from botocore.config import Config

from bench.measure import Comparison, compare
from uploadkit.storage.address import StoreAddress
from uploadkit.storage.s3 import ObjectStore

PARTS = 1_000
PART_BYTES = 5 * 1024**2
ADDRESS = StoreAddress("https://s3.example.com", "https://s3.example.com", "us-east-1", "uploads", "path", "AKIDEXAMPLE", "secret")


def part_urls() -> Comparison:
    """Sign all parts, each with its exact length."""
    store = ObjectStore(ADDRESS)
    client = boto3.client(
        "s3",
        endpoint_url=ADDRESS.endpoint,
        region_name=ADDRESS.region,
        aws_access_key_id=ADDRESS.access_key_id,
        aws_secret_access_key=ADDRESS.secret_access_key,
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}, request_checksum_calculation="when_required"),
    )
    key, upload_id = "project/default/file/film.mp4", "an-upload-id"

    def ours() -> list[str]:
        now = int(time.time() * 1000)
        return [store.presign_part(key, upload_id, number, PART_BYTES, now, 3600) for number in range(1, PARTS + 1)]

    def theirs() -> list[str]:
        named = {"Bucket": ADDRESS.bucket, "Key": key, "UploadId": upload_id, "ContentLength": PART_BYTES}
        return [client.generate_presigned_url("upload_part", named | {"PartNumber": n}, ExpiresIn=3600) for n in range(1, PARTS + 1)]

    return compare(f"{PARTS:,} part URLs signed, beside botocore", ours, theirs, rounds=9, target=15)
