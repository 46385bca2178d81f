"""The object store, spoken to by S3: the only user of boto3.

Needs on the bucket: PutObject, GetObject, DeleteObject, AbortMultipartUpload; ListMultipartUploadParts for resuming. Guarantees: a store
that is down, slow or out of order shows as StorageUnavailable, an object that is not there as None, never as a boto3 exception.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import IO, Any, Literal
from urllib.parse import quote, urlsplit

import boto3
import botocore.session
from botocore.config import Config as BotoConfig
from botocore.exceptions import BotoCoreError, ClientError
from urllib3.exceptions import HTTPError

from uploadkit import clock
from uploadkit.config import ByosConfig, is_loopback
from uploadkit.errors import InvalidParts, StorageUnavailable
from uploadkit.storage.presign import Signer

_GONE = {"404", "NoSuchKey", "NotFound", "NoSuchUpload"}
_DENIED = {"403", "AccessDenied", "Forbidden"}
# The permission that an operation needs, where it has another name.
_PERMISSIONS = {
    "CopyObject": "s3:GetObject and s3:PutObject",
    "HeadObject": "s3:GetObject",
    "CreateMultipartUpload": "s3:PutObject",
    "CompleteMultipartUpload": "s3:PutObject",
    "ListParts": "s3:ListMultipartUploadParts",
    "ListMultipartUploads": "s3:ListBucketMultipartUploads",
    "ListObjectsV2": "s3:ListBucket",
    "GetBucketCors": "s3:GetBucketCORS",
    "PutBucketCors": "s3:PutBucketCORS",
    "GetBucketLifecycleConfiguration": "s3:GetLifecycleConfiguration",
    "PutBucketLifecycleConfiguration": "s3:PutLifecycleConfiguration",
}
_BAD_PARTS = {"InvalidPart", "InvalidPartOrder", "EntityTooSmall", "MalformedXML", "BadDigest"}
_PROBE_KEY = "pending/readiness-probe"


@dataclass(frozen=True)
class StoreAddress:
    """Where a bucket is and who may use it. `endpoint` is the appliance's way there, `public_endpoint` the clients'."""

    endpoint: str
    public_endpoint: str
    region: str
    bucket: str
    addressing_style: Literal["path", "virtual"]
    access_key_id: str
    secret_access_key: str

    def __repr__(self) -> str:
        return f"StoreAddress({self.bucket!r} at {self.endpoint})"

    def base_url(self, endpoint: str) -> str:
        """Return what stands before an object's key in a URL on `endpoint`."""
        if self.addressing_style == "path":
            return f"{endpoint}/{self.bucket}"
        parts = urlsplit(endpoint)
        return f"{parts.scheme}://{self.bucket}.{parts.netloc}{parts.path}"


@dataclass(frozen=True)
class StoredObject:
    """What the store says of an object: size in bytes, type, ETag (without quotes) and its first bytes."""

    size_bytes: int
    content_type: str
    etag: str
    first_bytes: bytes


@dataclass(frozen=True)
class StoredPart:
    """A part that has arrived: its number, size in bytes, ETag (without quotes) and when (milliseconds since the epoch)."""

    number: int
    size_bytes: int
    etag: str
    arrived_at: int


class CopyRefused(Exception):
    """The source changed between the look at it and the copy."""


class StorageRefused(StorageUnavailable):
    """The store answered, and the answer to this one call was no: `store_code` is its own word for it."""

    def __init__(self, message: str, store_code: str, suggestion: str | None = None) -> None:
        super().__init__(message, suggestion)
        self.store_code = store_code


class AccessDenied(StorageRefused):
    """The store's answer to our credentials was 403. AWS says so too of a missing object, without s3:ListBucket."""


def byos_address(byos: ByosConfig) -> StoreAddress:
    """Return the address that a checked BYOS configuration describes (storage.md section 2).

    Without an endpoint it is AWS: virtual-host style on the regional host, but for bucket names with dots, which no TLS certificate covers.
    """
    # config.load has checked that these are there.
    assert byos.bucket
    assert byos.region
    assert byos.access_key_id
    assert byos.secret_access_key
    on_aws = byos.endpoint is None
    endpoint = byos.endpoint or f"https://s3.{byos.region}.amazonaws.com"
    style = byos.addressing_style
    if style == "auto":
        style = "virtual" if on_aws and "." not in byos.bucket else "path"
    return StoreAddress(
        endpoint=endpoint,
        public_endpoint=byos.public_endpoint or endpoint,
        region=byos.region,
        bucket=byos.bucket,
        addressing_style=style,
        access_key_id=byos.access_key_id,
        secret_access_key=byos.secret_access_key.get_secret_value(),
    )


class ObjectStore:
    """One bucket. `problem` is asked before URLs are signed: it returns why the store can't take uploads now, or None.
    `outage` is asked before every call: why the store can't answer at all, so that nobody waits for a time-out.

    With `may_create_bucket`, a probe that finds the store without the bucket makes it.
    """

    def __init__(
        self,
        address: StoreAddress,
        problem: Callable[[], str | None] = lambda: None,
        outage: Callable[[], str | None] = lambda: None,
        *,
        may_create_bucket: bool = False,
    ) -> None:
        self.address = address
        self._outage = outage
        self._may_create_bucket = may_create_bucket
        self._problem = problem
        self._signer = Signer(address.base_url(address.public_endpoint), address.region, address.access_key_id, address.secret_access_key)
        session = _own_session()  # one for all: each would read the description of S3 from its files anew
        self._quick_client = self._make_client(session, read_timeout_seconds=10, attempts=2)
        self._hasty_client = self._make_client(session, read_timeout_seconds=3, attempts=1)
        # Copying 5 GiB or putting 10,000 parts together takes the store minutes, and trying twice would do it twice.
        self._slow_client = self._make_client(session, read_timeout_seconds=300, attempts=1)

    @property
    def _client(self) -> Any:
        return self._answering(self._quick_client)

    @property
    def _patient_client(self) -> Any:
        return self._answering(self._slow_client)

    def _answering(self, client: Any) -> Any:
        if reason := self._outage():
            raise StorageUnavailable(f"The object store can't be asked now: {reason}")
        return client

    def _make_client(self, session: Any, *, read_timeout_seconds: int, attempts: int) -> Any:
        client = session.client(
            "s3",
            endpoint_url=self.address.endpoint,
            region_name=self.address.region,
            aws_access_key_id=self.address.access_key_id,
            aws_secret_access_key=self.address.secret_access_key,
            config=BotoConfig(
                signature_version="s3v4",
                s3={"addressing_style": self.address.addressing_style},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                use_fips_endpoint=False,
                use_dualstack_endpoint=False,
                ignore_configured_endpoint_urls=True,
                proxies={} if is_loopback(urlsplit(self.address.endpoint).hostname or "") else None,
                connect_timeout=3,
                read_timeout=read_timeout_seconds,
                retries={"total_max_attempts": attempts, "mode": "standard"},
                max_pool_connections=64,
                tcp_keepalive=True,
            ),
        )
        # boto3 sends a newer checksum in its place, which Ceph (DigitalOcean Spaces) and others don't take for one.
        for operation in ("PutBucketCors", "PutBucketLifecycleConfiguration"):
            client.meta.events.register(f"before-call.s3.{operation}", _add_content_md5)
        return client

    # Signing: local, no I/O.

    def ensure_available(self) -> None:
        """Raise StorageUnavailable while the store is known to be down or full."""
        reason = self._problem()
        if reason:
            raise StorageUnavailable(f"Uploads can't be stored now: {reason}")

    def presign_put(self, key: str, content_type: str | None, size_bytes: int, at_ms: int, expires_seconds: int) -> str:
        """Return a URL for one PUT of exactly `size_bytes` and `content_type` (None: any or none) to `key`."""
        headers = {"content-length": str(size_bytes)} | ({} if content_type is None else {"content-type": content_type})
        return self._signer.presign("PUT", key, at_ms=at_ms, expires_seconds=expires_seconds, headers=headers)

    def presign_part(self, key: str, upload_id: str, number: int, size_bytes: int, at_ms: int, expires_seconds: int) -> str:
        """Return a URL for one PUT of part `number`, exactly `size_bytes` long."""
        return self._signer.presign(
            "PUT",
            key,
            at_ms=at_ms,
            expires_seconds=expires_seconds,
            query={"uploadId": upload_id, "partNumber": str(number)},
            headers={"content-length": str(size_bytes)},
        )

    def presign_read(self, method: Literal["GET", "HEAD"], key: str, content_type: str, disposition: str, expires_seconds: int) -> str:
        """Return a URL that reads `key` and makes the store answer with our own `content_type` and `disposition`."""
        query = {"response-content-type": content_type, "response-content-disposition": disposition}
        return self._signer.presign(method, key, at_ms=clock.now_ms(), expires_seconds=expires_seconds, query=query)

    def public_origin(self) -> str:
        """Return scheme and host that presigned URLs name."""
        parts = urlsplit(self.address.base_url(self.address.public_endpoint))
        return f"{parts.scheme}://{parts.netloc}"

    # Objects.

    def look_at(self, key: str, first_bytes: int = 4096) -> StoredObject | None:
        """Return what the store has under `key`, by one ranged GET; None when it has nothing there. Raises AccessDenied."""
        with _translated():
            try:
                answer = self._client.get_object(Bucket=self.address.bucket, Key=key, Range=f"bytes=0-{first_bytes - 1}")
                with answer["Body"] as body:
                    head = body.read()
            except ClientError as error:
                if _code(error) in _GONE:
                    return None
                if _code(error) == "InvalidRange":
                    return StoredObject(0, "", "", b"")
                raise
        total = re.fullmatch(r"bytes \d+-\d+/(\d+)", answer.get("ContentRange", ""))
        size = int(total[1]) if total else int(answer["ContentLength"])
        return StoredObject(size, answer.get("ContentType", ""), answer["ETag"].strip('"'), head)

    def copy(self, source: str, source_etag: str, target: str, content_type: str, disposition: str) -> str:
        """Have the store copy `source`, if its ETag still is `source_etag`, to `target` with our own type and disposition.

        Returns the copy's ETag. Raises CopyRefused when the source is another one by now, also where the store ignores the condition: then
        the copy's ETag differs. With KMS encryption it always does (docs/decisions/0014-doctor.md), and the source is asked once more.
        """
        with _translated():
            try:
                answer = self._patient_client.copy_object(
                    Bucket=self.address.bucket,
                    Key=target,
                    CopySource={"Bucket": self.address.bucket, "Key": source},
                    CopySourceIfMatch=f'"{source_etag}"',
                    MetadataDirective="REPLACE",
                    ContentType=content_type,
                    ContentDisposition=disposition,
                )
            except ClientError as error:
                if _code(error) in {"PreconditionFailed", "412"} | _GONE:
                    raise CopyRefused(source) from None
                raise
        etag: str = answer["CopyObjectResult"]["ETag"].strip('"')
        has_etag_of_its_own = str(answer.get("ServerSideEncryption", "")).startswith("aws:kms")
        if etag != source_etag and not (has_etag_of_its_own and self._is_still(source, source_etag)):
            raise CopyRefused(source)
        return etag

    def _is_still(self, key: str, etag: str) -> bool:
        stored = self.look_at(key, first_bytes=1)
        return stored is not None and stored.etag == etag

    def delete(self, key: str) -> None:
        """Delete the object under `key`; one that is not there is fine."""
        with _translated(), _gone_is_fine():
            self._client.delete_object(Bucket=self.address.bucket, Key=key)

    # Bytes that pass through the appliance: only when files move to another store.

    def read(self, key: str, start: int, length: int, chunk_bytes: int) -> Iterator[bytes]:
        """Yield `length` bytes of an object from byte `start` on, up to `chunk_bytes` at a time. Raises StorageUnavailable."""
        with _translated():
            answer = self._client.get_object(Bucket=self.address.bucket, Key=key, Range=f"bytes={start}-{start + length - 1}")
            with closing(answer["Body"]) as body:
                yield from body.iter_chunks(chunk_bytes)

    def put(self, key: str, body: IO[bytes], md5: str, content_type: str, disposition: str) -> str:
        """Store `body`, which has that MD5 (base64, RFC 1864) or is refused, under `key`; return its ETag."""
        with _translated():
            answer = self._patient_client.put_object(
                Bucket=self.address.bucket, Key=key, Body=body, ContentMD5=md5, ContentType=content_type, ContentDisposition=disposition
            )
        etag: str = answer["ETag"].strip('"')
        return etag

    def put_part(self, key: str, upload_id: str, number: int, body: IO[bytes], md5: str) -> str:
        """Store part `number` of a multipart upload, which has that MD5 (base64, RFC 1864) or is refused; return its ETag."""
        with _translated():
            answer = self._patient_client.upload_part(
                Bucket=self.address.bucket, Key=key, UploadId=upload_id, PartNumber=number, Body=body, ContentMD5=md5
            )
        etag: str = answer["ETag"].strip('"')
        return etag

    # Multipart uploads.

    def create_multipart(self, key: str, content_type: str, disposition: str) -> str:
        """Begin a multipart upload to `key`; return its upload id."""
        with _translated():
            answer = self._client.create_multipart_upload(
                Bucket=self.address.bucket, Key=key, ContentType=content_type, ContentDisposition=disposition
            )
        upload_id: str = answer["UploadId"]
        return upload_id

    def list_parts(self, key: str, upload_id: str) -> list[StoredPart] | None:
        """Return the parts that have arrived, by number; None when the store knows no such upload (any more). Raises AccessDenied."""
        parts: list[StoredPart] = []
        marker: dict[str, int] = {}
        while True:
            with _translated():
                try:
                    page = self._client.list_parts(Bucket=self.address.bucket, Key=key, UploadId=upload_id, **marker)
                except ClientError as error:
                    if _code(error) in _GONE:
                        return None
                    raise
            parts += [_stored_part(part) for part in page.get("Parts", [])]
            if not page.get("IsTruncated"):
                return sorted(parts, key=lambda part: part.number)
            marker = {"PartNumberMarker": page["NextPartNumberMarker"]}

    def complete_multipart(self, key: str, upload_id: str, parts: Sequence[tuple[int, str]]) -> bool:
        """Put the `parts` (number, ETag) together under `key`; False when the store knows no such upload (any more).

        Raises InvalidParts when the store does not accept them.
        """
        listed = [{"PartNumber": number, "ETag": f'"{etag}"'} for number, etag in parts]
        with _translated():
            try:
                self._patient_client.complete_multipart_upload(
                    Bucket=self.address.bucket, Key=key, UploadId=upload_id, MultipartUpload={"Parts": listed}
                )
            except ClientError as error:
                if _code(error) in _GONE:
                    return False
                if _code(error) in _BAD_PARTS:
                    raise InvalidParts(f"The store refused the parts: {_code(error)}") from None
                raise
        return True

    def abort_multipart(self, key: str, upload_id: str) -> None:
        """Throw away a multipart upload and its parts; one that is not there is fine."""
        with _translated(), _gone_is_fine():
            self._client.abort_multipart_upload(Bucket=self.address.bucket, Key=key, UploadId=upload_id)

    def abort_all_multiparts(self, key: str) -> None:
        """Throw away every multipart upload begun for `key`, also one whose upload id we never learned."""
        with _translated():
            for page in self._client.get_paginator("list_multipart_uploads").paginate(Bucket=self.address.bucket, Prefix=key):
                for upload in page.get("Uploads", []):
                    if upload["Key"] == key:
                        self.abort_multipart(key, upload["UploadId"])

    # The bucket.

    def probe(self) -> None:
        """Ask the store for an object that is not there. Raises StorageUnavailable when it gives no sensible answer."""
        reason = self._problem()
        if reason:
            raise StorageUnavailable(reason)
        try:
            with _translated():
                self._hasty_client.get_object(Bucket=self.address.bucket, Key=_PROBE_KEY, Range="bytes=0-0")["Body"].close()
        except AccessDenied:
            return  # an answer; AWS gives it for a missing object too
        except StorageRefused as error:
            if error.store_code in _GONE:
                return
            if error.store_code != "NoSuchBucket" or not self._may_create_bucket:
                raise
            self.create_bucket()

    def create_bucket(self) -> None:
        """Make the bucket, unless it is there."""
        with _translated():
            try:
                self._client.create_bucket(Bucket=self.address.bucket, **self._location())
            except ClientError as error:
                if _code(error) not in {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}:
                    raise

    def _location(self) -> Mapping[str, Any]:
        on_aws_elsewhere = self.address.endpoint.endswith(".amazonaws.com") and self.address.region != "us-east-1"
        return {"CreateBucketConfiguration": {"LocationConstraint": self.address.region}} if on_aws_elsewhere else {}

    def ask(self, operation: str, **parameters: Any) -> Mapping[str, Any]:
        """Call one of boto3's operations on this bucket, such as `get_bucket_cors`. Raises StorageUnavailable and its kinds."""
        with _translated():
            answer: Mapping[str, Any] = getattr(self._client, operation)(Bucket=self.address.bucket, **parameters)
        return answer


def _own_session() -> Any:
    """A session that knows nothing of AWS_PROFILE and ~/.aws: only the appliance's own configuration counts."""
    core = botocore.session.Session(
        {
            "profile": (None, None, None, None),
            "config_file": (None, None, os.devnull, None),
            "credentials_file": (None, None, os.devnull, None),
        }
    )
    return boto3.session.Session(botocore_session=core)


def object_url(base: str, key: str) -> str:
    """Return `base` + `/` + `key`, percent-encoded."""
    return f"{base}/{quote(key, safe='/-_.~')}"


def _stored_part(part: Mapping[str, Any]) -> StoredPart:
    return StoredPart(part["PartNumber"], part["Size"], part["ETag"].strip('"'), int(part["LastModified"].timestamp() * 1000))


def _add_content_md5(params: dict[str, Any], **_: Any) -> None:
    digest = hashlib.md5(params["body"], usedforsecurity=False).digest()
    params["headers"]["Content-MD5"] = base64.b64encode(digest).decode()


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


@contextmanager
def _gone_is_fine() -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        if _code(error) not in _GONE:
            raise


@contextmanager
def _translated() -> Iterator[None]:
    """Turn what boto3 raises into StorageUnavailable; its texts may quote URLs, so only the kind of failure goes on."""
    try:
        yield
    except ClientError as error:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        if _code(error) in _DENIED:
            denied = f"The object store denies {error.operation_name} to the appliance's credentials"
            permission = _PERMISSIONS.get(error.operation_name, f"s3:{error.operation_name}")
            raise AccessDenied(denied, _code(error), f"Give the appliance's credentials {permission} on the bucket") from None
        refused = f"The object store refused {error.operation_name}: {_code(error) or 'no code'} (HTTP {status})"
        if status and (status < 500 or status == 501):  # 501: well, but without this feature
            raise StorageRefused(refused, _code(error)) from None
        raise StorageUnavailable(refused) from None
    except (BotoCoreError, HTTPError, OSError) as error:
        raise StorageUnavailable(f"The object store did not answer ({type(error).__name__})") from None
