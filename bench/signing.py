"""All part URLs of one multipart upload: our signer beside botocore's `generate_presigned_url`, the same URLs."""

from __future__ import annotations

import time

import boto3
from botocore.config import Config

from bench.measure import Effort, Figure, figure, in_turns, seconds_of
from uploadkit.objectstore.address import StoreAddress
from uploadkit.objectstore.store import ObjectStore

PART_BYTES = 5 * 1024**2
ADDRESS = StoreAddress("https://s3.example.com", "https://s3.example.com", "us-east-1", "uploads", "path", "AKIDEXAMPLE", "secret")
KEY, UPLOAD_ID = "project/default/file/film.mp4", "an-upload-id"


def measure(effort: Effort) -> list[Figure]:
    """Sign 1,000 parts, and the 10,000 that S3 allows, each with its exact length."""
    return [_signed(effort, 1_000), _signed(effort, 10_000)]


def _signed(effort: Effort, parts: int) -> Figure:
    store = ObjectStore(ADDRESS)
    client = boto3.client(
        "s3",
        endpoint_url=ADDRESS.endpoint,
        region_name=ADDRESS.region,
        aws_access_key_id=ADDRESS.access_key_id,
        aws_secret_access_key=ADDRESS.secret_access_key,
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}, request_checksum_calculation="when_required"),
    )

    def ours() -> list[str]:
        now = int(time.time() * 1000)
        return [store.presign_part(KEY, UPLOAD_ID, number, PART_BYTES, now, 3600) for number in range(1, parts + 1)]

    def theirs() -> list[str]:
        named = {"Bucket": ADDRESS.bucket, "Key": KEY, "UploadId": UPLOAD_ID, "ContentLength": PART_BYTES}
        return [client.generate_presigned_url("upload_part", named | {"PartNumber": n}, ExpiresIn=3600) for n in range(1, parts + 1)]

    rates = in_turns(effort, lambda: parts / seconds_of(ours), lambda: parts / seconds_of(theirs))
    return figure(f"{parts:,} part URLs signed", "botocore", "/s", rates, at_least=15)
