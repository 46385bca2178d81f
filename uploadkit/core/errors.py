"""Every failure a caller can be told about, in the words of docs/api.md.

An error carries what happened and what to do about it. It knows no wire format: each surface in `web/` renders it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from uploadkit.core.packaged_files import PROGRAM


class UploadKitError(Exception):
    """A failure with a stable `code`, the HTTP `status` it maps to, a `message` and, where a reader can act, a `suggestion`.

    `details` maps field names to messages (validation); `retry_after_seconds` says when trying again makes sense.
    """

    code: ClassVar[str] = "INTERNAL_SERVER_ERROR"
    status: ClassVar[int] = 500
    default_suggestion: ClassVar[str | None] = None

    def __init__(
        self,
        message: str,
        suggestion: str | None = None,
        *,
        details: Mapping[str, Sequence[str]] | None = None,
        retry_after_seconds: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.suggestion = suggestion or self.default_suggestion
        self.details = details
        self.retry_after_seconds = retry_after_seconds


class Unauthorized(UploadKitError):
    """The key is missing, malformed, unknown or revoked."""

    code, status = "UNAUTHORIZED", 401
    default_suggestion = (
        f"Send a live API key in the x-api-key header; '{PROGRAM} keys create' makes one, 'keys list' shows which are revoked"
    )


class Forbidden(UploadKitError):
    """The key is valid, but its access or environment does not allow this."""

    code, status = "FORBIDDEN", 403


class HttpsRequired(UploadKitError):
    """Plain HTTP while server.require_https applies."""

    code, status = "HTTPS_REQUIRED", 403
    default_suggestion = (
        "Call the https:// address. Behind a TLS proxy, add its address to server.trusted_proxies; on a LAN without TLS, "
        'set server.require_https = "off". If this key went over a network in the clear, revoke it'
    )


class ValidationFailed(UploadKitError):
    """Body or query failed validation; `details` names the fields."""

    code, status = "VALIDATION_ERROR", 400


class UnsupportedMediaType(UploadKitError):
    """A JSON endpoint was called with another Content-Type."""

    code, status = "UNSUPPORTED_MEDIA_TYPE", 415
    default_suggestion = "Send the body as JSON with the header Content-Type: application/json"


class PayloadTooLarge(UploadKitError):
    """The request body is over server.max_body_bytes."""

    code, status = "PAYLOAD_TOO_LARGE", 413
    default_suggestion = "Send less, or raise server.max_body_bytes. The bytes of a file go to uploadUrl, not to this API"


class HeadersTooLarge(UploadKitError):
    """The request's headers are larger than the server reads."""

    code, status = "HEADERS_TOO_LARGE", 431
    default_suggestion = "Send fewer or shorter request headers"


class MethodNotAllowed(UploadKitError):
    """The path exists, but not with this method."""

    code, status = "METHOD_NOT_ALLOWED", 405


class FileTooLarge(UploadKitError):
    """Over the file route's or the tier's largest file, or over what one PUT can carry."""

    code, status = "FILE_TOO_LARGE", 413


class FileTypeNotAllowed(UploadKitError):
    """The content type matches none of the file route's allowedTypes."""

    code, status = "FILE_TYPE_NOT_ALLOWED", 415


class FileTooSmallForMultipart(UploadKitError):
    """Multipart was asked for 10 MiB or less."""

    code, status = "FILE_TOO_SMALL_FOR_MULTIPART", 400
    default_suggestion = "Use POST /api/v1/upload/request for files of 10 MiB or less"


class UploadNotFound(UploadKitError):
    """The upload is unknown to this key, was aborted, or its file was deleted."""

    code, status = "UPLOAD_NOT_FOUND", 404
    default_suggestion = "Start again with POST /api/v1/upload/request"


class UploadNotVerified(UploadKitError):
    """What is in storage is not what was declared, or nothing is there."""

    code, status = "UPLOAD_NOT_VERIFIED", 422


class UploadExpired(UploadKitError):
    """The upload's deadline passed and it was swept."""

    code, status = "UPLOAD_EXPIRED", 410
    default_suggestion = "Start again with POST /api/v1/upload/request; nothing of this upload was kept"


class InvalidParts(UploadKitError):
    """Parts are missing, listed twice, or have another ETag."""

    code, status = "INVALID_PARTS", 422
    default_suggestion = "POST /api/v1/upload/multipart/parts lists what has arrived and gives fresh URLs for the rest"


class NotFound(UploadKitError):
    """Not there for this key."""

    code, status = "NOT_FOUND", 404


class RouteNotFound(UploadKitError):
    """The browser endpoint knows no such file route, or not for this upload token."""

    code, status = "ROUTE_NOT_FOUND", 404
    default_suggestion = "The last part of the address is the slug of a file route: the one that the upload token was made for"


class NotImplementedHere(UploadKitError):
    """The cloud has it, this appliance has not."""

    code, status = "NOT_IMPLEMENTED", 501
    default_suggestion = "Leave this call out; docs/clients.md says what the official packages can do here"


class DuplicateSlug(UploadKitError):
    """The file route's slug is taken in this project."""

    code, status = "DUPLICATE_SLUG", 409


class Conflict(UploadKitError):
    """The present state does not allow this."""

    code, status = "CONFLICT", 409


class IdempotencyConflict(UploadKitError):
    """The same Idempotency-Key came with another body, or its first request still runs."""

    code, status = "IDEMPOTENCY_CONFLICT", 409


class TierLimitExceeded(UploadKitError):
    """The tier's limit on storage, monthly uploads or keys is reached."""

    code, status = "TIER_LIMIT_EXCEEDED", 403


class RateLimited(UploadKitError):
    """Over the key's requests per minute."""

    code, status = "RATE_LIMITED", 429


class StorageUnavailable(UploadKitError):
    """The object store or the database is down, full, refusing, or would take too long."""

    code, status = "STORAGE_UNAVAILABLE", 503
    default_suggestion = f"Try again in some seconds; GET /readyz says what is wrong, '{PROGRAM} doctor' what to do"

    def __init__(self, message: str, suggestion: str | None = None, *, retry_after_seconds: int = 5) -> None:
        super().__init__(message, suggestion, retry_after_seconds=retry_after_seconds)


class InternalServerError(UploadKitError):
    """Anything unexpected; no internals in the message."""

    code, status = "INTERNAL_SERVER_ERROR", 500


class ConfigError(Exception):
    """A configuration that can't be used. `str(error)` is one line that names the key and what to do."""
