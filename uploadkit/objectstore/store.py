"""The object store, spoken to by S3.

Needs on the bucket: PutObject, GetObject, DeleteObject, AbortMultipartUpload; ListMultipartUploadParts for resuming. Guarantees: a store
that is down, slow or out of order shows as StorageUnavailable, an object that is not there as None, never as a boto3 exception.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import IO, Any, Literal

from botocore.exceptions import ClientError

from uploadkit.core import clock
from uploadkit.core.errors import InvalidParts, StorageUnavailable
from uploadkit.core.sizes import MIB
from uploadkit.objectstore.address import StoreAddress
from uploadkit.objectstore.boto import (
    GONE,
    PASSING_STATUSES,
    AccessDenied,
    StorageRefused,
    ask_again,
    code_of,
    gone_is_fine,
    make_client,
    own_session,
    translated,
    understood,
)
from uploadkit.objectstore.list_pages import Walk
from uploadkit.objectstore.objects import (
    Piece,
    StoredObject,
    StoredPart,
    etag_in,
    etag_of,
    last_of_each,
    piece,
    require_bytes,
    require_etag,
    stored_object,
    stored_part,
    upload_id_in,
)
from uploadkit.objectstore.raw_requests import DirectRequests

_BAD_PARTS = {"InvalidPart", "InvalidPartOrder", "EntityTooSmall", "MalformedXML", "BadDigest"}
_MOST_PARTS = 10_000
MULTIPART_MARKERS = {"KeyMarker": "NextKeyMarker", "UploadIdMarker": "NextUploadIdMarker"}
_LARGE_BYTES = 64 * MIB
_ATTEMPTS_TO_WRITE = 5
_PROBE_KEY = "pending/readiness-probe"


class CopyRefused(Exception):
    """The source changed between the look at it and the copy."""


class ObjectStore:
    """One bucket. `problem` is asked before URLs are signed: it returns why the store can't take uploads now, or None.
    `outage` is asked before every call: why the store can't answer at all, so that nobody waits for a time-out. `sync` returns once all
    that the store has acknowledged is on its disk, or raises StorageUnavailable; a store of somebody else's sees to that itself.

    With `may_create_bucket`, a probe that finds the store without the bucket makes it. `timeout_seconds` is how long one answer may keep
    us waiting: a call ends within twice that and a second or two between the two attempts. What takes the store minutes gets 300 s, once.
    """

    def __init__(
        self,
        address: StoreAddress,
        problem: Callable[[], str | None] = lambda: None,
        outage: Callable[[], str | None] = lambda: None,
        *,
        sync: Callable[[], None] = lambda: None,
        may_create_bucket: bool = False,
        timeout_seconds: int = 10,
    ) -> None:
        self.address = address
        self.sync = sync
        self._outage = outage
        self._may_create_bucket = may_create_bucket
        self._problem = problem
        # What trust.py finds out: headers that upload URLs have to bar, and why no upload may be signed at all.
        self.barred_headers: tuple[str, ...] = ()
        self.distrust: str | None = None
        self._signer = address.signer(address.public_endpoint)
        self._upload_signer = address.upload_signer(address.public_endpoint)
        session = own_session()  # one for all: each would read the description of S3 from its files anew
        self.timeout_seconds = timeout_seconds
        self._quick_client = make_client(session, address, read_timeout_seconds=timeout_seconds, attempts=2)
        self._hasty_client = make_client(session, address, read_timeout_seconds=min(3, timeout_seconds), attempts=1)
        # Copying 5 GiB or putting 10,000 parts together takes the store minutes, and trying twice would do it twice.
        self._slow_client = make_client(session, address, read_timeout_seconds=300, attempts=1)
        # But bytes may be sent again, and have to be: B2 answers 500 and 503 as a matter of course (docs/providers.md).
        ask_again(self._slow_client, ["PutObject", "UploadPart"], PASSING_STATUSES, _ATTEMPTS_TO_WRITE)
        signer = address.signer(address.endpoint)
        self._quick_requests = DirectRequests(self._quick_client, signer, address.bucket, attempts=2)
        self._slow_requests = DirectRequests(self._slow_client, signer, address.bucket, attempts=1)
        self._single_requests = DirectRequests(self._quick_client, signer, address.bucket, attempts=1)

    @property
    def _client(self) -> Any:
        return self._answering(self._quick_client)

    @property
    def _patient_client(self) -> Any:
        return self._answering(self._slow_client)

    def _client_for(self, size_bytes: int) -> Any:
        """The client for what takes the store longer the more bytes there are; while it hangs, nobody waits minutes for a small file."""
        return self._patient_client if size_bytes > _LARGE_BYTES else self._client

    @property
    def _direct(self) -> DirectRequests:
        requests: DirectRequests = self._answering(self._quick_requests)
        return requests

    def _direct_for(self, size_bytes: int) -> DirectRequests:
        return self._answering(self._slow_requests) if size_bytes > _LARGE_BYTES else self._direct

    def _answering(self, client: Any) -> Any:
        self._require_up()
        return client

    def _require_up(self) -> None:
        if reason := self._outage():
            raise StorageUnavailable(f"The object store can't be asked now: {reason}")

    # Signing: local, no I/O. Nothing is signed for a bundled store that is away: somebody else may have its port.

    def ensure_available(self) -> None:
        """Raise StorageUnavailable while the store is known to be down or full, or not to be trusted."""
        reason = self._problem() or self.distrust
        if reason:
            raise StorageUnavailable(f"Uploads can't be stored now: {reason}")

    def ensure_trusted(self) -> None:
        """Raise StorageUnavailable when the store lets clients do what they must not: what they uploaded is not to be published either."""
        if self.distrust:
            raise StorageUnavailable(f"Uploads can't be taken now: {self.distrust}")

    def presign_put(self, key: str, content_type: str | None, size_bytes: int, at_ms: int, expires_seconds: int) -> str:
        """Return a URL for one PUT of exactly `size_bytes` and `content_type` (None: any or none) to `key`. Raises StorageUnavailable."""
        self._require_up()
        self.ensure_trusted()
        headers = {"content-length": str(size_bytes)} | ({} if content_type is None else {"content-type": content_type})
        barred = self.barred_headers
        return self._upload_signer.presign("PUT", key, at_ms=at_ms, expires_seconds=expires_seconds, headers=headers, barred=barred)

    def presign_part(self, key: str, upload_id: str, number: int, size_bytes: int, at_ms: int, expires_seconds: int) -> str:
        """Return a URL for one PUT of part `number`, exactly `size_bytes` long. Raises StorageUnavailable."""
        self._require_up()
        self.ensure_trusted()
        return self._upload_signer.presign(
            "PUT",
            key,
            at_ms=at_ms,
            expires_seconds=expires_seconds,
            query={"uploadId": upload_id, "partNumber": str(number)},
            headers={"content-length": str(size_bytes)},
            barred=self.barred_headers,
        )

    def presign_read(
        self,
        method: Literal["GET", "HEAD"],
        key: str,
        content_type: str,
        disposition: str | None,
        expires_seconds: int,
        *,
        for_script: bool = False,
    ) -> str:
        """Return a URL that reads `key` and makes the store answer with our own `content_type` and `disposition` (None: the object's own).

        With `for_script` it has one more parameter, without a meaning: the one that the AWS SDK for JavaScript adds to its own URLs.
        Raises StorageUnavailable.
        """
        self._require_up()
        query = {"response-content-type": content_type}
        if disposition is not None:
            query["response-content-disposition"] = disposition
        if for_script:
            query["x-id"] = "GetObject" if method == "GET" else "HeadObject"
        return self._signer.presign(method, key, at_ms=clock.now_ms(), expires_seconds=expires_seconds, query=query)

    # Objects.

    def head(self, key: str, first_bytes: int = 4096) -> StoredObject | None:
        """Return what the store has under `key`, by one ranged GET; None when it has nothing there. Raises AccessDenied."""
        with translated():
            try:
                headers, head = self._direct.get(key, first_bytes)
            except ClientError as error:
                if code_of(error) in GONE:
                    return None
                if code_of(error) in {"InvalidRange", "416"}:
                    return StoredObject(0, "", "", b"")
                raise
        return stored_object(headers, head)

    def read_piece(self, key: str, start: int, length: int) -> Piece | None:
        """Return `length` bytes of the object under `key` from byte `start` on, or as many as it has; None when nothing is there.

        Asks once, and does not wait for another attempt: for what reads every object. Raises StorageUnavailable and its kinds.
        """
        with translated():
            try:
                headers, content = self._answering(self._single_requests).get(key, length, start=start)
            except ClientError as error:
                if code_of(error) in GONE:
                    return None
                if code_of(error) in {"InvalidRange", "416"}:
                    return Piece(StoredObject(0 if start == 0 else start, "", "", b""), start, b"")
                raise
        return piece(headers, start, content)

    def copy(self, source: str, seen: StoredObject, target: str, content_type: str, disposition: str) -> str:
        """Have the store copy `source`, if it still is what was `seen` there, to `target` with our own type and disposition.

        Returns the copy's ETag. Raises CopyRefused when the source is another one by now, also where the store ignores the condition: then
        the copy's ETag differs. With KMS encryption it always does (docs/decisions/0014-doctor.md), and the source is asked once more.
        """
        with translated():
            try:
                copied, headers = self._direct_for(seen.size_bytes).copy(
                    source, seen.etag, target, {"Content-Type": content_type, "Content-Disposition": disposition}
                )
            except ClientError as error:
                if code_of(error) in {"PreconditionFailed", "412"} | GONE:
                    raise CopyRefused(source) from None
                raise
        with understood():
            etag = etag_of(copied)
        has_etag_of_its_own = headers.get("x-amz-server-side-encryption", "").startswith("aws:kms")
        if etag != seen.etag and not (has_etag_of_its_own and self._is_still(source, seen.etag)):
            raise CopyRefused(source)
        return etag

    def _is_still(self, key: str, etag: str) -> bool:
        stored = self.head(key, first_bytes=1)
        return stored is not None and stored.etag == etag

    def delete(self, key: str) -> None:
        """Delete the object under `key`; one that is not there is fine."""
        with translated(), gone_is_fine():
            self._direct.delete(key)

    # Bytes that pass through the appliance: only when files move to another store.

    def read(self, key: str, etag: str, start: int, length: int, chunk_bytes: int) -> Iterator[bytes]:
        """Yield `length` bytes from byte `start` on of the object that has this `etag`, up to `chunk_bytes` at a time.

        Raises StorageUnavailable, also when it is another object by now, or when other bytes come, more or fewer.
        """
        left = length
        with translated():
            part = f"bytes={start}-{start + length - 1}"
            answer = self._client.get_object(Bucket=self.address.bucket, Key=key, Range=part, IfMatch=f'"{etag}"')
            with closing(answer["Body"]) as body:
                require_bytes(answer, etag, start)
                for chunk in body.iter_chunks(chunk_bytes):
                    left -= len(chunk)
                    if left < 0:
                        break
                    yield chunk
        if left:
            came = f"{length - left} bytes of {length}" if left > 0 else f"more than {length} bytes"
            raise StorageUnavailable(f"The object store was asked for a piece of an object, and {came} came")

    def put(self, key: str, body: IO[bytes], md5: str, content_type: str, disposition: str) -> str:
        """Store `body`, which has that MD5 (base64, RFC 1864) or is refused, under `key`; return its ETag."""
        with translated():
            answer = self._patient_client.put_object(
                Bucket=self.address.bucket, Key=key, Body=body, ContentMD5=md5, ContentType=content_type, ContentDisposition=disposition
            )
        with understood():
            return etag_in(answer)

    def put_part(self, key: str, upload_id: str, number: int, body: IO[bytes], md5: str) -> str:
        """Store part `number` of a multipart upload, which has that MD5 (base64, RFC 1864) or is refused; return its ETag."""
        with translated():
            answer = self._patient_client.upload_part(
                Bucket=self.address.bucket, Key=key, UploadId=upload_id, PartNumber=number, Body=body, ContentMD5=md5
            )
        with understood():
            return etag_in(answer)

    # Multipart uploads.

    def create_multipart(self, key: str, content_type: str, disposition: str) -> str:
        """Begin a multipart upload to `key`; return its upload id."""
        with translated():
            answer = self._client.create_multipart_upload(
                Bucket=self.address.bucket, Key=key, ContentType=content_type, ContentDisposition=disposition
            )
        with understood():
            return upload_id_in(answer)

    def list_parts(self, key: str, upload_id: str) -> list[StoredPart] | None:
        """Return the parts that have arrived, by number; None when the store knows no such upload (any more). Raises AccessDenied."""
        parts = self._all_parts(key, upload_id)
        return None if parts is None else last_of_each(parts)

    def bytes_of_parts(self, key: str, upload_id: str) -> int:
        """Return the bytes of all that has arrived for an upload, whatever came several times included. Raises AccessDenied."""
        return sum(part.size_bytes for part in self._all_parts(key, upload_id) or ())

    def _all_parts(self, key: str, upload_id: str) -> list[StoredPart] | None:
        parts: list[StoredPart] = []
        marker: dict[str, int] | None = {}
        walk = Walk(most_pages=_MOST_PARTS)
        while marker is not None:
            with translated():
                try:
                    page = self._client.list_parts(Bucket=self.address.bucket, Key=key, UploadId=upload_id, **marker)
                except ClientError as error:
                    if code_of(error) in GONE:
                        return None
                    raise
            arrived = [stored_part(part) for part in page.get("Parts", [])]
            parts += arrived
            marker = walk.onwards(page, {"PartNumberMarker": "NextPartNumberMarker"}, tuple(arrived) or None)
        return parts

    def complete_multipart(self, key: str, upload_id: str, size_bytes: int, parts: Sequence[tuple[int, str]]) -> bool:
        """Put the `parts` (number, ETag) together under `key`; False when the store knows no such upload (any more).

        Raises InvalidParts when the store does not accept them.
        """
        listed = [{"PartNumber": number, "ETag": f'"{etag}"'} for number, etag in parts]
        with translated():
            try:
                self._client_for(size_bytes).complete_multipart_upload(
                    Bucket=self.address.bucket, Key=key, UploadId=upload_id, MultipartUpload={"Parts": listed}
                )
            except ClientError as error:
                if code_of(error) in GONE:
                    return False
                if code_of(error) in _BAD_PARTS:
                    raise InvalidParts(f"The store refused the parts: {code_of(error)}") from None
                raise
        return True

    def abort_multipart(self, key: str, upload_id: str) -> None:
        """Throw away a multipart upload and its parts; one that is not there is fine."""
        with translated(), gone_is_fine():
            self._client.abort_multipart_upload(Bucket=self.address.bucket, Key=key, UploadId=upload_id)

    def abort_all_multiparts(self, key: str) -> None:
        """Throw away every multipart upload begun for `key`, also one whose upload id we never learned."""
        marker: dict[str, str] | None = {}
        walk = Walk(most_pages=_MOST_PARTS)
        while marker is not None:
            page = self.ask("list_multipart_uploads", Prefix=key, **marker)
            with understood():
                begun = [(upload["Key"], upload_id_in(upload)) for upload in page.get("Uploads", [])]
            for begun_for, upload_id in begun:
                if begun_for == key:
                    self.abort_multipart(key, upload_id)
            marker = walk.onwards(page, MULTIPART_MARKERS, tuple(begun) or None)

    # The bucket.

    def probe(self) -> None:
        """Ask the store for an object that is not there. Raises StorageUnavailable when it gives no sensible answer."""
        reason = self._problem()
        if reason:
            raise StorageUnavailable(reason)
        try:
            with translated():
                answer = self._hasty_client.get_object(Bucket=self.address.bucket, Key=_PROBE_KEY, Range="bytes=0-0")
                answer["Body"].close()
            require_etag(answer)
        except AccessDenied:
            return  # an answer; AWS gives it for a missing object too
        except StorageRefused as error:
            if error.store_code in GONE:
                return
            if error.store_code != "NoSuchBucket" or not self._may_create_bucket:
                raise
            self.create_bucket()

    def create_bucket(self) -> None:
        """Make the bucket, unless it is there."""
        with translated():
            try:
                self._client.create_bucket(Bucket=self.address.bucket, **self._location())
            except ClientError as error:
                if code_of(error) not in {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}:
                    raise

    def _location(self) -> Mapping[str, Any]:
        on_aws_elsewhere = self.address.endpoint.endswith(".amazonaws.com") and self.address.region != "us-east-1"
        return {"CreateBucketConfiguration": {"LocationConstraint": self.address.region}} if on_aws_elsewhere else {}

    def ask(self, operation: str, **parameters: Any) -> Mapping[str, Any]:
        """Call one of boto3's operations on this bucket, such as `get_bucket_cors`. Raises StorageUnavailable and its kinds."""
        with translated():
            answer: Mapping[str, Any] = getattr(self._client, operation)(Bucket=self.address.bucket, **parameters)
        return answer
