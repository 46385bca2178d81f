"""boto3 clients as the appliance needs them, and what they raise in our own words. With the other s3*.py, the only user of boto3."""

from __future__ import annotations

import base64
import hashlib
import os
import random
import ssl
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import boto3
import botocore.session
from botocore.config import Config as BotoConfig
from botocore.exceptions import BotoCoreError, ClientError, ProxyConnectionError
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError, ProxyError, SSLError
from urllib3.util.ssl_match_hostname import CertificateError

from uploadkit.core.errors import StorageUnavailable
from uploadkit.objectstore.address import StoreAddress
from uploadkit.objectstore.deadlines import hold_to_time, may_unfold
from uploadkit.objectstore.plain_http import proxies_of

# A bare 404 is none of them: so answers, too, whoever stands in the store's place while it is away.
GONE = {"NoSuchKey", "NoSuchUpload"}
PASSING_STATUSES = {429, 500, 502, 503, 504}
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

# What a bucket that locks objects denies to everybody.
_LOCKED = {"CopyObject", "DeleteObject"}
# What an answer to these has in it. A proxy or a captive portal may answer 200 with a page of its own.
_MARKS = {
    "CopyObject": b"<CopyObjectResult",
    "CreateMultipartUpload": b"<InitiateMultipartUploadResult",
    "CompleteMultipartUpload": b"<CompleteMultipartUploadResult",
    "ListParts": b"<ListPartsResult",
    "ListObjectsV2": b"<ListBucketResult",
    "ListMultipartUploads": b"<ListMultipartUploadsResult",
}
# What is wrong with one request, and stays so however often it is made.
_ABOUT_THE_FILE = {"MetadataTooLarge", "EntityTooLarge", "KeyTooLongError", "KeyTooLong", "RequestHeaderSectionTooLarge", "InvalidURI"}
_ABOUT_THE_REQUEST = {"InvalidArgument"}
_REFUSED_SUGGESTION = (
    "Trying again does not help: send the file with a shorter name or smaller, or have the operator look up the store's code"
)
_WITHOUT_BODY = {"DeleteObject", "AbortMultipartUpload"}
NOT_S3_SUGGESTION = "Look who answers at the store's endpoint: a proxy or another program may stand in its place"
_TRUST_SUGGESTION = (
    "Have storage.byos.endpoint name the host that the certificate is for, and storage.byos.ca_bundle the file of the authority "
    "that signed it, if that is none of the public ones; renew a certificate that is too old"
)
_CLOCK_SUGGESTION = (
    "Set this machine's clock (NTP), or the store's: they are over 15 minutes apart. Nothing is lost; uploads go on once they agree"
)


class StorageRefused(StorageUnavailable):
    """The store answered, and the answer to this one call was no: `store_code` is its own word for it."""

    def __init__(self, message: str, store_code: str, suggestion: str | None = None) -> None:
        super().__init__(message, suggestion)
        self.store_code = store_code


class AccessDenied(StorageRefused):
    """The store's answer to our credentials was 403. AWS says so too of a missing object, without s3:ListBucket."""


class RequestRefused(StorageRefused):
    """The store refuses this one request for what is in it, and will do so again: no time makes it better."""

    code, status = "UPLOAD_NOT_VERIFIED", 422

    def __init__(self, message: str, store_code: str, suggestion: str | None = None) -> None:
        super().__init__(message, store_code, suggestion)
        self.retry_after_seconds = None

    @property
    def is_final(self) -> bool:
        """Whether it is for certain this file, and not a setting that somebody may correct."""
        return self.store_code in _ABOUT_THE_FILE


def own_session() -> Any:
    """A session that knows nothing of AWS_PROFILE and ~/.aws: only the appliance's own configuration counts."""
    core = botocore.session.Session(
        {
            "profile": (None, None, None, None),
            "config_file": (None, None, os.devnull, None),
            "credentials_file": (None, None, os.devnull, None),
        }
    )
    return boto3.session.Session(botocore_session=core)


def make_client(session: Any, address: StoreAddress, *, read_timeout_seconds: int, attempts: int) -> Any:
    """Return a boto3 client for the bucket at `address`.

    It waits up to 3 s for a connection, and then `read_timeout_seconds` for an answer, all pauses in it together.
    """
    client = session.client(
        "s3",
        endpoint_url=address.endpoint,
        region_name=address.region,
        aws_access_key_id=address.access_key_id,
        aws_secret_access_key=address.secret_access_key,
        verify=str(address.ca_bundle) if address.ca_bundle else True,
        config=BotoConfig(
            signature_version="s3v4",
            s3={"addressing_style": address.addressing_style},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            use_fips_endpoint=False,
            use_dualstack_endpoint=False,
            ignore_configured_endpoint_urls=True,
            proxies=proxies_of(address.endpoint),
            connect_timeout=min(3, read_timeout_seconds),
            read_timeout=read_timeout_seconds,
            retries={"total_max_attempts": attempts, "mode": "standard"},
            max_pool_connections=64,
            tcp_keepalive=True,
        ),
    )
    # boto3 sends a newer checksum in its place, which some refuse, and others don't take for one (docs/providers.md).
    for operation in ("PutBucketCors", "PutBucketLifecycleConfiguration"):
        client.meta.events.register(f"before-call.s3.{operation}", _use_content_md5)
    # boto3 knows being told to wait by codes of AWS alone; R2 says TooManyRequests.
    ask_again(client, ["*"], {429}, attempts)
    client.meta.events.register("before-call.s3", _stay_where_it_was_sent)
    client.meta.events.register("before-parse.s3", require_s3)
    hold_to_time(client, address.socket)
    return client


def _stay_where_it_was_sent(context: dict[str, Any], **_: Any) -> None:
    """Have boto3 take an answer that names another region for what it is, an error: it would go looking for that region, and not stop."""
    context.setdefault("s3_redirect", {})["redirected"] = True


def require_s3(operation_model: Any, response_dict: Mapping[str, Any], **_: Any) -> None:
    """Refuse a success that is none of S3's: of somebody else, or cut short. Raises StorageUnavailable."""
    name, status, body = operation_model.name, response_dict["status_code"], response_dict["body"]
    if status >= 300 and isinstance(body, bytes) and may_unfold(body):
        raise StorageUnavailable(f"What came as the object store's answer to {name} is not one of S3 (HTTP {status})", NOT_S3_SUGGESTION)
    if status < 200:  # an interim answer is never the last (RFC 9110 section 15.2)
        raise StorageUnavailable(f"What came as the object store's answer to {name} is not one of S3 (HTTP {status})", NOT_S3_SUGGESTION)
    if status >= 300 or not isinstance(body, bytes):
        return
    cut_short = len(body) < int(response_dict["headers"].get("Content-Length") or 0)
    mark = _MARKS.get(name, b"")
    if cut_short or (name in _WITHOUT_BODY and body) or (mark not in body and b"<Error" not in body):
        raise StorageUnavailable(f"What came as the object store's answer to {name} is not one of S3 (HTTP {status})", NOT_S3_SUGGESTION)


def _use_content_md5(params: dict[str, Any], **_: Any) -> None:
    """Have a request carry its MD5 (RFC 1864), and no other checksum."""
    digest = hashlib.md5(params["body"], usedforsecurity=False).digest()
    params["headers"]["Content-MD5"] = base64.b64encode(digest).decode()
    params["context"].pop("checksum", None)


def ask_again(client: Any, operations: Sequence[str], statuses: Collection[int], most_attempts: int) -> None:
    """Have a boto3 client make some operations again, by then up to `most_attempts` in all, that were answered with one of `statuses`.

    What was not answered at all is left to the client's own attempts.
    """

    def pause_seconds(response: Any, attempts: int, **_: Any) -> float | None:
        again = response is not None and response[0].status_code in statuses and attempts < most_attempts
        return random.uniform(0.4, 1.2) * attempts if again else None  # noqa: S311

    for operation in operations:
        client.meta.events.register(f"needs-retry.s3.{operation}", pause_seconds)


def tls_trouble(error: BaseException) -> tuple[str, str] | None:
    """Return why the host that was asked is not trusted, and what to do; None when something else broke the connection."""
    causes = list(_causes(error))
    if any(isinstance(cause, ProxyError | ProxyConnectionError) for cause in causes):
        return None
    if any(isinstance(cause, ssl.SSLCertVerificationError | CertificateError) for cause in causes):
        return "The object store's TLS certificate is not trusted (storage.byos.ca_bundle)", _TRUST_SUGGESTION
    if any(isinstance(cause, SSLError) for cause in causes) and any(_is_unreadable(cause) for cause in causes):
        return "The file of the authorities to trust (storage.byos.ca_bundle) can't be read as one", "Put it back, or correct the setting"
    return None


def _is_unreadable(error: BaseException) -> bool:
    if isinstance(error, ssl.SSLError):
        return error.reason == "NO_CERTIFICATE_OR_CRL_FOUND" or "PEM lib" in str(error)
    return isinstance(error, FileNotFoundError | IsADirectoryError | PermissionError)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def code_of(error: ClientError) -> str:
    """Return the store's own word for what went wrong, "" without one."""
    return str(error.response.get("Error", {}).get("Code", ""))


@contextmanager
def gone_is_fine() -> Iterator[None]:
    """Let pass what a store says of a thing that is not there."""
    try:
        yield
    except ClientError as error:
        if code_of(error) not in GONE:
            raise


@contextmanager
def understood() -> Iterator[None]:
    """Read the store's answer in this block: what lacks something, or has something else in its place, raises StorageUnavailable."""
    try:
        yield
    except (KeyError, ValueError, TypeError, AttributeError, OverflowError):
        raise StorageUnavailable("What came as the object store's answer is not one of S3", NOT_S3_SUGGESTION) from None


@contextmanager
def translated() -> Iterator[None]:
    """Turn what boto3 raises into StorageUnavailable; its texts may quote URLs, so only the kind of failure goes on."""
    try:
        yield
    except ClientError as error:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        if code_of(error) == "RequestTimeTooSkewed":
            skewed = f"The object store refused {error.operation_name}, since its clock and this machine's differ (RequestTimeTooSkewed)"
            raise StorageRefused(skewed, code_of(error), _CLOCK_SUGGESTION) from None
        if code_of(error) in _DENIED:
            denied = f"The object store denies {error.operation_name} to the appliance's credentials"
            permission = _PERMISSIONS.get(error.operation_name, f"s3:{error.operation_name}")
            suggestion = f"Give the appliance's credentials {permission} on the bucket"
            if error.operation_name in _LOCKED:
                suggestion += "; if they have it, the bucket may lock objects (Object Lock), and another one is needed"
            raise AccessDenied(denied, code_of(error), suggestion) from None
        refused = f"The object store refused {error.operation_name}: {code_of(error) or 'no code'} (HTTP {status})"
        if code_of(error) in _ABOUT_THE_FILE | _ABOUT_THE_REQUEST:
            raise RequestRefused(refused, code_of(error), _REFUSED_SUGGESTION) from None
        if status and (status < 500 or status == 501) and status != 429:  # 501: well, but without this feature; 429: not now
            raise StorageRefused(refused, code_of(error)) from None
        raise StorageUnavailable(refused) from None
    except (ResponseParserError, ValueError, RecursionError):  # boto3 reads numbers and times as they come, errors as deep as they go
        raise StorageUnavailable("What came as the object store's answer is not one of S3", NOT_S3_SUGGESTION) from None
    except (BotoCoreError, HTTPError, OSError) as error:
        if (untrusted := tls_trouble(error)) is not None:
            raise StorageUnavailable(*untrusted) from None
        raise StorageUnavailable(f"The object store did not answer ({type(error).__name__})") from None
